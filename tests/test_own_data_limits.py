"""Files that are small on the disk and large in memory: they are refused before that, and in words."""

from __future__ import annotations

import contextlib
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.own import table as tables
from pipeline.data.own import text_lines
from pipeline.data.own.source import read_source
from pipeline.data.own.table import LONGEST_ROW, MAX_ROWS
from pipeline.schema import FieldError, LabError
from tests.own_data import prepared, rows, write_csv


def short_cells(file: Path) -> None:
    file.write_text("\n".join([",".join(f"c{at}" for at in range(500)), *[",".join(["ab"] * 500)] * 300]))


def short_objects(file: Path) -> None:
    file.write_text(json.dumps([{"instruction": f"{at}", "code": "ab"} for at in range(20_000)]))


def wide_letters(file: Path) -> None:
    file.write_text("instruction,code\n" + f"\N{GRINNING FACE},{'x' * 1_000}\n" * 10, encoding="utf-8")
    with file.open("a", encoding="utf-8") as more:
        more.writelines(f"{at} \N{GRINNING FACE},{'x' * 3_000} \N{GRINNING FACE}\n" for at in range(700))


def one_text_in_all_rows(file: Path) -> None:
    pq.write_table(pa.table({"instruction": ["a" * 100_000] * 500, "code": ["x"] * 500}), file)


def texts_that_start_like_others(file: Path) -> None:
    texts = {"instruction": [f"{'a' * 100_000}{at}" for at in range(600)], "code": ["x"] * 600}
    encoding = {"instruction": "DELTA_BYTE_ARRAY", "code": "DELTA_LENGTH_BYTE_ARRAY"}
    pq.write_table(pa.table(texts), file, use_dictionary=False, column_encoding=encoding)


@pytest.mark.parametrize(
    ("ending", "write"),
    [
        ("csv", short_cells),
        ("json", short_objects),
        ("csv", wide_letters),
        ("parquet", one_text_in_all_rows),
        ("parquet", texts_that_start_like_others),
    ],
)
def test_a_source_that_takes_too_much_memory_is_refused_before_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, write: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(tables, "MAX_HELD_MEGABYTES", 4)
    file = tmp_path / f"rows.{ending}"
    write(file)
    assert file.stat().st_size < 4_000_000
    tracemalloc.start()
    with pytest.raises(LabError, match=r"takes too much memory.*more than 4 MB\. Take a part of its rows"):
        read_source(str(file))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_a_list_of_very_many_values_is_not_held(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(f"[{','.join(['[]'] * 500_000)}]")
    tracemalloc.start()
    with pytest.raises(LabError, match=f"more than {MAX_ROWS:,} rows"):
        read_source(str(tmp_path / "rows.json"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40_000_000


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("rows.csv", "instruction,code\na,b\n" + "," * (LONGEST_ROW + 1), 3),
        ("rows.csv", 'instruction,code\n"' + ",\n" * LONGEST_ROW, 2),
        ("rows.tsv", "a" * (LONGEST_ROW + 1), 1),
        ("rows.jsonl", '{"a": "b"}\n{"c": [' + "[]," * (LONGEST_ROW // 2), 2),
        ("rows.json", '[{"a": "b"},\n\n {"c": ["' + "a" * (2 * LONGEST_ROW) + '"]}]', 3),
        ("rows.json", '[\n{"a": "' + "a" * (3 * LONGEST_ROW) + '"}]', 2),
    ],
    ids=["csv", "quote", "tsv", "jsonl", "json", "long json"],
)
def test_a_row_that_is_longer_than_any_that_can_be_used_is_named(
    tmp_path: Path, name: str, content: str, line: int
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(LabError, match=rf"line {line:,} .*has more than {LONGEST_ROW:,} characters"):
        read_source(str(tmp_path / name))


def test_the_longest_row_is_read_whole_wherever_it_is_cut_in_reading(tmp_path: Path) -> None:
    long = [{"instruction": str(at), "code": "é\n" * 400_000} for at in range(7)]
    (tmp_path / "rows.json").write_text(json.dumps(long, ensure_ascii=False, indent=1), encoding="utf-8")
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in long))
    for ending in ("json", "jsonl"):
        assert list(read_source(str(tmp_path / f"rows.{ending}")).rows) == long


def test_very_many_empty_lines_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines, "LONGEST_ROW", 1_000)
    for ending in ("csv", "jsonl"):
        (tmp_path / f"rows.{ending}").write_text("\n" * 1_001)
        with pytest.raises(LabError, match="more than 1,000 characters"):
            read_source(str(tmp_path / f"rows.{ending}"))


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


def _number(value: int, length: int = 0) -> bytes:
    """A number as the description of a parquet file holds it, on so many bytes."""
    value, found = value << 1, bytearray()
    while value > 127 or len(found) < length - 1:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def test_a_page_that_is_larger_than_the_end_of_the_file_says_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MAX_MEGABYTES", 1)
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"code": ["a" * 3_000_000]}), file, use_dictionary=False, write_statistics=False)
    group = pq.read_metadata(file).row_group(0)
    content = file.read_bytes()
    for size in {group.total_byte_size, group.column(0).total_uncompressed_size}:
        written = _number(size)
        assert written in content
        content = content.replace(written, _number(9, len(written)))
    file.write_bytes(content)
    assert pq.read_metadata(file).row_group(0).total_byte_size == 9
    with pytest.raises(LabError, match=r"rows\.parquet, unpacked, has 3 MB; at most 1 MB are read"):
        read_source(str(file))


