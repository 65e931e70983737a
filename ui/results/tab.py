"""The Results tab: figures from stored runs. It needs no model."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import gradio as gr

from pipeline.evaluation.stored_runs import StoredRuns
from training.jobs import Runner
from ui import pieces
from ui.callbacks import QUIET
from ui.downloads import start_download
from ui.lab import Lab
from ui.labels import axis_choices
from ui.markup import escape
from ui.navigation import Navigation
from ui.results import address, opened_sample, own_run, votes
from ui.results.opened_sample import NOTHING_OPEN, PICK, PICK_IN_ADDRESS
from ui.results.wiring import LABELS, Parts, wire

if TYPE_CHECKING:
    from ui.results.presenter import Presenter

# As in pipeline.analysis.samples, which imports scipy: the page does not wait for that.
KINDS = ("all", "never solved", "flips", "always solved", "regressions")
_NOTES = {
    "setup": "Dataset packages: functions of installed Python packages, apart from the training samples. "
    "Execution (packages): those of them that can be executed. Execution (metrics): the same of "
    "torchmetrics, which no training sample is from. Execution (HumanEval): its 164 problems.",
    "kind": "Solved: correct or, where there is a threshold, better than the baseline, which then does not "
    "count itself. Flips: solved by some checkpoints and not by others. Regressions, among all of these: "
    "worse at a larger size.",
    "threshold": "The smallest difference from the baseline that counts as better or worse. If it is "
    "empty, the number in grey counts.",
    "left_out": "For example, samples whose reference is in the training data or in the prompt. "
    "All figures are computed without them.",
}


def lazy_presenter(stored: StoredRuns) -> Callable[[], Presenter]:
    """The presenter, made when it is first asked for: scipy and plotly take seconds to import."""

    @cache
    def presenter() -> Presenter:
        from ui.results.presenter import Presenter

        return Presenter(stored)

    return presenter


def build(
    lab: Lab,
    runner: Runner,
    presenter: Callable[[], Presenter],
    tab: gr.Tab,
    navigation: Navigation,
    voter: gr.BrowserState,
) -> None:
    """The whole tab; what it shows is read again whenever it is opened."""
    pieces.tab_heading("Results")
    with gr.Row(elem_classes="results-choice"):
        setup = gr.Dropdown([], label="Evaluation set-up", scale=4, min_width=300)
        metric = gr.Dropdown([], label="Metric", scale=2, min_width=220)
        axis = gr.Dropdown(
            axis_choices(), value="subset_size", label="Along", scale=1, min_width=180, visible=False
        )
        refresh = gr.Button("Refresh", size="sm", scale=0, min_width=110)
    changed = _html(visible=False, elem_id="results-changed")
    gr.HTML(
        f"<details class='note'><summary>What the set-ups are</summary>{escape(_NOTES['setup'])}</details>",
        padding=False,
    )
    versions = _html(visible=False, elem_id="results-versions")
    empty = _html(value=pieces.waiting("Reading the stored runs…"))
    with gr.Column(visible=False) as body:
        left_out, find, none_left_out = _left_out()
        with gr.Tabs(overflow_behavior="wrap") as sections:
            with gr.Tab("Curve", id="curve"):
                headline, curve, published, table, passes, explanation = _curve_tab()
            with gr.Tab("Pairs", id="pairs"), gr.Column(elem_classes="card"):
                pairs = _html()
            with gr.Tab("Samples", id="samples"):
                kind, search, threshold, matrix, *sample = _samples_tab(presenter, setup, navigation)
            with gr.Tab("Metrics against tests", id="tests"):
                agreement, contradicted, held, cases, *case = _against_tab(presenter, setup, navigation)
            with gr.Tab("Disagreement", id="disagreement"):
                second = gr.Dropdown([], label="Compare with", min_width=220)
                with gr.Column(elem_classes="card"):
                    disagreement = _html(js_on_load=PICK, elem_id="results-disagreement")
                other = opened_sample.build(presenter, setup, disagreement, "disagreement-detail", navigation)
            with gr.Tab("Votes", id="votes") as section:
                votes.build(lab.settings, lab.votes, voter, [tab, section])
            with gr.Tab("Runs and export", id="runs"):
                runs, deleted = _runs_tab(presenter, runner, setup, metric, left_out)
    parts = Parts(
        setup, metric, axis, changed, left_out, none_left_out, empty, body, headline, curve, published, table,
        explanation, passes, pairs, kind, search, threshold, matrix, second, disagreement, agreement,
        contradicted, held, cases, runs,
    )  # fmt: skip
    wire(presenter, parts, find, [tab.select, refresh.click, deleted])
    details = [*sample, *case, *other]
    in_address = ("setup", "metric", "axis", "left_out", "kind", "search", "threshold", "second")
    choices = {name: getattr(parts, name) for name in in_address}
    address.wire(presenter, choices, sections, sample, navigation)

    def close(setup: str, *opened: tuple[str, str, str]) -> list[Any]:
        """Close the samples of another set-up."""
        return [part for one in opened for part in ((gr.skip(),) * 2 if one[0] == setup else NOTHING_OPEN)]

    def compare_versions(setup: str) -> gr.HTML:
        note = presenter().versions_note(setup)
        return gr.HTML(note, visible=bool(note))

    # The versions after the rest, as they need every sample.
    setup.change(close, [setup, *details[1::2]], details, **QUIET).then(
        compare_versions, setup, versions, **QUIET
    )


def _html(**more: Any) -> gr.HTML:
    return gr.HTML(elem_classes="results", apply_default_css=False, **more)


def _curve_tab() -> tuple[Any, ...]:
    with gr.Column(elem_classes="card"):
        headline = _html()
    with gr.Row():
        with gr.Column(scale=3, min_width=320, elem_classes="card"):
            curve = gr.Plot(show_label=False, elem_id="results-curve")
        published = gr.Plot(
            show_label=False,
            scale=2,
            min_width=320,
            elem_classes="card",
            elem_id="results-published",
            visible=False,
        )
    with gr.Column(elem_classes="card"):
        table, passes, explanation = _html(), _html(elem_id="results-passes"), _html()
    return headline, curve, published, table, passes, explanation


def _left_out() -> tuple[gr.Textbox, gr.Button, gr.Button]:
    none_left_out = gr.Button(visible=False, size="sm", elem_classes="chip")
    with gr.Accordion("Leave samples out", open=False):
        left_out = gr.Textbox(
            "", label="Sample ids, one a line", info=_NOTES["left_out"], lines=3, max_lines=8
        )
        find = gr.Button("Find contaminated samples", size="sm")
    return left_out, find, none_left_out


def _samples_tab(
    presenter: Callable[[], Presenter], setup: gr.Dropdown, navigation: Navigation
) -> tuple[Any, ...]:
    with gr.Row():
        kind = gr.Radio(
            list(KINDS), value="all", label="Samples", info=_NOTES["kind"], scale=3, min_width=340
        )
        search = gr.Textbox(
            "", label="Search", placeholder="Name, instruction or code", scale=2, min_width=220
        )
        threshold = gr.Number(label=LABELS["threshold"], info=_NOTES["threshold"], scale=1)
    with gr.Column(elem_classes="card"):
        matrix = _html(js_on_load=PICK_IN_ADDRESS, elem_id="results-matrix")
    detail = opened_sample.build(presenter, setup, matrix, "sample-detail", navigation)
    return kind, search, threshold, matrix, *detail


def _against_tab(
    presenter: Callable[[], Presenter], setup: gr.Dropdown, navigation: Navigation
) -> tuple[Any, ...]:
    with gr.Column(elem_classes="card"):
        agreement = _html(elem_id="results-agreement")
    with gr.Column(visible=False) as contradicted:
        held = gr.Dropdown([], label="Attempts where the tests contradict", min_width=220)
        with gr.Column(elem_classes="card"):
            cases = _html(js_on_load=PICK, elem_id="results-cases")
        detail = opened_sample.build(presenter, setup, cases, "cases-detail", navigation)
    return agreement, contradicted, held, cases, *detail


def _runs_tab(
    presenter: Callable[[], Presenter],
    runner: Runner,
    setup: gr.Dropdown,
    metric: gr.Dropdown,
    left_out: gr.Textbox,
) -> tuple[gr.HTML, Callable[..., Any]]:
    """The exports, the list of runs, and the chosen one; also the event after which one is deleted."""
    file = gr.DownloadButton(visible="hidden", elem_id="results-file")
    gr.Markdown(
        "**Export the set-up chosen above**: every score (CSV), every answer with its scores (JSONL), all "
        "figures (JSON; the first time takes up to half a minute), or a page to read and pass on (HTML). "
        "`rcl bundle` writes all set-ups into a folder for any web host."
    )
    with gr.Row():
        for name in ("CSV", "JSONL", "JSON", "HTML"):
            button = gr.Button(f"Export {name}", size="sm", min_width=120)

            def export(setup: str, metric: str, left_out: str, name: str = name) -> str:
                return presenter().export(name, setup, metric, left_out)

            done = button.click(export, [setup, metric, left_out], file, api_visibility="private")
            done.success(None, js=start_download("results-file"))
    gr.Markdown(
        "**All runs**, of every set-up. Choose one to read its whole configuration, or to "
        "delete one that was made on this machine."
    )
    with gr.Column(elem_classes="card"):
        runs = _html(js_on_load=PICK, elem_id="results-runs")
    return runs, own_run.build(presenter, runner, runs)
