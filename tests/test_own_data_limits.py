"""Files that are small on the disk and large in memory: they are refused before that, and in words."""

from __future__ import annotations

import json
import time
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


def test_an_object_with_very_many_names_of_which_the_last_is_there_twice_is_refused_at_once(
    tmp_path: Path,
) -> None:
    names = ",".join(f'"{at}":0' for at in range(300_000))
    (tmp_path / "rows.jsonl").write_text(f'{{{names},"x":0,"x":0}}')
    start = time.process_time()
    with pytest.raises(LabError, match='more than one column named "x"'):
        read_source(str(tmp_path / "rows.jsonl"))
    assert time.process_time() - start < 5


def test_code_with_very_many_empty_lines_is_left_out_at_once(tmp_path: Path) -> None:
    long = {"instruction": "many lines", "code": f"x{' ' * 9}{chr(10) * 300_000}y"}
    (tmp_path / "rows.json").write_text(json.dumps([*rows(20), long]))
    start = time.process_time()
    assert [each.rows for each in prepared(tmp_path / "rows.json").left_out] == [(21,)]
    assert time.process_time() - start < 5


def test_very_many_empty_lines_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines, "LONGEST_ROW", 1_000)
    for ending in ("csv", "jsonl"):
        (tmp_path / f"rows.{ending}").write_text("\n" * 1_001)
        with pytest.raises(LabError, match="more than 1,000 characters"):
            read_source(str(tmp_path / f"rows.{ending}"))


def test_messages_name_only_the_first_of_very_many_columns(tmp_path: Path) -> None:
    names = [f"{'long name ' * 15}{at}" for at in range(60)]
    write_csv(tmp_path / "rows.csv", [dict.fromkeys(names[:30], "x") | dict.fromkeys(names[30:], "")])
    (left_out,) = read_source(str(tmp_path / "rows.csv")).unread
    assert left_out.endswith(f"{names[49]} and 10 more.")
    with pytest.raises(FieldError, match=f"The columns are: .*{names[19]} and 10 more"):
        prepared(tmp_path / "rows.csv")
