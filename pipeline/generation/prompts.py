"""The prompt templates, and how the augmented one is trimmed to fit.

``regular`` and ``augmented`` are the Alpaca forms that the published adapters were trained with. ``chat`` is
the same instruction in the model's own chat template (``pipeline.generation.tokenization.chat_frame``): what
the base model can do in its own format. A family can override them in ``families.toml``. Only the file's code
is trimmed, and ``Prompt.trimmed`` describes by how much.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.schema import Context, LabError, PromptVariant, counted

TEMPLATES: dict[str, str] = {
    "regular": (
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request.\n"
        "### Instruction: {instruction}\n"
        "### Response: "
    ),
    "augmented": (
        "Below is an instruction that describes a programming task, paired with an input that contains "
        "existing code. Write a response that appropriately completes the request.\n\n"
        "### Instruction: {instruction}\n\n"
        "### Input: {context}\n\n"
        "### Response: "
    ),
    "chat": "{instruction}\n\nAnswer with one Python code block that holds the whole code, and nothing else.",
}


def context_around(full_code: str, function: str) -> Context:
    """Return the file without the function, which may be indented there.

    Datasets give a method without the indentation that it has in its class. If the function occurs unchanged,
    ``before + after`` is ``full_code.replace(function, "")``, as in the prompts of the published adapters.
    """
    place = function if function in full_code else _indented(full_code, function)
    before, _, after = full_code.partition(place) if place else (full_code, "", "")
    return Context(before, after.replace(place, "") if place else after)


def _indented(full_code: str, function: str) -> str:
    """The function with the indentation that it has in the file; empty if the file does not hold it."""
    first = re.escape(function.partition("\n")[0])
    for match in re.finditer(rf"^([ \t]+){first}$", full_code, re.MULTILINE):
        place = textwrap.indent(function, match[1])
        if full_code.startswith(place, match.start()):
            return place
    return ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered prompt; ``trimmed`` describes what was left out, and is empty if nothing was."""

    text: str
    trimmed: str = ""


def tokens_for_prompt(sequence_length: int, max_new_tokens: int) -> int:
    """Return how many tokens the prompt may have.

    Raises:
        LabError: the new tokens leave no room for a prompt.
    """
    if max_new_tokens >= sequence_length:
        raise LabError(f"At most {sequence_length - 1:,} new tokens fit this model, not {max_new_tokens:,}.")
    return sequence_length - max_new_tokens


def render_prompt(
    instruction: str,
    variant: PromptVariant,
    context: Context,
    max_tokens: int,
    count_tokens: Callable[[str], int],
    templates: Mapping[str, str] | None = None,
) -> Prompt:
    """Fill the template; trim the context around the function until the prompt has at most ``max_tokens``.

    Raises:
        LabError: the instruction alone does not fit; it is never trimmed.
    """
    template = (templates or {}).get(variant) or TEMPLATES[variant]

    def fill(inner: Context) -> str:
        # Not str.format: code is full of braces.
        head, _, tail = template.partition("{instruction}")
        middle, slot, end = tail.partition("{context}")
        return head + instruction + middle + (inner.before + inner.after if slot else "") + end

    bare = fill(Context())
    # Few tokens are longer than ten characters: a text that is far too long is not tokenized at all.
    if len(bare) >= 40 * max_tokens:
        raise LabError(_too_long(counted(len(bare), "character"), max_tokens))
    used = count_tokens(bare)
    if used > max_tokens:
        raise LabError(_too_long(counted(used, "token"), max_tokens))
    if "{context}" not in template:
        return Prompt(bare)
    before, after = context.before.splitlines(keepends=True), context.after.splitlines(keepends=True)

    def tokens_with(lines: int) -> int:
        return count_tokens(fill(_nearest_lines(before, after, lines)))

    low = _most_lines_that_fit(tokens_with, used, max_tokens, max(len(before), len(after)))
    total, kept = len(before) + len(after), min(low, len(before)) + min(low, len(after))
    left_out = f"{total - kept:,} of the file's {total:,} lines were left out to fit {max_tokens:,} tokens"
    return Prompt(fill(_nearest_lines(before, after, low)), left_out if kept < total else "")


def _most_lines_that_fit(tokens: Callable[[int], int], none: int, most: int, lines: int) -> int:
    """Search the largest number of lines whose prompt has at most ``most`` tokens.

    Counting tokens is slow, so each guess interpolates, as if all lines were equally long.

    Args:
        tokens: counts the prompt's tokens with a number of lines before and after the function.
        none: tokens of the prompt without any line.
        most: tokens that fit.
        lines: the largest number to try.
    """
    low, at_low = 0, none
    high, at_high = lines + 1, none + 12 * 2 * (lines + 1)  # a line of code has about 12 tokens
    while high - low > 1:
        guess = low + (most - at_low) * (high - low) // max(1, at_high - at_low)
        guess = min(max(guess, low + 1), high - 1)
        used = tokens(guess)
        if used <= most:
            low, at_low = guess, used
        else:
            high, at_high = guess, used
    return low


def _nearest_lines(before: list[str], after: list[str], lines: int) -> Context:
    return Context("".join(before[max(0, len(before) - lines) :]), "".join(after[:lines]))


def _too_long(length: str, most: int) -> str:
    return (
        f"The instruction is too long: with its template it has {length}, and this model has room for "
        f"{counted(most, 'token')} beside the answer. Shorten it, or ask for fewer new tokens."
    )
