"""Runs on disk: one folder a run, ``run.json`` (what was done) and ``items.jsonl`` (one sample a line).

Lines are only ever appended, each flushed to the disk before the next piece of work starts, so a run that
was killed resumes where it stood. A later line about a sample replaces what an earlier one said of the
same metric. Shipped runs have their items gzipped (``items.jsonl.gz``).
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.schema import Completion, LabError, PromptVariant, SamplingParams, Score
from pipeline.settings import Settings

_RUN, _ITEMS = "run.json", "items.jsonl"


@dataclass(frozen=True)
class RunConfig:
    """Everything that a run's numbers depend on.

    Attributes:
        id: folder name, made from what follows, so that the same evaluation finds itself again.
        checkpoint: name, such as ``1000-regular``; ``column`` is the key that charts and the API use.
        sample_ids: the test samples, in order.
        judge: model, method and votes of the CodeJudge, empty without one; never a key.
        versions: of the packages that matter.
        created: UTC, ISO 8601.
        command: what reproduces it.
    """

    id: str
    family: str
    checkpoint: str
    column: str
    fingerprint: str
    subset_size: int
    variant: PromptVariant
    training_seed: int | None
    dataset: str
    dataset_fingerprint: str
    sample_ids: tuple[str, ...]
    decoding: SamplingParams
    judge: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    engine: str = ""
    created: str = ""
    command: str = ""


@dataclass(frozen=True)
class Item:
    """One test sample in a run: what was asked, what was written, how it scored (by metric name).

    ``instruction`` and ``reference`` are kept so that results can be read where the dataset is not.
    """

    sample_id: str
    instruction: str
    reference: str
    repo: str
    completion: Completion
    code: str
    trimmed: str = ""
    scores: Mapping[str, Score] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """A run and its items by sample id."""

    config: RunConfig
    items: Mapping[str, Item]
    path: Path

    @property
    def complete(self) -> bool:
        """Whether every sample has its completion."""
        return all(sample in self.items for sample in self.config.sample_ids)


def runs_dir(settings: Settings) -> Path:
    """Where runs of this machine are written."""
    return settings.data_dir / "runs"


def create_run(root: Path, config: RunConfig) -> Path:
    """Make the run's folder, or find it again; returns it. The first config stays."""
    folder = root / config.id
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / _RUN).exists():
        temporary = folder / (_RUN + ".part")
        temporary.write_text(json.dumps(asdict(config), indent=1), encoding="utf-8")
        os.replace(temporary, folder / _RUN)
    return folder


def append_items(folder: Path, items: Iterable[Item]) -> None:
    """Write the items behind those there are, and wait until they are on the disk."""
    text = "".join(json.dumps(asdict(item), ensure_ascii=False) + "\n" for item in items)
    file = folder / _ITEMS
    with file.open("ab") as out:
        if out.tell() and not _ends_line(file):
            out.write(b"\n")  # a killed writer left half a line; close it so that only that one is lost
        out.write(text.encode())
        out.flush()
        os.fsync(out.fileno())


def load_config(folder: Path) -> RunConfig:
    """Read what a run did, without its items. Raises ``LabError`` where there is no run."""
    try:
        raw = json.loads((folder / _RUN).read_text(encoding="utf-8"))
        return RunConfig(
            **{**raw, "sample_ids": tuple(raw["sample_ids"]), "decoding": SamplingParams(**raw["decoding"])}
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise LabError(f"{folder.name} is no readable run: {error}") from error


def load_run(folder: Path) -> Run:
    """Read a run; half-written lines are passed over. Raises ``LabError`` where there is no run."""
    config = load_config(folder)
    items: dict[str, Item] = {}
    for item in _read_items(folder):
        old = items.get(item.sample_id)
        items[item.sample_id] = replace(item, scores={**old.scores, **item.scores}) if old else item
    return Run(config, items, folder)


def pack_run(folder: Path, root: Path) -> Path:
    """Copy a run below ``root`` with one gzipped line a sample, as runs are shipped; returns its folder."""
    run = load_run(folder)
    target = root / run.config.id
    target.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(asdict(item), ensure_ascii=False) + "\n" for item in run.items.values())
    (target / (_ITEMS + ".gz")).write_bytes(gzip.compress(lines.encode(), 9, mtime=0))
    (target / _RUN).write_text((folder / _RUN).read_text(encoding="utf-8"), encoding="utf-8")
    return target


def list_runs(settings: Settings) -> list[Path]:
    """Folders of every run: those shipped, then those of this machine."""
    roots = (settings.assets / "results", runs_dir(settings))
    return [file.parent for root in roots for file in sorted(root.glob(f"*/{_RUN}"))]


def _read_items(folder: Path) -> Iterator[Item]:
    packed = folder / (_ITEMS + ".gz")
    parts = [gzip.decompress(packed.read_bytes())] if packed.exists() else []
    if (folder / _ITEMS).exists():
        parts.append((folder / _ITEMS).read_bytes())
    for line in b"\n".join(parts).split(b"\n"):
        try:
            raw = json.loads(line)
            yield Item(
                **{
                    **raw,
                    "completion": Completion(**raw["completion"]),
                    "scores": {name: Score(**score) for name, score in raw["scores"].items()},
                }
            )
        except (ValueError, TypeError, KeyError):
            continue


def _ends_line(file: Path) -> bool:
    with file.open("rb") as lines:
        lines.seek(-1, os.SEEK_END)
        return lines.read(1) == b"\n"
