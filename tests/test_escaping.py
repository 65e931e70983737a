"""Nothing that is stored, written by a model or sent by a client becomes markup on a page."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from pipeline.analysis import Setup, analyze, find_setups, samples
from pipeline.analysis.reported import Reported
from pipeline.evaluation.stored_runs import StoredRuns
from pipeline.schema import Attempt, Checkpoint, Column, Completion, Context, Sample, Score, Task
from tests.hostile import HOSTILE, hostile_job, hostile_run, is_text
from tests.made_up_runs import bare_settings, make_run
from ui import markup, panes, pieces
from ui.dataset import tab as dataset_tab
from ui.jobs import job_html, sweep_grid
from ui.jobs.curve import curve_of
from ui.results import charts, drilldown, report, tables

ROOT = Path(__file__).resolve().parents[1]


def test_ui_escapes_with_one_function() -> None:
    others = []
    for file in (ROOT / "ui").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = (
                [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            )
            module = node.module if isinstance(node, ast.ImportFrom) else ""
            if "html" in (module, *names) and file.name != "markup.py" and module in ("", "html"):
                others.append(str(file))
    assert others == []


def test_a_lone_surrogate_is_replaced_in_text_and_in_code() -> None:
    assert markup.escape("a\ud83d<") == "a\N{REPLACEMENT CHARACTER}&lt;"
    assert markup.python("'\ud83d'").encode()
    assert markup.answer("\ud83d", "").encode()


# Compare

VOTES = {"votes": [{"value": None, "reason": HOSTILE, "words": [HOSTILE]}]}
CALL = {"call": HOSTILE, "expected": HOSTILE, "got": HOSTILE}
EXECUTION = {
    "verdict": HOSTILE, "passed_calls": HOSTILE, "calls": HOSTILE, "why": HOSTILE, "flags": [HOSTILE],
    "wrong": [CALL],
}  # fmt: skip


@pytest.mark.parametrize("against", ["nothing", "the reference", "the baseline", HOSTILE])
def test_nothing_in_a_pane_becomes_markup(against: Any) -> None:
    task = Task(HOSTILE, Context(HOSTILE, HOSTILE), HOSTILE, HOSTILE, HOSTILE)
    scores = {HOSTILE: Score(HOSTILE, None, HOSTILE, VOTES), "tests": Score("tests", 0.0, None, EXECUTION)}
    attempts = [
        Attempt(task, Column(Checkpoint(HOSTILE, name, size, variant, fingerprint=HOSTILE), variant), HOSTILE,
                HOSTILE, Completion(HOSTILE, HOSTILE, 3, finish, 1.0), HOSTILE, scores, error)
        for name, size, variant in (("baseline", 0, "regular"), (HOSTILE, 5, HOSTILE))
        for finish in ("stop", None)
        for error in ("", HOSTILE)
    ]  # fmt: skip
    assert is_text(panes.grid(attempts, True, against))


def test_no_small_piece_lets_text_become_markup() -> None:
    sample = Sample(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, 3, HOSTILE, HOSTILE)
    parts = [pieces.sample_card(sample, HOSTILE), pieces.listing(HOSTILE, HOSTILE), pieces.step(1, HOSTILE)]
    parts += [make(HOSTILE) for make in (pieces.note, pieces.waiting, pieces.problem)]
    parts += [pieces.status(HOSTILE, HOSTILE), dataset_tab.show_sample(sample)]
    assert all(map(is_text, parts))


# Jobs


SCORES: list[Any] = [
    {HOSTILE: {"mean": HOSTILE, "n": HOSTILE, "unscored": HOSTILE}},
    {HOSTILE: {"mean": 0.5, "n": HOSTILE, "unscored": [HOSTILE]}},
    {HOSTILE: {}},
    {HOSTILE: HOSTILE},
    {HOSTILE: [HOSTILE]},
    HOSTILE,
    None,
]
RESULTS: list[Any] = [
    None,
    {"checkpoint": HOSTILE, "fingerprint": HOSTILE, "loss": HOSTILE},
    {"samples": HOSTILE, "run": HOSTILE},
    *({"scores": scores} for scores in SCORES),
]


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("state", ["succeeded", "failed", HOSTILE])
def test_no_field_of_a_job_becomes_markup(state: Any, result: Any) -> None:
    for kind in ("finetune", "evaluate", "sweep", HOSTILE):
        job = hostile_job(kind=kind, state=state, result=result)
        assert is_text(job_html.queue([job], HOSTILE, 0.0))
        assert is_text(job_html.head(job, 0.0, HOSTILE))
        assert is_text(job_html.body(job, curve_of([{"loss": HOSTILE, "step": 1}]), HOSTILE))


def test_no_field_of_a_sweeps_member_becomes_markup() -> None:
    arguments = {"subset_size": HOSTILE, "prompt": "regular", "seed": 1, "training_seed": 1}
    for kind in ("finetune", "evaluate"):
        job = hostile_job(kind=kind, state=HOSTILE, arguments=arguments)
        assert is_text(sweep_grid.grid([job], 0.0))


# Results


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    settings = bare_settings(tmp_path_factory.mktemp("hostile"))
    runs = [make_run(settings, size, samples=24) for size in (0, 200, 500, 1000)]
    return find_setups([hostile_run(run) for run in runs])[0]


def test_no_field_of_a_run_becomes_markup_in_the_tables(setup: Setup) -> None:
    for metric in setup.metrics:
        analysis = analyze(setup, metric)
        parts = [tables.answers(analysis), tables.explanation(analysis), tables.curve(analysis)]
        parts.append(tables.pairs(analysis))
        matrix = samples.sample_matrix(setup, metric)
        parts.append(tables.sample_matrix(setup, matrix, metric, list(matrix.scores.index), "all"))
        other = next(name for name in setup.metrics if name != metric)
        table = samples.disagreement(setup, metric, other)
        parts.append(tables.disagreement(setup, table, metric, other))
        assert all(map(is_text, parts)), metric
    assert is_text(tables.runs(setup.runs, [HOSTILE]))


@pytest.mark.parametrize("view", ["nothing", "the reference", "the baseline"])
def test_no_field_of_a_run_becomes_markup_where_one_sample_is_shown(setup: Setup, view: Any) -> None:
    sample = setup.runs[0].config.sample_ids[0]
    assert is_text(drilldown.sample(setup, sample, view, HOSTILE))


def test_no_text_of_a_chart_becomes_markup(setup: Setup) -> None:
    published = [Reported(f"{HOSTILE}; {HOSTILE}", "CodeJudge", ("CodeJudge",), ((0, 0.1), (200, 0.2)))]
    for metric in setup.metrics:
        figure = charts.curve(analyze(setup, metric), published)
        texts = [trace.name for trace in figure.data if trace.name]
        texts += [text for trace in figure.data for text in trace.customdata or ()]
        texts += [figure.layout.xaxis.title.text, figure.layout.yaxis.title.text]
        assert all(map(is_text, texts)), metric
    legend = charts.reported_curve(published).layout.legend.title.text
    assert is_text(legend)


def test_no_field_of_a_run_becomes_markup_in_the_exported_report(setup: Setup, tmp_path: Path) -> None:
    class Library:
        stored = StoredRuns(bare_settings(tmp_path / "without runs"))

        def analysis(self, setup: Setup, metric: str, excluded: Any) -> Any:
            return analyze(setup, metric)

        def setups(self) -> list[Setup]:
            return []

    page = report.html(Library(), setup, setup.metrics[0])  # type: ignore[arg-type]
    assert is_text(page)
