"""What people voted for in blind comparisons: one vote a line of ``votes/votes.jsonl`` in the data folder.

A vote holds what is needed to check it: hashes of the task and of each text, the checkpoints' fingerprints,
the decoding and the order shown. It holds no text and no address; the voter is a random number that the
browser keeps.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from filelock import FileLock
from pydantic import TypeAdapter

from pipeline.files import write_atomically
from pipeline.json_files import validate
from pipeline.models.fingerprints import FileStates, file_states
from pipeline.schema import LabError, SamplingParams
from pipeline.sendable import sendable
from pipeline.settings import Settings

MAX_VOTES = 20_000
"""Votes that one installation keeps."""
FORMAT = 1
VoteKind = Literal["best", "tie", "all bad", "rank"]
VOTE_KINDS: tuple[VoteKind, ...] = get_args(VoteKind)
_VOTER = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True)
class VotedAnswer:
    """One answer of a vote.

    Attributes:
        column: key of its checkpoint and prompt variant.
        fingerprint: of the checkpoint that wrote it.
        text: hash of the text; answers with the same text were shown as one.
        shown: its place on the page, from 0.
        rank: 1 for the best; answers of the same rank were not told apart.
        scores: values by metric, at the time of the vote.
    """

    column: str
    fingerprint: str
    text: str
    shown: int
    rank: int
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Ballot:
    """One person's vote on the answers to one task.

    Attributes:
        voter: random, from the person's browser.
        time: UTC, ISO 8601.
        kind: "best" tells only what the best one is better than.
        family: of all columns.
        sample: id of the dataset's sample, empty for an own instruction.
        task: hash of instruction, context and reference.
        decoding: how the answers were generated.
        stored: whether they are from stored runs.
        answers: at least two.
    """

    voter: str
    time: str
    kind: VoteKind
    family: str
    sample: str
    task: str
    decoding: SamplingParams
    stored: bool
    answers: tuple[VotedAnswer, ...]
    format: int = FORMAT

    @property
    def subject(self) -> tuple[str, str, frozenset[tuple[str, str]]]:
        """Who voted on what: of several votes on one subject the last one counts."""
        return self.voter, self.task, frozenset((each.column, each.text) for each in self.answers)


_LINES = TypeAdapter(Ballot)


def text_hash(*texts: str) -> str:
    """Return the first 16 hex digits of the SHA-256 of texts."""
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]


def is_voter(voter: object) -> bool:
    """Whether this is a voter's number as the app makes them."""
    return isinstance(voter, str) and _VOTER.fullmatch(voter) is not None


def new_voter() -> str:
    """Return the number of a new voter."""
    return secrets.token_hex(16)


class VoteBox:
    """The votes of one installation; can be shared between threads and processes."""

    def __init__(self, settings: Settings) -> None:
        self.path = settings.data_dir / "votes" / "votes.jsonl"
        self._lock = threading.Lock()
        self._kept: tuple[FileStates, list[Ballot]] = ((), [])

    def votes(self) -> list[Ballot]:
        """Return all votes that can be read, of each subject the last one."""
        with self._lock:
            stamp = _stamp(self.path)
            if self._kept[0] != stamp:
                self._kept = stamp, list({each.subject: each for each in self._read()}.values())
            return list(self._kept[1])

    def of(self, voter: str) -> list[Ballot]:
        """Return one person's votes."""
        return [each for each in self.votes() if each.voter == voter]

    def add(self, vote: Ballot) -> None:
        """Append a vote.

        Raises:
            LabError: there are as many as are kept, or they cannot be written.
        """
        if len(self.votes()) >= MAX_VOTES:
            raise LabError(f"This installation keeps {MAX_VOTES:,} votes, and it has that many.")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._alone(), self.path.open("a+b") as file:
                if file.tell() and not self.path.read_bytes().endswith(b"\n"):
                    file.write(b"\n")  # a line that a full disk cut off stays by itself
                file.write(as_jsonl([vote]).encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise LabError(f"The vote cannot be stored: {error.strerror or error}.") from error

    def delete(self, voter: str) -> int:
        """Delete all votes of one person, earlier ones on the same subject too; returns how many.

        Raises:
            LabError: the file cannot be written.
        """
        try:
            with self._alone():
                votes = self._read()
                kept = [each for each in votes if each.voter != voter]
                if len(kept) < len(votes):
                    write_atomically(self.path, as_jsonl(kept))
                return len(votes) - len(kept)
        except OSError as error:
            raise LabError(f"The votes cannot be deleted: {error.strerror or error}.") from error

    def _alone(self) -> FileLock:
        return FileLock(self.path.with_suffix(".lock"))

    def _read(self) -> list[Ballot]:
        if not self.path.exists():
            return []
        votes = []
        for line in self.path.read_bytes().splitlines():
            try:
                votes.append(validate(_LINES, line))
            except ValueError:
                continue  # cut off by a full disk, or of a later format
        return votes


def as_jsonl(votes: Iterable[Ballot]) -> str:
    """Return votes as they are stored, one a line."""
    return "".join(json.dumps(sendable(asdict(each)), ensure_ascii=False) + "\n" for each in votes)


def _stamp(path: Path) -> FileStates:
    return file_states([path]) if path.exists() else ()
