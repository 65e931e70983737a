"""A judge's answers on the disk, so that none is paid for twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.json_files import check_format
from pipeline.schema import LabError

_VERSION = 1  # of the file's layout; 0 had no left_out


@dataclass(frozen=True, slots=True)
class JudgeAnswer:
    """What the judge wrote.

    Attributes:
        text: as it came, thinking included.
        finish_reason: why it stopped: ``stop``, or ``length`` at the token limit.
        left_out: parameters that the judge's server refused and that were not sent.
    """

    text: str
    finish_reason: str
    left_out: tuple[str, ...] = ()


class AnswerCache:
    """Answers in an SQLite file that several processes may share.

    Raises:
        LabError: the file cannot be used; better to stop than to buy answers and lose them.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "answers.sqlite"
        with self._open() as base:
            base.execute("BEGIN IMMEDIATE")
            base.execute(
                "CREATE TABLE IF NOT EXISTS answers"
                " (key TEXT PRIMARY KEY, label TEXT, text TEXT, finish_reason TEXT, created TEXT)"
            )
            (version,) = base.execute("PRAGMA user_version").fetchone()
            if version:
                check_format(f"The judge's answers in {self._file}", version, _VERSION)
            else:
                base.execute("ALTER TABLE answers ADD COLUMN left_out TEXT NOT NULL DEFAULT ''")
                base.execute("PRAGMA user_version = 1")

    def get(self, key: str) -> JudgeAnswer | None:
        """The answer under this key, if it was given before; a damaged one counts as not given."""
        with self._open() as base:
            row = base.execute(
                "SELECT text, finish_reason, left_out FROM answers WHERE key = ?", (key,)
            ).fetchone()
        if not row or not all(isinstance(each, str | None) for each in row):
            return None
        return JudgeAnswer(row[0] or "", row[1] or "", tuple((row[2] or "").split()))

    def put(self, answers: Iterable[tuple[str, str, JudgeAnswer]]) -> None:
        """Keep answers, each with its key and its label; they are on the disk when this returns."""
        created = datetime.now(UTC).isoformat(timespec="seconds")
        with self._open() as base:
            base.executemany(
                "INSERT OR REPLACE INTO answers (key, label, text, finish_reason, created, left_out)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (key, label, answer.text, answer.finish_reason, created, " ".join(answer.left_out))
                    for key, label, answer in answers
                ],
            )

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection for one transaction; a connection for each call needs no thread of its own."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._file, timeout=60)) as base, base:
                base.text_factory = _decode
                yield base
        except (sqlite3.Error, OSError) as error:
            raise LabError(
                f"The judge's answers cannot be kept in {self._file}: {error}. If the file is damaged, move "
                "it away; the judge is then asked again for what it holds."
            ) from error


def _decode(text: bytes) -> str | bytes:
    """A text of the file; bytes if it is damaged, for which SQLite itself would raise."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text
