"""Recipes of trainings: as a checkpoint's record stores them, and how a name tells what differs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter

from pipeline.json_files import validate
from pipeline.schema import Recipe

_SHORT = {
    "learning_rate": "lr",
    "lora_r": "r",
    "lora_alpha": "alpha",
    "epochs": "epochs",
    "batch_size": "batch",
    "scheduler": "",
    "warmup": "warmup",
    "max_steps": "steps",
}
"""What stands before each setting in a name, in the order in which a name has them."""
WORDS = {
    "learning_rate": "learning rate",
    "lora_r": "rank",
    "lora_alpha": "alpha",
    "epochs": "epochs",
    "batch_size": "batch",
    "scheduler": "scheduler",
    "warmup": "warm-up",
    "max_steps": "steps",
}
"""The settings in words, for a title or a table."""
_AS_RECIPE = TypeAdapter(Recipe)


def to_record(recipe: Recipe) -> dict[str, Any]:
    """The recipe as a checkpoint's record holds it."""
    record = asdict(recipe)
    lora = {"r": record.pop("lora_r"), "alpha": record.pop("lora_alpha")}
    return {**record, "lora": lora}


def from_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of the recipe, by the names of ``Recipe``; empty if it does not say all of it."""
    lora = record.get("lora")
    lora = lora if isinstance(lora, Mapping) else {}
    flat = {**record, "lora_r": lora.get("r"), "lora_alpha": lora.get("alpha")}
    try:
        return asdict(validate(_AS_RECIPE, json.dumps(flat).encode()))
    except ValueError:
        return {}


def differing(recipe: Recipe, usual: Recipe) -> list[str]:
    """What differs from the usual recipe, in few characters each: ``lr1e-4``, ``r16``, ``cosine``."""
    return [f"{_SHORT[name]}{short(value)}" for name, value in _others(asdict(recipe), usual)]


def differing_values(recipe: Mapping[str, Any], usual: Recipe) -> list[str]:
    """The same in words: ``learning rate 1e-4``, ``rank 16``."""
    return [f"{WORDS[name]} {short(value)}" for name, value in _others(recipe, usual)]


def _others(recipe: Mapping[str, Any], usual: Recipe) -> list[tuple[str, Any]]:
    return [(name, recipe.get(name)) for name in _SHORT if recipe.get(name) != getattr(usual, name)]


def short(value: object) -> str:
    """A setting in few characters: ``1e-4``, ``0.002``, ``16``, ``cosine``."""
    if not isinstance(value, int | float):
        return str(value)
    if value and abs(value) < 1e-3:
        mantissa, exponent = f"{value:.6e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return f"{value:.15g}"
