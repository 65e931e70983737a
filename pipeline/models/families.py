"""Families: one base model each, how it is trained and prompted, and what is published for it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.schema import LabError, SamplingParams
from pipeline.settings import Settings

DEFAULT_FAMILY = "smollm2-135m"


@dataclass(frozen=True)
class Gguf:
    """A base model inside a PyPI package, as one GGUF file (same bytes on the hub)."""

    package: str
    file: str
    sha256: str
    hub_id: str
    special_tokens: Mapping[str, int]


@dataclass(frozen=True)
class Family:
    """One base model, how it is trained and prompted, and the adapters published for it.

    Attributes:
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
    templates: Mapping[str, str] = field(default_factory=dict)
    published: Mapping[str, str] = field(default_factory=dict)

    @property
    def sampling(self) -> SamplingParams:
        """How it generates, unless another way is asked for."""
        return SamplingParams(self.temperature, max_new_tokens=self.max_new_tokens)

    @property
    def embedded(self) -> bool:
        """Whether the base comes with the app and runs on a CPU."""
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


def get_family(settings: Settings, name: str) -> Family:
    """Return one family by name.

    Raises:
        LabError: there is none of that name; the message lists all names.
    """
    families = load_families(settings)
    if name not in families:
        raise LabError(f"There is no model family {name!r}. There are: {', '.join(families)}.")
    return families[name]


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
        base=Gguf(**base["gguf"]) if "gguf" in base else base["hub_id"],
        base_names=tuple(row.get("base_names") or [(base.get("gguf") or base)["hub_id"]]),
        templates=row.get("templates", {}),
        published=row.get("published", {}),
    )
