"""The two prompt templates, and how the augmented one is made to fit.

The templates are the Alpaca forms that the published adapters were trained with; a family can override
them in ``families.toml``. Nothing but the file's code is ever trimmed, and what was trimmed is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.schema import LabError, PromptVariant

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
}


@dataclass(frozen=True, slots=True)
class Context:
    """A file's code around a hole: what stands before the removed function, and what after it."""

    before: str = ""
    after: str = ""

    @classmethod
    def around(cls, full_code: str, function: str) -> Context:
        """The file with its one function taken out."""
        at = full_code.find(function)
        if at < 0:
            return cls(before=full_code)
        return cls(full_code[:at], full_code[at + len(function) :])


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered prompt; ``trimmed`` says in words what was left out, empty when nothing was."""

    text: str
    trimmed: str = ""


def render(
    instruction: str,
    variant: PromptVariant,
    context: Context,
    max_tokens: int,
    count_tokens: Callable[[str], int],
    templates: Mapping[str, str] | None = None,
) -> Prompt:
    """Fill the template, trimming the context around the function until at most ``max_tokens`` are used.

    Raises:
        LabError: the instruction alone does not fit; it is never trimmed.
    """
    template = (templates or {}).get(variant) or TEMPLATES[variant]

    def fill(inner: Context) -> str:
        # Not str.format: code is full of braces.
        head, _, tail = template.partition("{instruction}")
        middle, slot, end = tail.partition("{context}")
        return head + instruction + middle + (inner.before + inner.after if slot else "") + end

    whole = fill(context)
    # A token is at least one character, so a far too long text need not be counted to be refused.
    if variant == "regular" or (len(whole) < 40 * max_tokens and count_tokens(whole) <= max_tokens):
        used = count_tokens(whole)
        if used > max_tokens:
            raise LabError(_too_long(used, max_tokens))
        return Prompt(whole)
    bare = count_tokens(fill(Context()))
    if bare > max_tokens:
        raise LabError(_too_long(bare, max_tokens))
    before, after = context.before.splitlines(keepends=True), context.after.splitlines(keepends=True)
    low, high = 0, max(len(before), len(after))  # most lines on each side of the function that fit
    while low < high:
        middle = (low + high + 1) // 2
        if count_tokens(fill(_near(before, after, middle))) <= max_tokens:
            low = middle
        else:
            high = middle - 1
    total, kept = len(before) + len(after), min(low, len(before)) + min(low, len(after))
    note = f"{total - kept:,} of the file's {total:,} lines were left out to fit {max_tokens:,} tokens"
    return Prompt(fill(_near(before, after, low)), note)


def _near(before: list[str], after: list[str], lines: int) -> Context:
    return Context("".join(before[max(0, len(before) - lines) :]), "".join(after[:lines]))


def _too_long(used: int, most: int) -> str:
    return (
        f"The instruction is too long: with its template it takes {used:,} tokens, and this model has room "
        f"for {most:,} beside the answer. Shorten it, or ask for fewer new tokens."
    )
