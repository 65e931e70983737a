"""How much one comparison may ask for. Each check raises ``LabError`` in words, before any work."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.models.checkpoints import get_column
from pipeline.models.families import Family
from pipeline.schema import Column, LabError, SamplingParams
from pipeline.settings import Settings

MAX_COLUMNS = 12
MAX_INSTRUCTION, MAX_TEXT = 20_000, 500_000
"""Characters. What fits the model is less, and the engine says how much."""


def check_text(name: str, text: str, limit: int = MAX_TEXT) -> None:
    """Raise ``LabError`` if a text is too long or is not text."""
    if len(text) > limit:
        raise LabError(f"The {name} is too long: {len(text):,} characters; the limit is {limit:,}.")
    if "\0" in text:
        raise LabError(f"The {name} contains NUL characters, so it is not text. Remove them.")


def check_sampling(sampling: SamplingParams) -> SamplingParams:
    """Return the same parameters; raise ``LabError`` if one is out of range."""
    for name, value, low, high in (
        ("The temperature", sampling.temperature, 0, 2),
        ("min_p", sampling.min_p, 0, 1),
        ("Max new tokens", sampling.max_new_tokens, 1, 4096),
        ("The seed", sampling.seed, 0, 2**31 - 1),
    ):
        if value is None or not low <= value <= high:  # an emptied number field gives None
            given = "left empty" if value is None else f"{value:,}"
            raise LabError(f"{name} must be a number from {low} to {high:,}, not {given}.")
    return sampling


def choose_columns(settings: Settings, family: Family, keys: Sequence[str]) -> list[Column]:
    """Return the columns by key, each once.

    Raises:
        LabError: none, too many, or an unknown one.
    """
    keys = list(dict.fromkeys(keys))
    if not keys:
        raise LabError("Choose at least one checkpoint and one prompt variant.")
    if len(keys) > MAX_COLUMNS:
        raise LabError(f"At most {MAX_COLUMNS} columns fit one comparison, and {len(keys)} were chosen.")
    return [get_column(settings, family, key) for key in keys]
