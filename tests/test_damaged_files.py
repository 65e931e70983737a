"""What else lies in the data folder, damaged: reports of jobs, records of trainings, caches."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.command_line.signature import validate
from pipeline.data.packages.corpus import cache_path, load_corpus
from pipeline.models.checkpoints import list_checkpoints
from pipeline.models.families import Family
from pipeline.schema import LabError
from pipeline.scoring.judge.cache import AnswerCache
from pipeline.settings import Settings
from training.jobs import job_files
from training.jobs.sweep_plan import plan_sweep
from training.sweep import VERBS
from ui.jobs.curve import curve_of, plot

REPORT = {"time": 1.0, "fraction": 0.5, "message": "step 1 of 2", "step": 1, "loss": 1.5, "seconds_left": 3.0}
WRONG = [None, "text", [], {}, True, float("nan"), float("inf"), -1, 10**400]


def write_reports(folder: Path, *reports: Any) -> None:
    lines = [each if isinstance(each, str) else json.dumps(each) for each in reports]
    (folder / job_files.PROGRESS).write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("name", REPORT)
@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_a_damaged_report_hides_no_other_and_stops_no_view(tmp_path: Path, name: str, wrong: Any) -> None:
    damaged = {**REPORT, name: wrong}
    write_reports(tmp_path, REPORT, damaged, REPORT)
    reports = job_files.progress(tmp_path)
    assert (reports[0], reports[-1]) == (REPORT, REPORT)
    assert "NaN" not in json.dumps(reports)
    plot(curve_of(reports))
    write_reports(tmp_path, REPORT, damaged)
    assert 0 <= job_files.last_progress(tmp_path)["progress"] <= 1


@pytest.mark.parametrize("line", ["{", "[]", "{}", "null", '{"time": 1}', '{"a":' * 500, "\x00"])
def test_a_line_that_is_no_report_is_passed_over(tmp_path: Path, line: str) -> None:
    write_reports(tmp_path, REPORT, line)
    assert job_files.progress(tmp_path) == [REPORT]
    assert job_files.last_progress(tmp_path)["message"] == "step 1 of 2"


@pytest.mark.parametrize("content", ["[]", "null", "{", '{"epochs": null}', "", "[" * 100_000])
def test_a_checkpoint_whose_record_is_damaged_is_listed_and_trained_again_by_a_sweep(
    fresh: Settings, family: Family, content: str
) -> None:
    folder = fresh.data_dir / "checkpoints" / family.name / "200-regular"
    shutil.copytree(fresh.assets / "checkpoints" / family.name / "200-regular", folder)
    (folder / "checkpoint.json").write_text(content)
    assert folder in [each.path for each in list_checkpoints(fresh, family)]
    asked = {"family": family.name, "sizes": "200", "prompts": "regular", "seeds": "42"}
    steps = plan_sweep(fresh, validate(VERBS["sweep"], asked))
    assert [step.kind for step in steps] == ["finetune", "evaluate"]


# The embedded dataset


@pytest.fixture
def corpus_file(settings: Settings, tmp_path: Path) -> Path:
    """A copy of the embedded dataset, as RCL_CORPUS names one."""
    load_corpus(settings)
    file = tmp_path / "given.parquet"
    shutil.copy(cache_path(settings), file)
    return file


def refusal(file: Path) -> str:
    with pytest.raises(LabError) as raised:
        load_corpus(Settings(data_dir=file.parent, corpus_path=file))
    return str(raised.value)


def test_a_dataset_file_of_a_newer_version_is_refused_in_words(corpus_file: Path) -> None:
    table = pq.read_table(corpus_file)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"format": b"99"}), corpus_file)
    assert "given.parquet was written by a newer version" in refusal(corpus_file)


def test_a_dataset_file_from_before_there_was_a_format_number_is_read(corpus_file: Path) -> None:
    table = pq.read_table(corpus_file)
    without = {name: value for name, value in table.schema.metadata.items() if name != b"format"}
    pq.write_table(table.replace_schema_metadata(without), corpus_file)
    assert load_corpus(Settings(data_dir=corpus_file.parent, corpus_path=corpus_file)).ids


def test_a_dataset_file_with_empty_fields_or_other_types_is_refused_in_words(corpus_file: Path) -> None:
    table = pq.read_table(corpus_file)
    for column in (pa.nulls(len(table), pa.string()), pa.array(range(len(table)))):
        at = table.schema.get_field_index("code")
        pq.write_table(table.set_column(at, "code", column), corpus_file)
        assert "no readable dataset file" in refusal(corpus_file)


def test_a_dataset_file_that_is_cut_off_is_refused_in_words(corpus_file: Path) -> None:
    corpus_file.write_bytes(corpus_file.read_bytes()[:100_000])
    assert "no readable dataset file" in refusal(corpus_file)


# The judge's answers


@pytest.mark.parametrize("content", [b"not a database", b"SQLite format 3\0" + b"x" * 5000])
def test_damaged_answers_of_a_judge_are_named_with_the_remedy_and_left_alone(
    tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "answers.sqlite"
    file.write_bytes(content)
    with pytest.raises(LabError, match=r"answers\.sqlite.*move"):
        AnswerCache(tmp_path)
    assert file.read_bytes() == content
