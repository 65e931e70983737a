"""Parquet that is large in memory, takes long or is damaged is refused in words, and nothing else happens."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.own import read_parquet
from pipeline.data.own.apart import ProcessLimits
from pipeline.data.own.rows import Columns, check_columns
from pipeline.data.own.source import read_source
from pipeline.data.own.table import LONGEST_ROW
from pipeline.schema import LabError
from pipeline.settings import ROOT
from tests.own_data import rows

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="memory is limited there alone")


@pytest.mark.parametrize("codec", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY", "PLAIN"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_texts_of_each_encoding_of_parquet_are_read(tmp_path: Path, codec: str, version: str) -> None:
    content = rows(30)
    frame = pa.table({name: [row[name] for row in content] for name in content[0]})
    pq.write_table(
        frame, tmp_path / "rows.parquet", use_dictionary=False, column_encoding=codec,
        data_page_version=version, row_group_size=7,
    )  # fmt: skip
    assert list(read_source(str(tmp_path / "rows.parquet")).rows) == content


def test_columns_of_parquet_that_hold_no_texts_are_left_out_unread(tmp_path: Path) -> None:
    columns = {
        "code": pa.array(["x", None, "x"]).dictionary_encode(),
        "text": pa.array(["a", "b", "c"], pa.large_string()),
        "number": [1, 2, 3],
        "list": [["y"]] * 3,
        "object": [{"text": "y"}] * 3,
        "bytes": [b"y"] * 3,
        "none": pa.nulls(3),
    }
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    table = read_source(str(tmp_path / "rows.parquet"))
    assert [dict(row) for row in table.rows] == [
        {"code": "x", "text": "a", "number": "1"},
        {"text": "b", "number": "2"},
        {"code": "x", "text": "c", "number": "3"},
    ]
    assert table.unread == ("Columns without texts are left out: list, object, bytes, none.",)


def test_damaged_parquet_is_read_or_refused_in_words(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"instruction": ["a"] * 9, "code": ["b"] * 9}), file)
    content = file.read_bytes()
    for end in range(0, len(content), 97):
        file.write_bytes(content[:end])
        with pytest.raises(LabError, match=r"rows\.parquet"):
            read_source(str(file))
    for at in range(3, len(content), 47):
        file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with contextlib.suppress(LabError):
            read_source(str(file))


_READ = """
import re, resource, sys
from pathlib import Path
from pipeline.data.own.rows import Columns, check_columns
from pipeline.data.own.source import read_source
from pipeline.schema import LabError
try:
    print(len(read_source(sys.argv[1]).rows), "rows")
except LabError as error:
    print(error)
own = re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())  # ru_maxrss has that of pytest
print(max(int(own[1]), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) // 1_000)
"""


def read_and_measure(file: Path) -> tuple[str, int]:
    """What reading a file says, and the most megabytes that it takes in any process."""
    command = [sys.executable, "-c", _READ, str(file)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    said, peak = done.stdout.splitlines()
    return said, int(peak)


def one_long_text(file: Path, *groups: int) -> None:
    """Groups of so many rows, all with one text, which each group holds once."""
    schema = pa.schema({"code": pa.dictionary(pa.int32(), pa.string())})
    with pq.ParquetWriter(file, schema, compression="zstd", store_schema=False) as writer:
        for number in groups:
            column = pa.DictionaryArray.from_arrays(pa.array([0] * number, pa.int32()), ["x" * 2_000_000])
            writer.write_table(pa.table({"code": column}, schema))


def call_it_encoded_otherwise(file: Path, group: int) -> None:
    """Let a page say that it holds whole texts, where it holds numbers of texts."""
    content = bytearray(file.read_bytes())
    start = pq.read_metadata(file).row_group(group).column(0).data_page_offset
    at = content.index(b"\x15\x10", start) + 1
    content[at] = 2 * 6
    file.write_bytes(content)


@LINUX
@pytest.mark.parametrize("lies", [(), (0,), (1,)])
def test_a_text_that_very_many_rows_share_takes_no_more_memory_than_is_allowed(
    tmp_path: Path, lies: tuple[int, ...]
) -> None:
    file = tmp_path / "rows.parquet"
    one_long_text(file, 1_000, 3)
    for group in lies:
        call_it_encoded_otherwise(file, group)
    assert file.stat().st_size < 1_000
    said, peak = read_and_measure(file)
    assert "cannot be read as parquet" in said if lies == (0,) else "takes too much memory" in said
    assert peak < 700


@LINUX
def test_a_page_that_is_larger_than_the_memory_that_is_allowed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_parquet, "LIMITS", ProcessLimits(100, 60))
    file = tmp_path / "rows.parquet"
    pq.write_table(
        pa.table({"code": ["a" * 200_000_000]}), file, use_dictionary=False, write_statistics=False
    )
    with pytest.raises(LabError, match="takes more than 100 MB of memory or 60 seconds"):
        read_source(str(file))


def test_parquet_that_takes_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_parquet, "LIMITS", ProcessLimits(1_000, 1))
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({f"column {at}": pa.nulls(99_000, pa.int32()) for at in range(200)}), file)
    with pytest.raises(LabError, match="of memory or 1 seconds"):
        read_source(str(file))


def test_a_parquet_row_that_is_longer_than_any_that_can_be_used_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"code": ["x", "x" * LONGEST_ROW, "y"]}), file)
    table = read_source(str(file))
    assert [dict(row) for row in table.rows] == [{"code": "x"}, {"code": "y"}]
    assert table.unread == (f"Left out: 1 row with more than {LONGEST_ROW:,} characters (row 2).",)


def test_parquet_with_columns_but_no_texts_has_its_rows(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"list": [["y"]] * 3}), file)
    table = read_source(str(file))
    assert (len(table.rows), table.columns) == (3, ())


def test_parquet_columns_without_a_name_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array([text]) for text in "abc"], names=["", "code", ""]), file)
    assert [dict(row) for row in read_source(str(file)).rows] == [{"code": "b"}]


def test_a_table_of_empty_columns_is_said_to_hold_no_text(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"instruction": pa.nulls(2), "code": pa.nulls(2)}), file)
    with pytest.raises(LabError, match="No column holds a text"):
        check_columns(Columns("", ""), read_source(str(file)).columns)
