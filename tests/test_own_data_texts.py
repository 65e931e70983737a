"""Own data as programs write it: encodings, marks of Excel, columns without names, and JSON of every form."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pipeline.data.own.source import read_source
from pipeline.data.own.store import find_own, keep
from pipeline.schema import LabError
from pipeline.settings import Settings
from tests.own_data import prepared, rows, write_csv


def read(file: Path, content: str | bytes) -> list[dict[str, str]]:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return [dict(row) for row in read_source(str(file)).rows]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("order", ["le", "be"])
@pytest.mark.parametrize("ending", ["csv", "json", "jsonl"])
def test_text_with_the_mark_of_its_encoding_is_read(
    tmp_path: Path, encoding: str, order: str, ending: str
) -> None:
    row = {"instruction": "größer \N{GRINNING FACE}", "code": "x"}
    content = json.dumps(row, ensure_ascii=False)
    if ending == "csv":
        content = "\n".join(map(",".join, (row.keys(), row.values())))
    elif ending == "json":
        content = f"[{content}]"
    exact = "utf-8" if encoding == "utf-8-sig" else f"{encoding}-{order}"
    assert read(tmp_path / f"rows.{ending}", f"\ufeff{content}".encode(exact)) == [row]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_text_that_is_cut_off_in_a_character_is_called_what_it_is(tmp_path: Path, encoding: str) -> None:
    named = encoding.upper()
    with pytest.raises(LabError, match=f"starts like {named}, and is damaged. Save the file as UTF-8"):
        read(tmp_path / "rows.csv", "instruction,code\na,b".encode(encoding)[:-1])


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("ending", ["csv", "json", "jsonl"])
def test_text_that_lacks_the_mark_of_its_encoding_is_refused(
    tmp_path: Path, encoding: str, ending: str
) -> None:
    with pytest.raises(LabError, match=r"without its mark\. Save the file as UTF-8"):
        read(tmp_path / f"rows.{ending}", '{"code": "a"}'.encode(encoding))


@pytest.mark.parametrize("ending", ["json", "jsonl", "tsv"])
def test_a_line_that_is_not_utf_8_is_named_in_each_format(tmp_path: Path, ending: str) -> None:
    good = b'{"code": "a"}\n' * 9_999
    bad = b"[" * (ending == "json") + good.replace(b"\n", b",\n" if ending == "json" else b"\n") + b"caf\xe9"
    with pytest.raises(LabError, match=r"Line 10,000 of rows\.\w+ is not UTF-8 \(byte 0xe9\)"):
        read(tmp_path / f"rows.{ending}", bad)


@pytest.mark.parametrize("first", ["sep=;", "SEP=;", '"sep=;"', "\ufeffsep=;"])
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_a_first_line_that_names_the_delimiter_is_heeded(tmp_path: Path, first: str, end: str) -> None:
    content = end.join([first, "task, or what to do;code", "a;b", "c;d;e", ""])
    file = tmp_path / "rows.csv"
    assert read(file, content) == [{"task, or what to do": "a", "code": "b"}]
    (left_out,) = read_source(str(file)).unread
    assert left_out.endswith("(line 4 of the file). Put text that contains a semicolon in quotes.")


@pytest.mark.parametrize("first", ["sep=|", "sep=\t", "sep=^"])
def test_the_first_line_can_name_any_delimiter(tmp_path: Path, first: str) -> None:
    content = "\n".join([first, "task,code".replace(",", first[-1]), "a,b".replace(",", first[-1])])
    assert read(tmp_path / "rows.csv", content) == [{"task": "a", "code": "b"}]


def test_columns_without_names_never_take_the_name_of_another(tmp_path: Path) -> None:
    (row,) = read(tmp_path / "rows.csv", "column 2,,column 4,\na,b,c,d\n")
    assert row == {"column 2": "a", "column 2 (unnamed)": "b", "column 4": "c", "column 4 (unnamed)": "d"}


@pytest.mark.parametrize(
    ("ending", "content"), [("csv", "instruction,co\0de\na,b\n"), ("jsonl", r'{"co\ud800de": "a", "b": "c"}')]
)
def test_a_name_of_a_column_that_no_file_can_hold_is_refused(
    tmp_path: Path, ending: str, content: str
) -> None:
    with pytest.raises(LabError, match=r"has a column named .* Rename it, and save the file as UTF-8"):
        read(tmp_path / f"rows.{ending}", content)


def test_what_is_no_text_in_one_row_leaves_out_that_row(tmp_path: Path) -> None:
    content = [*rows(20), {"instruction": "half \ud83d", "code": "x"}, {"instruction": "nul", "code": "a\0b"}]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in content))
    found = prepared(file)
    assert {each.rows for each in found.left_out} == {(21,), (22,)}
    keep(Settings(tmp_path / "data"), found)


@pytest.mark.skipif(os.name != "posix", reason="names of files are texts there")
def test_a_file_whose_name_is_no_text_and_a_title_that_is_none_are_kept_as_what_can_be_shown(
    tmp_path: Path,
) -> None:
    settings = Settings(tmp_path / "data")
    name = os.fsdecode(b"caf\xe9.csv")
    try:
        write_csv(tmp_path / name, rows(20))
    except OSError:
        pytest.skip("this file system takes no such name")
    keep(settings, prepared(tmp_path / name), "caf\udce9")
    own = find_own(settings, "mine")
    assert own is not None
    assert (own.source, own.title) == ("caf\N{REPLACEMENT CHARACTER}.csv", "caf\N{REPLACEMENT CHARACTER}")


@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_a_name_that_a_nested_object_has_twice_does_no_harm(tmp_path: Path, ending: str) -> None:
    content = '{"code": "a", "more": {"x": 1, "x": 2}, "list": [{"y": 1, "y": 2}]}'
    if ending == "json":
        content = f"[{content}]"
    assert read(tmp_path / f"rows.{ending}", content) == [{"code": "a"}]


def test_numbers_are_kept_as_they_are_written(tmp_path: Path) -> None:
    content = f'{{"a": 1.50, "b": 1e400, "c": {"9" * 5_000}, "d": -0, "e": NaN, "f": -Infinity, "g": true}}'
    assert read(tmp_path / "rows.jsonl", content) == [
        {"a": "1.50", "b": "1e400", "c": "9" * 5_000, "d": "-0", "g": "True"}
    ]


@pytest.mark.parametrize("content", [{"data": rows(3)}, rows(1)[0], {}])
@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_a_pretty_printed_object_is_met_with_the_form_that_is_wanted(
    tmp_path: Path, content: object, ending: str
) -> None:
    text = "\n" + json.dumps(content, indent=2).replace("{}", "{\n}")
    with pytest.raises(LabError, match="It must hold a list of objects, or one object on each line"):
        read(tmp_path / f"rows.{ending}", text)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "has no rows."),
        ("[]", "has no rows."),
        ("[1, 2]", "Left out: 2 items without a JSON object .* It must hold a list of objects, or one"),
        ("words\nwords", "Left out: 2 lines without a JSON object .* It must hold a list of objects, or one"),
        ('[{"a": "b"},\n{"a": b}]', "Line 2 of rows.json is not valid JSON."),
        ('[{"a": "b"},\n{"a": "b"}', 'Line 2 of rows.json is not valid JSON: a "," is missing.'),
        ('[{"a": "b"}\n{"a": "b"}]', 'Line 2 of rows.json is not valid JSON: a "," is missing.'),
        ('[{"a": "b"},]', "Line 1 of rows.json is not valid JSON."),
        ("[\n", "rows.json is not valid JSON."),
        ('[{"a": "b"}]\n[]', "Line 2 of rows.json goes on after the end of the list"),
        ('[\n{"a": ' + "[" * 100_000, "Line 2 of rows.json is nested too deeply."),
    ],
)  # fmt: skip
def test_json_that_cannot_be_read_is_refused_with_its_line(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(LabError, match=said):
        read(tmp_path / "rows.json", content)
