"""A reader in a process of its own can harm nobody: it is ended, not believed, and told no secret."""

from __future__ import annotations

import time

import pytest

from pipeline.data.own import apart
from pipeline.data.own.apart import ProcessLimits, take_rows
from pipeline.data.own.table import Collector, Table
from pipeline.schema import LabError


def read(source: str, **more: list[str]) -> Table:
    rows = Collector(source)
    take_rows(rows, "tests.odd_readers", ProcessLimits(1_000, 60), **more)
    return rows.table()


def test_a_reader_that_waits_without_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "SILENCE", 2.0)
    began = time.monotonic()
    with pytest.raises(LabError, match="waits cannot be read"):
        read("waits")
    assert time.monotonic() - began < 30


def test_what_a_library_prints_is_no_row() -> None:
    assert [dict(row) for row in read("prints").rows] == [{"source": "prints"}]


def test_lines_that_no_reader_writes_are_said_in_words() -> None:
    rows = Collector("a file")
    with pytest.raises(LabError, match="a file cannot be read: it is damaged"):
        take_rows(rows, "this", ProcessLimits(1_000, 60))


def test_a_reader_is_told_no_secret_but_those_that_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RCL_JOBS_TOKEN", "OPENAI_API_KEY", "HF_TOKEN", "HF_ENDPOINT"):
        monkeypatch.setenv(name, "a value")
    alone, trusted = (read("looks around", secrets=names) for names in ([], ["HF_TOKEN"]))
    seen = [{name for row in table.rows for name in row} for table in (alone, trusted)]
    assert not {"RCL_JOBS_TOKEN", "OPENAI_API_KEY"} & (seen[0] | seen[1])
    assert [name in seen[0] for name in ("HF_TOKEN", "HF_ENDPOINT")] == [False, True]
    assert "HF_TOKEN" in seen[1]


def test_a_reader_runs_in_an_empty_folder() -> None:
    assert "folder" not in {name for row in read("looks around").rows for name in row}


def test_that_no_process_can_be_started_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/no/such/python")
    with pytest.raises(LabError, match="no process can be started"):
        read("a file")
