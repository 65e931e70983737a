"""Add a base model of one's own: try it, and write it into the families of the data folder."""

from __future__ import annotations

import dataclasses
import gc
import json
import math
import sys
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Interval

from pipeline.command_line.verbs import run_verb
from pipeline.data.dataset import BUILT_IN
from pipeline.evaluation.datasets import check_dataset
from pipeline.files import write_atomically
from pipeline.models.families import FILE, Family, check_new_family
from pipeline.models.hub import base_source
from pipeline.schema import LabError, Sample
from pipeline.settings import Settings
from training.backends import load
from training.encoding import encode
from training.jobs.arguments import LearningRate, NewTokens, Temperature
from training.jobs.progress import Reporter

if TYPE_CHECKING:
    from pipeline.generation.trial import Tried

Length = Annotated[int, Interval(ge=256, le=131_072)]
Rank = Annotated[int, Interval(ge=1, le=1_024)]
SMALL = 2_000_000_000
"""Parameters of the largest model that a CPU is let run."""
_SAMPLE = Sample("", "Add two numbers.", "def add(a, b):\n    return a + b", "add", "", 0, "", "")


def add_base_model(
    source: str,
    name: str,
    title: str | None = None,
    dataset: str | None = None,
    sequence_length: Length = 1_024,
    max_new_tokens: NewTokens = 256,
    temperature: Temperature = 0.0,
    lora_r: Rank = 8,
    lora_alpha: Rank = 16,
    learning_rate: LearningRate = 2e-4,
    *,
    replace: bool = False,
) -> dict[str, Any]:
    """Add a base model: a hub id or a folder, of any architecture whose linear layers can take adapters.

    It is loaded, writes a few tokens and makes one training step. If that works, it is a model family like
    the others, on every page and in every command.

    Args:
        source: hub id such as owner/name, or a folder with config.json, safetensors and tokenizer.json
        name: what commands and pages call it: lower-case letters, digits, dots and hyphens
        title: what pages show, instead of the name
        dataset: that it is trained and evaluated on, unless another is asked for; packages if empty
        sequence_length: most tokens of prompt and answer together
        max_new_tokens: most tokens of an answer
        temperature: of generation; 0 is greedy
        lora_r: rank of its adapters
        lora_alpha: alpha of its adapters
        learning_rate: peak learning rate of its trainings
        replace: replace a base model of one's own that has this name

    Returns:
        The family's name, its number of parameters, the layers that adapters change, and its file.

    Raises:
        LabError: the base model cannot be used, or the name is taken.
    """
    from pipeline.generation.trial import try_base  # with torch, which takes seconds

    settings, report = Settings.from_env(), Reporter()
    dataset = dataset or BUILT_IN[0]
    check_new_family(settings, name, replace)
    check_dataset(settings, dataset)
    base = base_source(source)
    family = Family(
        name, title or name, dataset, sequence_length, max_new_tokens, temperature, lora_r, lora_alpha,
        learning_rate, 16, False, next(iter(base.values())), tuple(base.values()), small=True, own=True,
    )  # fmt: skip
    tried = try_base(family, report)
    gc.collect()  # the model, before it is loaded once more
    length = min(sequence_length, tried.longest)
    small = tried.parameters <= SMALL
    family = dataclasses.replace(family, lora_targets=tried.lora_targets, sequence_length=length, small=small)
    report(0.6, "making one training step")
    _train_once(settings, dataclasses.replace(family, small=True), report)
    _write(settings, family, base)
    report(1.0, f"added {name}")
    return {**_result(tried), "family": name, "path": str(settings.data_dir / FILE)}


def _result(tried: Tried) -> dict[str, Any]:
    return {"parameters": tried.parameters, "lora_targets": list(tried.lora_targets), "chat": tried.chat}


def _train_once(settings: Settings, family: Family, report: Reporter) -> None:
    """Make a training step as ``training.finetune`` does; raise ``LabError`` if it fails."""
    from training.stepper import Stepper

    try:
        model, tokenizer = load(settings, family, family.recipe, "peft", 0, lambda fraction, message: None)
        row = encode(_SAMPLE, "regular", family, tokenizer)
        expected = _loss(model, row)
        loss, norm = Stepper(model, family.learning_rate).step([row], family.learning_rate)
    except LabError:
        raise
    except Exception as error:  # any part of an unknown architecture can fail
        raise LabError(f"This base model cannot be trained here: {error}.") from error
    if not (norm > 0 and math.isclose(loss, expected, rel_tol=0.05)):
        raise LabError(
            f"This base model cannot be trained here: a training step has the loss {loss:.4g} (with a "
            f"gradient of {norm:.4g}), and transformers computes {expected:.4g}."
        )
    report(0.9, f"one step of training has the loss {loss:.3f}")


def _loss(model: Any, row: dict[str, list[int]]) -> float:
    """The loss of a row as transformers computes it."""
    import torch

    tensors = {name: torch.tensor([ids], device=model.device) for name, ids in row.items()}
    with torch.no_grad():
        return float(model(**tensors).loss)


def _write(settings: Settings, family: Family, base: dict[str, str]) -> None:
    """Put the family's table at the end of the data folder's file, or in the place of the one it had."""
    file = settings.data_dir / FILE
    before = file.read_text(encoding="utf-8-sig") if file.exists() else ""
    # Strings of TOML are those of JSON, apart from characters that JSON leaves as they are.
    quoted = {key: json.dumps(value) for key, value in (("title", family.title), ("dataset", family.dataset))}
    table = "\n".join(
        [
            f'["{family.name}"]',
            *(f"{key} = {value}" for key, value in quoted.items()),
            f"sequence_length = {family.sequence_length}",
            f"max_new_tokens = {family.max_new_tokens}",
            f"temperature = {family.temperature}",
            f"small = {json.dumps(family.small)}",
            f"lora = {{ r = {family.lora_r}, alpha = {family.lora_alpha}, "
            f"targets = {json.dumps(family.lora_targets)} }}",
            f"training = {{ learning_rate = {family.learning_rate}, batch_size = {family.batch_size} }}",
            *(f"base = {{ {key} = {json.dumps(value)} }}" for key, value in base.items()),
        ]
    )
    others = [part for part in _tables(before) if not part.startswith(f'["{family.name}"]')]
    try:
        write_atomically(file, "\n\n".join([*others, table]) + "\n")
    except OSError as error:
        raise LabError(f"{file} cannot be written: {error}.") from error


def _tables(text: str) -> list[str]:
    """The text of a file of families by table; what stands before the first is the first part."""
    parts: list[str] = []
    for line in text.splitlines():
        if line.startswith("[") or not parts:
            parts.append(line)
        else:
            parts[-1] += f"\n{line}"
    return [stripped for part in parts if (stripped := part.strip())]


if __name__ == "__main__":
    sys.exit(run_verb(add_base_model))
