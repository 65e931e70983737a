"""Runs on disk: one folder a run, ``run.json`` (what was done) and ``items.jsonl`` (one sample a line).

Lines are only appended, and written to the disk before the next batch starts, so a killed run resumes where
it stopped. If a sample has several lines, the last value of each metric counts. The lines of shipped runs are
gzipped (``items.jsonl.gz``), and have the hash of instruction and reference in place of texts that come from
installed packages.

A file that cannot be read raises ``LabError``; lines that cannot be read are counted. Fields that this
version does not know are kept when a file is rewritten.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import TypeAdapter

from pipeline.evaluation.datasets import is_from_packages
from pipeline.evaluation.run_lines import as_text, from_line, is_whole, to_line, without_texts
from pipeline.evaluation.runs import Run, RunConfig, repeat_command
from pipeline.evaluation.texts import with_texts
from pipeline.files import folder_beside, write_atomically
from pipeline.json_files import check_format, parse_object, validate
from pipeline.schema import Attempt, LabError, counted
from pipeline.scoring.judge.config import JudgeConfig
from pipeline.sendable import sendable
from pipeline.settings import Settings

FORMAT = 3
"""Of ``run.json`` and ``items.jsonl``, in the field ``schema``.

1: up to version 0.1, without that field; a completion repeated its column, and judges were not stored.
2: a line always had instruction and reference.
"""
_RUN, _ITEMS = "run.json", "items.jsonl"
_MOST_SAMPLES = 1_000_000_000  # of training; what is above is no size, but damage
_THEN = ", then "  # between the engines of a run


_AS_CONFIG = TypeAdapter(RunConfig)


def runs_dir(settings: Settings) -> Path:
    """The folder of the runs made on this machine."""
    return settings.data_dir / "runs"


def create_run(root: Path, config: RunConfig) -> Path:
    """Create the run's folder. If there is one, keep its config and convert it to the present format.

    If the run was begun on another engine, its config then names both: their numbers differ by rounding.

    Raises:
        LabError: the run exists and cannot be read.
        OSError: the folder cannot be written.
    """
    folder = root / config.id
    if has_run(folder):
        stored = _read_config(folder)
        engines = [*str(stored.get("engine") or "").split(_THEN), config.engine]
        _write(folder, {**stored, "engine": _THEN.join(dict.fromkeys(filter(None, engines)))})
        return folder
    if folder.is_dir():  # left behind without a config
        _write(folder, asdict(config))
        return folder
    with folder_beside(folder) as part:
        _write(part, asdict(config))
        part.rename(folder)
    return folder


def has_run(folder: Path) -> bool:
    """Whether the folder has a run, readable or not."""
    return (folder / _RUN).exists()


def add_judge(folder: Path, judge: JudgeConfig) -> None:
    """Add the judge to the run's config and to its repeat command.

    Raises:
        LabError: a judge with the same name and other settings has judged a part of the run.
    """
    run = load_run(folder)
    settings, old = asdict(judge), run.config.judges.get(judge.name)
    if old == settings:
        return
    if old and any(score.value is not None for score in run.scores(judge.name)):
        changes = [
            f"{name} was {old.get(name)!r}, now {value!r}"
            for name, value in settings.items()
            if old.get(name) != value
        ]
        raise LabError(
            f"{judge.name} has judged a part of this run with other settings ({'; '.join(changes)}). Judge "
            "the rest with the earlier settings, or evaluate without --resume."
        )
    judges = {**run.config.judges, judge.name: settings}
    command = repeat_command(replace(run.config, judges=judges))
    _write(folder, {**_read_config(folder), "judges": judges, "command": command})


def append_attempts(folder: Path, attempts: Iterable[Attempt]) -> None:
    """Append the attempts to the run's file, and wait until they are on the disk."""
    text = "".join(to_line(attempt) for attempt in attempts)
    with (folder / _ITEMS).open("a+b") as file:
        _end_last_line(file)
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())


def load_config(folder: Path) -> RunConfig:
    """Read a run's config without its attempts.

    Raises:
        LabError: there is no readable run, or a newer version wrote it.
    """
    raw = _read_config(folder)
    try:
        config = validate(_AS_CONFIG, json.dumps(raw, allow_nan=False).encode())
        if config.subset_size is not None and not 0 <= config.subset_size <= _MOST_SAMPLES:
            raise ValueError(f"subset_size: it is not from 0 to {_MOST_SAMPLES:,}")
        if not config.sample_ids:
            raise ValueError("sample_ids: there are none")
    except ValueError as error:
        raise LabError(f"{folder.name}: {_RUN} cannot be read: {error}") from error
    return config


def load_run(folder: Path) -> Run:
    """Read a run; lines that cannot be read are left out and counted.

    Raises:
        LabError: there is no readable run, or a newer version wrote it.
    """
    config = load_config(folder)
    column = config.as_column
    attempts: dict[str, Attempt] = {}
    faults = []
    for number, line in _numbered_lines(folder):
        try:
            attempt = from_line(line, column)
        except ValueError as error:
            faults.append(f"line {number}: {error}")
            continue
        sample_id = attempt.task.sample_id or ""
        old = attempts.get(sample_id)
        attempts[sample_id] = replace(attempt, scores={**old.scores, **attempt.scores}) if old else attempt
    return Run(config, attempts, folder, _unreadable(faults))


