"""The one token boundary between prompt and completion, the same in training, generation and likelihood.

Prompt and completion are tokenized apart and joined as ids: a template that ends in a space would otherwise
merge that space with the code's first token in training, but not in generation.
"""

from __future__ import annotations

from typing import Any


def encode_prompt(tokenizer: Any, prompt: str) -> list[int]:
    """Token ids of a prompt, with the model's own start token where it has one."""
    return list(tokenizer(prompt).input_ids)


def encode_completion(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a completion, without special tokens and without the end token."""
    return list(tokenizer(text, add_special_tokens=False).input_ids)
