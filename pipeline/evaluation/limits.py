"""Limits of one comparison, and of what is scored. Each check raises ``LabError`` before any work starts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from pipeline.models.checkpoints import get_column
from pipeline.models.families import Family
from pipeline.schema import Column, FieldError, LabError, SamplingParams
from pipeline.settings import Settings

MAX_COLUMNS = 12
MAX_TEMPERATURE, MAX_NEW_TOKENS, MAX_SEED = 2, 4096, 2**31 - 1
MAX_INSTRUCTION, MAX_TEXT = 20_000, 500_000
"""Characters. Less than this fits a model; the engine checks that."""
MAX_ANSWER = 8 * MAX_NEW_TOKENS
"""Characters of an answer to score, and of its reference: of code, more than a model can write."""
MAX_THRESHOLD = 1_000
"""Of the smallest difference between two scores that counts."""
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


def check_text(field: str, text: str, limit: int = MAX_TEXT) -> str:
    """Return the text; raise ``FieldError`` if it is too long or has characters that no text has."""
    if len(text) > limit:
        raise FieldError(field, f"is too long: {len(text):,} characters; the limit is {limit:,}.")
    if found := _NO_TEXT.search(text):
        what = "a NUL character" if found[0] == "\0" else "half of a character (a lone surrogate)"
        raise FieldError(field, f"contains {what} at position {found.start() + 1:,}. Remove it.")
    return text


def check_number(field: str, value: float | None, low: float, high: float, whole: bool = False) -> float:
    """Return the number; raise ``FieldError`` unless it is one from ``low`` to ``high``.

    Args:
        field: the parameter's name.
        value: None if a form's field is empty.
        low: the smallest allowed.
        high: the largest allowed.
        whole: whether it must be a whole number, which is returned as an ``int``.
    """
    wanted = f"must be a {'whole ' if whole else ''}number from {low:,} to {high:,}"
    if value is None:
        raise FieldError(field, f"is empty: it {wanted}.")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FieldError(field, f"{wanted}.")
    if not low <= value <= high or (whole and value != int(value)):
        shown = f", not {value:,}" if abs(value) < 1e15 else ""
        raise FieldError(field, f"{wanted}{shown}.")
    return int(value) if whole else value


def check_sampling(sampling: SamplingParams) -> SamplingParams:
    """Return the parameters with whole numbers as integers; raise ``FieldError`` if one is out of range."""
    return SamplingParams(
        temperature=check_number("temperature", sampling.temperature, 0, MAX_TEMPERATURE),
        min_p=check_number("min_p", sampling.min_p, 0, 1),
        max_new_tokens=int(
            check_number("max_new_tokens", sampling.max_new_tokens, 1, MAX_NEW_TOKENS, whole=True)
        ),
        seed=int(check_number("seed", sampling.seed, 0, MAX_SEED, whole=True)),
    )


def choose_sampling(family: Family, **asked: float | None) -> SamplingParams:
    """The family's own sampling, with what is asked for in its place; None stands for "not asked for".

    Raises:
        FieldError: a parameter is out of range.
    """
    given = {name: value for name, value in asked.items() if value is not None}
    return check_sampling(replace(family.sampling, **given))  # type: ignore[arg-type]


def choose_columns(settings: Settings, family: Family, keys: Sequence[str]) -> list[Column]:
    """Return the columns by key, each once.

    Raises:
        LabError: there are no keys, too many, or an unknown one.
    """
    keys = list(dict.fromkeys(keys))
    if not keys:
        raise LabError("Choose at least one checkpoint and one prompt variant.")
    if len(keys) > MAX_COLUMNS:
        raise LabError(f"At most {MAX_COLUMNS} columns fit one comparison, and {len(keys)} were chosen.")
    return [get_column(settings, family, key) for key in keys]