def pack_run(folder: Path, root: Path) -> Path:
    """Copy a run to ``root`` as runs are shipped. Returns its folder, which may be the run's own.

    The lines are gzipped, one for each sample. Texts that come from installed packages are replaced by their
    hash.

    Raises:
        LabError: the run, or a line of it, cannot be read; or there are new scores, and the texts that they
            may repeat cannot be read here.
    """
    run = load_run(folder)
    if run.unreadable:
        raise LabError(f"{folder.name}: {run.unreadable}.")
    merged: dict[str, dict[str, Any]] = {}
    for _, line in _numbered_lines(folder):
        raw = parse_object(line)
        old = merged.get(raw["sample_id"], {})
        merged[raw["sample_id"]] = {**old, **raw, "scores": {**old.get("scores", {}), **raw["scores"]}}
    target = root / run.config.id
    if is_from_packages(run.config.dataset):
        tasks = {name: with_texts(run.config.dataset, each.task) for name, each in run.attempts.items()}
        problem = next(filter(None, (task.problem for task in tasks.values())), "")
        if problem and (folder / _ITEMS).exists():  # what was packed before has no texts
            raise LabError(f"{folder.name}: what new scores repeat of a text cannot be found. {problem}")
        merged = {sample_id: without_texts(each, tasks[sample_id]) for sample_id, each in merged.items()}
    text = "".join(map(as_text, merged.values()))
    write_atomically(target / (_ITEMS + ".gz"), gzip.compress(text.encode(), 9, mtime=0))
    _write(target, _read_config(folder))
    (target / _ITEMS).unlink(missing_ok=True)
    return target


def is_packed(folder: Path) -> bool:
    """Whether the folder has a run as runs are shipped; lines may have been appended since."""
    return (folder / (_ITEMS + ".gz")).exists()


def list_runs(settings: Settings) -> list[Path]:
    """List the folders of all runs: shipped ones, then those of this machine. Some may not be readable.

    If a folder of runs cannot be listed, it is in the list itself, so that reading it gives the reason.
    """
    folders: list[Path] = []
    for root in (settings.assets / "results", runs_dir(settings)):
        try:
            found = sorted(root.iterdir())
        except FileNotFoundError:
            continue
        except OSError:
            folders.append(root)
            continue
        folders += [each for each in found if each.is_dir() and not each.name.startswith(".")]
    return folders


def _read_config(folder: Path) -> dict[str, Any]:
    """Return ``run.json`` in the present format, with the fields that this version does not know."""
    try:
        raw = parse_object((folder / _RUN).read_bytes())
    except FileNotFoundError:
        raise LabError(f"{folder.name}: there is no {_RUN}.") from None
    except (OSError, ValueError) as error:
        raise LabError(f"{folder.name}: {_RUN} cannot be read: {error}") from error
    stored = raw.pop("schema", 1)
    check_format(f"{folder.name}: {_RUN}", stored, FORMAT)
    if stored == 1:
        raw.pop("judge", None)  # it was always empty
        raw.setdefault("judges", {})
    return raw


def _write(folder: Path, config: Mapping[str, Any]) -> None:
    write_atomically(folder / _RUN, json.dumps(sendable({"schema": FORMAT, **config}), indent=1))


def _numbered_lines(folder: Path) -> list[tuple[int, bytes]]:
    """Return the lines with their numbers from 1, without empty ones and an incomplete last one."""
    try:
        packed = folder / (_ITEMS + ".gz")
        parts = [_unpacked(packed)] if packed.exists() else []
        if (folder / _ITEMS).exists():
            parts.append((folder / _ITEMS).read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise LabError(f"{folder.name}: its samples cannot be read: {error}") from error
    *lines, last = b"\n".join(parts).split(b"\n")
    if is_whole(last):
        lines.append(last)  # otherwise it is being written, or the process that wrote it was killed
    return [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]


def _unpacked(packed: Path) -> bytes:
    content = packed.read_bytes()
    if not content:  # which gzip takes for nothing, packed
        raise EOFError(f"{packed.name} is empty")
    return gzip.decompress(content)


def _end_last_line(file: BinaryIO) -> None:
    """Make the file end with a line end: add it, or cut off the part of a line that a killed process left."""
    size = file.seek(0, os.SEEK_END)
    if not size:
        return
    file.seek(size - 1)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    last = file.read().rpartition(b"\n")[2]
    if is_whole(last):
        file.write(b"\n")
    else:
        file.truncate(size - len(last))


def _unreadable(faults: list[str]) -> str:
    if not faults:
        return ""
    return (
        f"{counted(len(faults), 'line')} of its samples cannot be read ({faults[0]}). What "
        f"{'it' if len(faults) == 1 else 'they'} held counts as missing"
    )
