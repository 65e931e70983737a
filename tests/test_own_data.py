"""Datasets of one's own: what is read of dirty files, what is left out and said, how it is split and kept."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.command_line.signature import validate
from pipeline.data.own import table as tables
from pipeline.data.own.__main__ import import_data
from pipeline.data.own.rows import Columns, guess_columns
from pipeline.data.own.source import read_source
from pipeline.data.own.store import delete_own, find_own, keep, list_own, load_own
from pipeline.evaluation.store import load_config
from pipeline.models.families import get_family
from pipeline.schema import FieldError, LabError
from pipeline.settings import Settings
from tests.own_data import prepared, rows, write_csv
from training.evaluate import evaluate
from training.finetune import finetune
from training.jobs.admission import check
from training.jobs.arguments import evaluated_column
from training.jobs.recipe import trained_name
from training.jobs.sweep_plan import plan_sweep
from training.jobs.time_estimate import units
from training.sweep import sweep


def test_a_csv_with_a_byte_order_mark_quotes_line_breaks_and_tabs_is_read_as_it_was_written(
    tmp_path: Path,
) -> None:
    row = {"instruction": 'Say "hi",\nthen\tstop; done', "code": "def f():\n\treturn 'a,b;c'"}
    table = read_source(str(write_csv(tmp_path / "rows.csv", [row], "utf-8-sig")))
    assert (table.columns, table.rows) == (("instruction", "code"), (row,))


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_each_format_gives_the_same_rows(tmp_path: Path, ending: str) -> None:
    file, frame = tmp_path / f"rows.{ending}", pd.DataFrame(rows(5))
    if ending == "parquet":
        frame.to_parquet(file)
    elif ending in ("csv", "tsv"):
        frame.to_csv(file, sep="," if ending == "csv" else "\t", index=False)
    else:
        frame.to_json(file, orient="records", lines=ending == "jsonl")
    assert list(read_source(str(file)).rows) == rows(5)


@pytest.mark.parametrize(
    ("content", "row"),
    [
        ("task;code\na, b;x = 1\n", {"task": "a, b", "code": "x = 1"}),
        ('"Task; please; do; it",code\na,b\n', {"Task; please; do; it": "a", "code": "b"}),
    ],
)
def test_the_delimiter_is_seen_in_the_header_outside_its_quotes(
    tmp_path: Path, content: str, row: dict[str, str]
) -> None:
    (tmp_path / "rows.csv").write_text(content)
    assert read_source(str(tmp_path / "rows.csv")).rows == (row,)


def test_a_line_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(b"instruction,code\nok,x\ncaf\xe9,y\n")
    with pytest.raises(LabError, match=r"Line 3 of rows\.csv is not UTF-8 \(byte 0xe9\)"):
        read_source(str(file))


def test_lines_that_cannot_be_read_are_left_out_and_said(tmp_path: Path) -> None:
    lines = [json.dumps(row) for row in rows(3)]
    (tmp_path / "rows.jsonl").write_text("\n".join([lines[0], "{broken", "[1]", *lines[1:]]))
    table = read_source(str(tmp_path / "rows.jsonl"))
    assert len(table.rows) == 3
    assert table.unread == ("Left out: 2 lines without a JSON object (lines 2, 3 of the file).",)


@pytest.mark.parametrize("first", [True, False])
def test_a_row_with_a_comma_that_is_not_quoted_is_left_out_wherever_it_stands(
    tmp_path: Path, first: bool
) -> None:
    good, bad = '"a\nb",x', "Add,def f(a, b): return a"
    lines = [bad, good] if first else [good, bad]
    (tmp_path / "rows.csv").write_text("\n".join(["instruction,code", *lines, "c,d,", ""]))
    table = read_source(str(tmp_path / "rows.csv"))
    assert [row["code"] for row in table.rows] == ["x", "d"]
    assert table.unread == (
        f"Left out: 1 line with more fields than the 2 columns (line {2 if first else 4} of the file). Put "
        "text that contains a comma in quotes.",
    )


@pytest.mark.parametrize("tail", ['a,"b" + c\n', 'a,"b\nc,d\n'])
def test_a_quote_that_does_not_end_its_field_is_refused_with_its_line(tmp_path: Path, tail: str) -> None:
    (tmp_path / "rows.csv").write_text(f"instruction,code\nx,y\n{tail}")
    with pytest.raises(LabError, match=r"Line 3 of rows\.csv .*quote"):
        read_source(str(tmp_path / "rows.csv"))


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("instruction,code,code \na,b,c\n")
    (tmp_path / "rows.jsonl").write_text('{"code": "b", "code ": "c"}')
    (tmp_path / "twice.jsonl").write_text('{"code": "b", "code": "c"}')
    pq.write_table(pa.table([["b"], ["c"]], names=["code", "code"]), tmp_path / "rows.parquet")
    for file in tmp_path.iterdir():
        with pytest.raises(LabError, match='more than one column named "code"'):
            read_source(str(file))


def test_a_column_name_that_is_a_text_is_refused_without_it(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(f"instruction,{'x' * 1_000}\na,b\n")
    with pytest.raises(LabError, match=r"Its first line must hold the names of the columns\.") as caught:
        read_source(str(tmp_path / "rows.csv"))
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_source_with_too_many_columns_is_refused(tmp_path: Path, ending: str) -> None:
    file, row = tmp_path / f"rows.{ending}", {f"c{at}": "x" for at in range(1_000)}
    if ending == "csv":
        write_csv(file, [row])
    elif ending == "jsonl":
        file.write_text(json.dumps(row))
    else:
        pd.DataFrame([row]).to_parquet(file)
    with pytest.raises(LabError, match="has more than 500 columns"):
        read_source(str(file))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([2**40], pa.timestamp("s")),
        pa.StringArray.from_buffers(1, pa.py_buffer(struct.pack("ii", 0, 1)), pa.py_buffer(b"\xff")),
    ],
    ids=["time", "text"],
)
def test_a_parquet_column_that_cannot_be_read_is_named(tmp_path: Path, column: pa.Array) -> None:
    pq.write_table(pa.table({"what": column, "code": ["x"]}), tmp_path / "rows.parquet")
    with pytest.raises(LabError, match=r'The column "what" of rows\.parquet cannot be read'):
        read_source(str(tmp_path / "rows.parquet"))


def test_each_row_that_cannot_be_used_is_left_out_with_its_reason(tmp_path: Path) -> None:
    good = rows(20)
    bad = [
        {**good[0], "code": good[0]["code"] + "\r\n"},
        {**good[1], "instruction": "NaN"},
        {**good[2], "code": ""},
        {**good[3], "code": "x = 1\n" * 1_000},
        {**good[4], "instruction": "half \0 a text"},
    ]
    found = prepared(write_csv(tmp_path / "rows.csv", [*good, *bad]))
    assert len(found.train) + len(found.test) == 20
    assert {each.reason: each.rows for each in found.left_out} == {
        "equal to an earlier row": (21,),
        "without an instruction": (22,),
        "without code": (23,),
        "with more than 2,000 characters of code": (24,),
        "with a NUL character": (25,),
    }


def test_a_fence_around_the_code_and_its_indentation_are_taken_off(tmp_path: Path) -> None:
    content = rows(10)
    content[0]["code"] = f"```python\n{content[0]['code']}\n```"
    content[1]["code"] = "    def f(self):\n        return 1\n"
    found = prepared(write_csv(tmp_path / "rows.csv", content))
    samples = {sample.id: sample for sample in (*found.train, *found.test)}
    assert samples["mine/1"].function == rows(1)[0]["code"]
    assert (samples["mine/2"].function, samples["mine/2"].function_name) == (
        "def f(self):\n    return 1",
        "f",
    )


def test_relatives_stay_on_one_side_and_the_split_is_the_same_under_each_name(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "rows.csv", rows(200))
    found, other = prepared(file), prepared(file, "other")
    assert not {sample.repo for sample in found.train} & {sample.repo for sample in found.test}
    assert 30 <= len(found.test) <= 40
    assert [sample.prompt for sample in found.test] == [sample.prompt for sample in other.test]


def test_rows_of_one_group_cannot_be_split(tmp_path: Path) -> None:
    content = [{**row, "repo": "one"} for row in rows(10)]
    with pytest.raises(LabError, match="all belong together"):
        prepared(write_csv(tmp_path / "rows.csv", content))


def test_test_samples_whose_code_is_in_the_training_samples_are_counted_and_said(tmp_path: Path) -> None:
    content = [{**row, "code": rows(1)[0]["code"], "repo": f"r{at}"} for at, row in enumerate(rows(10))]
    found = prepared(write_csv(tmp_path / "rows.csv", content))
    assert found.contaminated == len(found.test) == 2
    assert any("2 of the 2 test samples have code" in note for note in found.notes)


def test_usual_names_of_columns_are_guessed_and_others_are_asked_for(tmp_path: Path) -> None:
    assert guess_columns(["user question", "Answer code"]) == Columns("user question", "Answer code")
    assert guess_columns(["Repo Name", "Output", "Prompt"]) == Columns("Prompt", "Output", group="Repo Name")
    with pytest.raises(FieldError, match=r"instruction must name a column\. The columns are: left, right"):
        prepared(write_csv(tmp_path / "rows.csv", [{"left": "a", "right": "b"}]))


@pytest.mark.parametrize(("limit", "value"), [("MAX_ROWS", 5), ("MAX_MEGABYTES", 0)])
def test_a_source_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(tables, limit, value)
    for ending in ("csv", "parquet"):
        file = tmp_path / f"rows.{ending}"
        frame = pd.DataFrame(rows(6))
        frame.to_parquet(file) if ending == "parquet" else frame.to_csv(file, index=False)
        with pytest.raises(LabError, match="Take a part of"):
            read_source(str(file))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", b""),
        ("rows.csv", b"\x00\x01\x02"),
        ("rows.jsonl", b""),
        ("rows.json", b"[" * 100_000),
        ("rows.parquet", b"no parquet"),
        ("rows.xlsx", b"PK"),
    ],
)
def test_a_file_that_is_none_is_refused_in_words(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LabError, match=r"rows\."):
        prepared(tmp_path / name)


def test_what_is_kept_is_read_again_with_its_notes(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "data")
    found = prepared(write_csv(tmp_path / "rows.csv", [*rows(30), rows(1)[0]]))
    record = keep(settings, found, "My rows")
    assert list_own(settings) == [record] == [find_own(settings, "mine")]
    data = load_own(settings, record, "regular")
    assert [data.train[0], data.test[0]] == [found.train[0], found.test[0]]
    assert (data.name, data.fingerprint, data.notes) == ("mine", found.fingerprint, found.notes)
    assert data.search("scales 3")
    with pytest.raises(LabError, match="the augmented prompt shows"):
        load_own(settings, record, "augmented")
    with pytest.raises(LabError, match="is taken"):
        keep(settings, found)
    delete_own(settings, "mine")
    assert not list_own(settings)


@pytest.mark.parametrize("name", ["", "My", "../up", "packages", "packages-2", "a" * 41, "a/b"])
def test_a_name_that_could_be_taken_for_something_else_is_refused(tmp_path: Path, name: str) -> None:
    found = prepared(write_csv(tmp_path / "rows.csv", rows(10)), name)
    with pytest.raises(FieldError, match="name must"):
        keep(Settings(tmp_path), found)
    with pytest.raises(LabError, match="There is no dataset"):
        delete_own(Settings(tmp_path), name)


def test_a_damaged_record_is_no_dataset(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "data")
    keep(settings, prepared(write_csv(tmp_path / "rows.csv", rows(10))))
    record = settings.data_dir / "datasets" / "own" / "mine" / "dataset.json"
    record.write_text('{"name": "mine"}')
    assert not list_own(settings)
    with pytest.raises(LabError, match="is damaged"):
        find_own(settings, "mine")


def test_the_command_checks_without_writing_and_then_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RCL_DATA_DIR", str(tmp_path / "data"))
    file = str(write_csv(tmp_path / "rows.csv", rows(30)))
    checked = import_data(file, "mine", check=True)
    assert (checked["train"] + checked["test"], (tmp_path / "data").exists()) == (30, False)
    assert import_data(file, "mine")["fingerprint"] == checked["fingerprint"]
    with pytest.raises(FieldError, match='code names the column "solution", which is not there'):
        import_data(file, "other", code="solution")


def test_a_sweep_on_ones_own_dataset_names_its_checkpoints_and_begins_again_after_another_import(
    tmp_path: Path,
) -> None:
    settings = Settings(tmp_path / "data")
    keep(settings, prepared(write_csv(tmp_path / "rows.csv", rows(30))))
    arguments = validate(sweep, {"sizes": "baseline,20", "prompts": "regular", "dataset": "mine"})
    (baseline, tuned, evaluated) = plan_sweep(settings, arguments)
    assert [step.arguments["dataset"] for step in (baseline, tuned, evaluated)] == ["mine"] * 3
    family = get_family(settings, "smollm2-135m")
    assert trained_name(family, {**tuned.arguments, "seed": 42}) == "20-regular-mine"
    assert evaluated_column(evaluated.arguments) == "20-regular-mine/regular"
    with pytest.raises(FieldError, match="subset_size must be at most 24: the dataset mine has no more"):
        check(settings, "finetune", {**tuned.arguments, "subset_size": 25})
    with pytest.raises(FieldError, match="there is a checkpoint 200-regular already"):
        check(settings, "finetune", {**tuned.arguments, "name": "200-Regular"})
    assert units(settings, "evaluate", {**evaluated.arguments, "samples": 200}) == 6
    with pytest.raises(LabError, match="no files around its code"):
        check(settings, "finetune", {**tuned.arguments, "prompt": "augmented"})
    with pytest.raises(FieldError, match="dataset must be one of packages, arxivdl, mine"):
        check(settings, "finetune", {**tuned.arguments, "dataset": "other"})


def test_one_fine_tunes_and_evaluates_on_ones_own_dataset(
    fresh_short: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RCL_DATA_DIR", str(fresh_short.data_dir))
    content = [*rows(40), {**rows(1)[0], "instruction": "long word " * 399, "repo": "repo1"}]
    keep(fresh_short, prepared(write_csv(tmp_path / "rows.csv", content)))
    size = find_own(fresh_short, "mine").train  # type: ignore[union-attr]
    tuned = finetune(size, dataset="mine", max_steps=1)
    assert tuned["checkpoint"] == f"{size}-regular-mine-steps1"
    result = evaluate(checkpoint=tuned["checkpoint"], dataset="mine", samples=200, max_new_tokens=4)
    config = load_config(Path(result["path"]))
    own = find_own(fresh_short, "mine")
    assert own is not None
    assert (config.dataset, config.dataset_fingerprint) == ("mine", own.fingerprint)
    assert len(config.sample_ids) == own.test < 200
    assert f"--checkpoint={tuned['checkpoint']}" in config.command
    assert "--dataset=mine" in config.command
    with pytest.raises(LabError, match="There are not 500 training samples"):
        finetune(500, dataset="mine")
