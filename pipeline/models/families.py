"""Families: one base model each, how it is trained and prompted, and what is published for it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.schema import FieldError, LabError, Recipe, SamplingParams, quoted
from pipeline.settings import Settings

DEFAULT_FAMILY = "smollm2-135m"
"""Of commands and the API: it runs anywhere. The page opens with ``first_family``."""
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear layers that a LoRA changes, in Llama and its relatives."""
FILE = "families.toml"
"""In ``assets/`` with the shipped families, and in the data folder with own ones."""
NAME_RULE = "1 to 40 lower-case letters, digits, dots and hyphens, and start with a letter"
_NAME = re.compile(r"[a-z][a-z0-9.-]{0,39}", re.ASCII)


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
        dataset: name of the dataset that it is trained and evaluated on, unless another is asked for.
        sequence_length: the largest number of tokens of prompt and completion together.
        temperature: of generation, unless another one is asked for; the shipped runs were made with it.
        batch_size: samples in an optimizer step, or rows of ``sequence_length`` tokens where it packs.
        packing: whether training fills rows with whole samples, which do not attend to each other.
        base: the base model: a file of an installed package, or a hub id, or the path of a folder.
        base_names: what adapters may call the base model, as hub ids; the first is what ours call it.
        templates: prompt templates by variant, instead of the protocol's.
        published: hub ids by checkpoint name.
        lora_targets: ends of the names of the linear layers that a LoRA changes.
        small: whether a CPU can run it, though it is not embedded.
        own: whether it is one of the data folder and not a shipped one.
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
    lora_targets: tuple[str, ...] = TARGETS
    small: bool = False
    own: bool = False

    @property
    def sampling(self) -> SamplingParams:
        """How it generates, unless another way is asked for."""
        return SamplingParams(self.temperature, max_new_tokens=self.max_new_tokens)

    @property
    def recipe(self) -> Recipe:
        """How it is trained, unless another way is asked for."""
        return Recipe(self.learning_rate, self.batch_size, self.lora_r, self.lora_alpha, self.packing)

    @property
    def embedded(self) -> bool:
        """Whether it is small enough for a CPU: this project's own engine and training loop run it."""
        return isinstance(self.base, Gguf) or self.small


def base_folder(family: str, base: Gguf) -> str:
    """The name of the folder that keeps the converted base model."""
    return f"{family}-{base.sha256[:12]}"


def load_families(settings: Settings) -> dict[str, Family]:
    """Read the shipped families, in the order of their file, and then those of the data folder.

    What is wrong with a family of the data folder leaves that one out; ``family_problems`` says it.

    Raises:
        LabError: the shipped file or a family in it cannot be read.
    """
    shipped = {}
    for name, family in _read(settings.assets / FILE):
        if isinstance(family, str):
            raise LabError(family)
        shipped[name] = family
    if not shipped:
        raise LabError(f"There are no families in {settings.assets / FILE}.")
    own = {name: family for name, family in _read(settings.data_dir / FILE) if isinstance(family, Family)}
    return shipped | {
        name: replace(family, own=True)
        for name, family in own.items()
        if name not in shipped and _NAME.fullmatch(name)
    }


def family_problems(settings: Settings) -> list[str]:
    """A sentence for each family of the data folder that cannot be used."""
    file, shipped = settings.data_dir / FILE, dict(_read(settings.assets / FILE))
    problems = []
    for name, family in _read(file):
        if isinstance(family, str):
            problems.append(family)
        elif name in shipped:
            problems.append(f"The family {name} in {file} has the name of a shipped one. Give it another.")
        elif not _NAME.fullmatch(name):
            problems.append(f"The family {name!r} in {file} needs another name: {NAME_RULE}.")
    return problems


def check_new_family(settings: Settings, name: str, replaces: bool) -> None:
    """Raise ``FieldError`` if no family of one's own can have this name, or one has it already."""
    if not _NAME.fullmatch(name):
        raise FieldError("name", f"must be {NAME_RULE}.")
    if name in dict(_read(settings.assets / FILE)):
        raise FieldError("name", f"must not be {name}: that is a shipped family.")
    if name in load_families(settings) and not replaces:
        raise FieldError("replace", f"must be set to replace {name}, which is a base model of yours already.")


def _read(file: Path) -> Iterator[tuple[str, Family | str]]:
    """The families of a file by name, each as it is or with why it cannot be read; none without a file."""
    try:
        rows = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        yield "", f"{file} cannot be read: {error}"
        return
    for name, row in rows.items():
        try:
            yield name, _family(name, row)
        except KeyError as error:
            yield name, f"The family {name} in {file} has no {error}."
        except (ValueError, TypeError, AttributeError) as error:
            yield name, f"The family {name} in {file} cannot be read: {error}"


def first_family(settings: Settings) -> Family:
    """Return the family that the page opens with.

    Raises:
        LabError: the families cannot be read.
    """
    return next(iter(load_families(settings).values()))


def get_family(settings: Settings, name: str, dataset: str | None = None) -> Family:
    """Return one family by name; with another dataset than its own if one is named.

    Raises:
        LabError: there is none of that name; the message lists all names.
    """
    families = load_families(settings)
    if name not in families:
        problems = "".join(f" {problem}" for problem in family_problems(settings))
        raise LabError(
            f"There is no model family {quoted(name)}. There are: {', '.join(families)}.{problems}"
        )
    return replace(families[name], dataset=dataset) if dataset else families[name]


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
        base=_gguf(base["gguf"]) if "gguf" in base else base.get("folder") or base["hub_id"],
        base_names=tuple(row.get("base_names") or [_base_name(base)]),
        note=row.get("note", ""),
        templates=row.get("templates", {}),
        published=row.get("published", {}),
        lora_targets=tuple(row["lora"].get("targets", TARGETS)),
        small=row.get("small", False),
    )


def _base_name(base: Mapping[str, Any]) -> str:
    """What adapters call the base model: its hub id, or its folder."""
    return str(base.get("folder") or (base.get("gguf") or base)["hub_id"])
