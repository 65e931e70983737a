"""From samples to training rows: the prompt of inference, then the function, which alone carries loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.generation.prompts import context_around, render_prompt
from pipeline.generation.tokenization import encode_completion, encode_prompt
from pipeline.models.families import Family
from pipeline.schema import LabError, PromptVariant, Sample

IGNORED = -100  # the label that PyTorch's cross-entropy leaves out


def encode(sample: Sample, variant: PromptVariant, family: Family, tokenizer: Any) -> dict[str, list[int]]:
    """One row: ``input_ids`` of prompt, function and end token; ``labels`` are these with the prompt ignored.

    The prompt gets the room that it has in generation, or less if the function needs more than generation
    would leave for it: no function is ever cut.
    """
    completion = [*encode_completion(tokenizer, sample.function), tokenizer.eos_token_id]
    room = family.sequence_length - max(family.max_new_tokens, len(completion))
    prompt = render_prompt(
        sample.prompt,
        variant,
        context_around(sample.full_code, sample.function),
        room,
        lambda text: len(encode_prompt(tokenizer, text)),
        family.templates,
    )
    ids = encode_prompt(tokenizer, prompt.text)
    return {"input_ids": ids + completion, "labels": [IGNORED] * len(ids) + completion}


def encode_all(
    samples: Sequence[Sample], variant: PromptVariant, family: Family, tokenizer: Any
) -> list[dict[str, list[int]]]:
    """The rows of the samples, in order; without those that are too long for the model.

    Raises:
        LabError: all are.
    """
    rows = []
    for sample in samples:
        try:
            rows.append(encode(sample, variant, family, tokenizer))
        except LabError as error:
            reason = error
    if samples and not rows:
        raise LabError(f"No sample can be trained on: {reason}")
    return rows
