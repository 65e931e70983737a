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
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.files import write_atomically
from pipeline.schema import (
    Attempt,
    Checkpoint,
    Column,
    Completion,
    Context,
    LabError,
    PromptVariant,
    SamplingParams,
    Score,
    Task,
)
from pipeline.scoring.judge.config import JudgeConfig
from pipeline.settings import Settings

_RUN, _ITEMS = "run.json", "items.jsonl"


@dataclass(frozen=True)
class RunConfig:
    """Everything that a run's numbers depend on.

    Attributes:
        id: folder name, made from what follows, so that the same evaluation finds itself again.
        checkpoint: name, such as ``1000-regular``; ``column`` is the key that charts and the API use.
        sample_ids: the test samples, in order.
        judges: settings of every CodeJudge that judged it, by metric name; never a key.
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
    judges: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    engine: str = ""
    created: str = ""
    command: str = ""

    @property
    def as_column(self) -> Column:
        """The checkpoint and prompt variant that were evaluated."""
        checkpoint = Checkpoint(
            self.family,
            self.checkpoint,
            self.subset_size,
            self.variant if self.subset_size else None,
            self.training_seed,
            fingerprint=self.fingerprint,
        )
        return Column(checkpoint, self.variant)


@dataclass(frozen=True)
class Run:
    """A run and its attempts by sample id."""

    config: RunConfig
    attempts: Mapping[str, Attempt]
    path: Path

    @property
    def complete(self) -> bool:
        """Whether every sample was attempted."""
        return all(sample in self.attempts for sample in self.config.sample_ids)

    def scores(self, metric: str) -> list[Score]:
        """Every attempt's score by this metric; attempts that were not scored with it are left out."""
        return [attempt.scores[metric] for attempt in self.attempts.values() if metric in attempt.scores]


def runs_dir(settings: Settings) -> Path:
    """Where runs of this machine are written."""
    return settings.data_dir / "runs"


def create_run(root: Path, config: RunConfig) -> Path:
    """Make the run's folder, or find it again; returns it. The first config stays."""
    folder = root / config.id
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / _RUN).exists():
        _write_config(folder, config)
    return folder


def add_judge(folder: Path, judge: JudgeConfig) -> None:
    """Record in the run's config that this judge judged it, and how to do that again."""
    config = load_config(folder)
    if judge.name in config.judges:
        return
    words = f"--judge {judge.method} --judge-model {judge.model}"
    if judge.votes > 1:
        words += f" --votes {judge.votes}"
    first = config.command.partition(" && ")[0].partition(" --judge ")[0]
    command = f"{config.command} && {first} --resume {words}" if config.judges else f"{first} {words}"
    _write_config(
        folder, replace(config, judges={**config.judges, judge.name: asdict(judge)}, command=command)
    )


def _write_config(folder: Path, config: RunConfig) -> None:
    write_atomically(folder / _RUN, json.dumps(asdict(config), indent=1))


def append_attempts(folder: Path, attempts: Iterable[Attempt]) -> None:
    """Append the attempts to the file, and wait until they are on the disk."""
    text = "".join(_as_line(attempt) for attempt in attempts)
    file = folder / _ITEMS
    with file.open("ab") as out:
        if out.tell() and not _ends_line(file):
            out.write(b"\n")  # a killed writer left half a line; close it so that only that one is lost
        out.write(text.encode())
        out.flush()
        os.fsync(out.fileno())


def load_config(folder: Path) -> RunConfig:
    """Read what a run did, without its attempts. Raises ``LabError`` if there is no readable run."""
    try:
        raw = json.loads((folder / _RUN).read_text(encoding="utf-8"))
        raw.pop("judge", None)  # up to version 0.1 always empty
        return RunConfig(
            **{**raw, "sample_ids": tuple(raw["sample_ids"]), "decoding": SamplingParams(**raw["decoding"])}
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise LabError(f"{folder.name} is no readable run: {error}") from error


def load_run(folder: Path) -> Run:
    """Read a run; half-written lines are skipped. Raises ``LabError`` if there is no readable run."""
    config = load_config(folder)
    attempts: dict[str, Attempt] = {}
    for attempt in _read_attempts(folder, config.as_column):
        sample_id = attempt.task.sample_id or ""
        old = attempts.get(sample_id)
        attempts[sample_id] = replace(attempt, scores={**old.scores, **attempt.scores}) if old else attempt
    return Run(config, attempts, folder)


def pack_run(folder: Path, root: Path) -> Path:
    """Copy a run below ``root`` with one gzipped line a sample, as runs are shipped; returns its folder."""
    run = load_run(folder)
    target = root / run.config.id
    lines = "".join(_as_line(attempt) for attempt in run.attempts.values())
    write_atomically(target / (_ITEMS + ".gz"), gzip.compress(lines.encode(), 9, mtime=0))
    write_atomically(target / _RUN, (folder / _RUN).read_bytes())
    return target


def list_runs(settings: Settings) -> list[Path]:
    """Folders of every run: those shipped, then those of this machine."""
    roots = (settings.assets / "results", runs_dir(settings))
    return [file.parent for root in roots for file in sorted(root.glob(f"*/{_RUN}"))]


def _as_line(attempt: Attempt) -> str:
    """One line of ``items.jsonl``; instruction and reference let results be read where the dataset is not."""
    task = attempt.task
    line = {
        "sample_id": task.sample_id,
        "instruction": task.instruction,
        "reference": task.reference,
        "repo": task.repo,
        "completion": asdict(attempt.completion) if attempt.completion else None,
        "code": attempt.code,
        "trimmed": attempt.trimmed,
        "scores": {name: asdict(score) for name, score in attempt.scores.items()},
        "error": attempt.error,
    }
    return json.dumps(line, ensure_ascii=False) + "\n"


def _read_attempts(folder: Path, column: Column) -> Iterator[Attempt]:
    packed = folder / (_ITEMS + ".gz")
    parts = [gzip.decompress(packed.read_bytes())] if packed.exists() else []
    if (folder / _ITEMS).exists():
        parts.append((folder / _ITEMS).read_bytes())
    for line in b"\n".join(parts).split(b"\n"):
        with suppress(ValueError, TypeError, KeyError):
            yield _from_line(json.loads(line), column)


def _from_line(line: dict[str, Any], column: Column) -> Attempt:
    written = line["completion"]
    return Attempt(
        task=Task(line["instruction"], Context(), line["reference"], line["sample_id"], line["repo"]),
        column=column,
        trimmed=line["trimmed"],
        # Up to version 0.1 a completion repeated its run's column.
        completion=Completion(**{k: v for k, v in written.items() if k != "column"}) if written else None,
        code=line["code"],
        scores={name: Score(**score) for name, score in line["scores"].items()},
        error=line.get("error", ""),
    )


def _ends_line(file: Path) -> bool:
    with file.open("rb") as lines:
        lines.seek(-1, os.SEEK_END)
        return lines.read(1) == b"\n"