def _described(groups: int, parts: int) -> bytes:
    """A parquet file with nothing but a description of one column, and of so many groups with parts of it."""

    def listed(number: int, of: bytes) -> bytes:
        return b"\xfc" + bytes([number & 127 | 128, number >> 7 & 127 | 128, number >> 14]) + of

    schema = listed(2, b"\x48\x06schema\x15\x02\x00" + b"\x15\x0c\x25\x02\x18\x01a\x25\x00\x00")
    group = b"\x19" + listed(parts, b"\x26\x08\x00" * parts) + b"\x16\x00\x16\x00\x00"
    found = b"\x15\x02\x19" + schema + b"\x16\x00\x19" + listed(groups, group * groups) + b"\x00"
    return b"PAR1" + found + len(found).to_bytes(4, "little") + b"PAR1"


@pytest.mark.parametrize(
    ("groups", "parts", "said"),
    [(1, 1, "has no rows"), (1, 2, "not all columns"), (60, 10_000, "too many parts")],
)
def test_parquet_whose_description_is_not_as_it_must_be_is_refused_in_words(
    tmp_path: Path, groups: int, parts: int, said: str
) -> None:
    (tmp_path / "rows.parquet").write_bytes(_described(groups, parts))
    with pytest.raises(LabError, match=said):
        read_source(str(tmp_path / "rows.parquet"))


def test_every_cut_of_a_parquet_file_is_refused_in_words(tmp_path: Path) -> None:
    whole = tmp_path / "whole.parquet"
    pq.write_table(pa.table({"instruction": ["a"] * 9, "code": ["b"] * 9}), whole)
    content = whole.read_bytes()
    for end in range(0, len(content), 7):
        (tmp_path / "rows.parquet").write_bytes(content[:end])
        with pytest.raises(LabError, match=r"rows\.parquet"):
            read_source(str(tmp_path / "rows.parquet"))


def test_a_parquet_file_with_any_byte_changed_is_read_or_refused_in_words(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"instruction": ["a"] * 9, "code": ["b"] * 9}), file)
    content = file.read_bytes()
    for at, byte in enumerate(content):
        for other in (byte ^ 1, byte ^ 128, 0x19):
            file.write_bytes(content[:at] + bytes([other]) + content[at + 1 :])
            with contextlib.suppress(LabError):
                read_source(str(file))


def test_messages_name_only_the_first_of_very_many_columns(tmp_path: Path) -> None:
    names = [f"{'long name ' * 15}{at}" for at in range(60)]
    write_csv(tmp_path / "rows.csv", [dict.fromkeys(names[:30], "x") | dict.fromkeys(names[30:], "")])
    (left_out,) = read_source(str(tmp_path / "rows.csv")).unread
    assert left_out.endswith(f"{names[49]} and 10 more.")
    with pytest.raises(FieldError, match=f"The columns are: .*{names[19]} and 10 more"):
        prepared(tmp_path / "rows.csv")
