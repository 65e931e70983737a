"""Text and token ids: all text is plain text, and prompt and completion meet at the same boundary everywhere.

Samples and instructions may contain the names of control tokens, such as ``"<|im_end|>"`` in code about chat
templates. Read as control tokens, they would end a training sample early, and vanish from decoded answers.

The only control tokens in a prompt are those around a chat message, which the model's own template sets.

Prompt and completion are tokenized apart and joined as ids: a template that ends in a space would otherwise
merge that space with the code's first token in training, but not in generation.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any


def prepare_tokenizer(tokenizer: Any) -> None:
    """Make the tokenizer split the names of all control tokens in a text, as any other characters.

    ``split_special_tokens`` alone spares the added tokens that are not marked as special, such as Qwen's
    ``<|fim_middle|>``.
    """
    from tokenizers import AddedToken

    tokenizer.split_special_tokens = True
    tokenizer.backend_tokenizer.add_special_tokens(
        [
            AddedToken(token.content, special=True, normalized=token.normalized)
            for token in tokenizer.added_tokens_decoder.values()
        ]
    )


@functools.lru_cache(maxsize=8)
def chat_frame(tokenizer: Any) -> tuple[str, str]:
    """What stands before and after the user's words in the model's chat template; empty if it has none."""
    if not tokenizer.chat_template:
        return "", ""
    mark = "\0"
    chat = [{"role": "user", "content": mark}]
    before, _, after = tokenizer.apply_chat_template(
        chat, tokenize=False, add_generation_prompt=True
    ).partition(mark)
    return before, after


def encode_prompt(tokenizer: Any, prompt: str) -> list[int]:
    """Token ids of a prompt, with the model's own start token where it has one."""
    before, after = chat_frame(tokenizer)
    if before and after and prompt.startswith(before) and prompt.endswith(after):
        words = prompt[len(before) : len(prompt) - len(after)]
        return [
            *_control(tokenizer, before),
            *encode_completion(tokenizer, words),
            *_control(tokenizer, after),
        ]
    return list(tokenizer(prompt, split_special_tokens=True).input_ids)


def _control(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text in which the names of control tokens are control tokens."""
    return list(tokenizer(text, add_special_tokens=False, split_special_tokens=False).input_ids)


def encode_completion(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a completion, without start token and without end token."""
    return list(tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids)


def decode(tokenizer: Any, rows: Sequence[Sequence[int]]) -> list[str]:
    """The text of each row of token ids, from which the caller has left out the stop token."""
    return list(tokenizer.batch_decode(rows, skip_special_tokens=False, clean_up_tokenization_spaces=False))
