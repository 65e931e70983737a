"""Prompts for a model, counted with its own tokenizer."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from pipeline.generation.prompts import TEMPLATES, Prompt, render_prompt, tokens_for_prompt
from pipeline.generation.tokenization import chat_frame, encode_prompt
from pipeline.models.families import Family
from pipeline.schema import Context, LabError, PromptVariant, SamplingParams


@dataclass(frozen=True)
class PromptWriter:
    """Renders and encodes prompts; the tokenizer keeps its settings between calls, so ``lock`` guards it."""

    family: Family
    tokenizer: Any
    lock: threading.Lock = field(default_factory=threading.Lock)

    def render(
        self, instruction: str, variant: PromptVariant, context: Context, sampling: SamplingParams
    ) -> Prompt:
        """The prompt, trimmed to leave room for the completion."""
        room = tokens_for_prompt(self.family.sequence_length, sampling.max_new_tokens)
        templates = dict(self.family.templates)
        if variant == "chat":
            before, after = chat_frame(self.tokenizer)
            if not before:
                raise LabError(f"The model of {self.family.name} has no chat template.")
            templates["chat"] = before + (templates.get("chat") or TEMPLATES["chat"]) + after
        return render_prompt(instruction, variant, context, room, self.count_tokens, templates)

    def count_tokens(self, text: str) -> int:
        """How many tokens a prompt takes."""
        return len(self.encode(text))

    def encode(self, prompt: str) -> list[int]:
        """The prompt's tokens."""
        with self.lock:
            return encode_prompt(self.tokenizer, prompt)
