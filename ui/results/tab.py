"""The Results tab: figures from stored runs. It needs no model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any

import gradio as gr

from pipeline.evaluation.stored_runs import StoredRuns
from ui import pieces
from ui.callbacks import QUIET, form_words
from ui.downloads import start_download
from ui.lab import Lab
from ui.labels import axis_choices
from ui.markup import escape
from ui.navigation import Navigation, Updates
from ui.results import address, opened_sample, votes
from ui.results.opened_sample import NOTHING_OPEN, PICK

if TYPE_CHECKING:
    from ui.results.presenter import Presenter

# As in pipeline.analysis.samples, which imports scipy: the page does not wait for that.
KINDS = ("all", "flips", "regressions", "never solved", "always solved")
_LABELS = {"threshold": "Threshold"}
_NOTES = {
    "setup": "Dataset packages: functions of installed Python packages, apart from the training samples. "
    "Execution (packages): those of them that can be executed. Execution (metrics): the same of "
    "torchmetrics, which no training sample is from. Execution (HumanEval): its 164 problems.",
    "kind": "Solved: correct or, where there is a threshold, better than the baseline. Flips change from one "
    "size to another; regressions get worse at a larger size.",
    "threshold": "The smallest difference from the baseline that counts as better or worse.",
    "left_out": "For example, samples whose reference is in the training data or in the prompt. "
    "All figures are computed without them.",
}


@dataclass(frozen=True)
class Parts:
    """The components that change with the set-up and the metric."""

    setup: gr.Dropdown
    metric: gr.Dropdown
    axis: gr.Dropdown
    left_out: gr.Textbox
    none_left_out: gr.Button
    empty: gr.HTML
    body: gr.Column
    headline: gr.HTML
    curve: gr.Plot
    published: gr.Plot
    table: gr.HTML
    explanation: gr.HTML
    passes: gr.HTML
    pairs: gr.HTML
    kind: gr.Radio
    search: gr.Textbox
    threshold: gr.Number
    matrix: gr.HTML
    second: gr.Dropdown
    disagreement: gr.HTML
    agreement: gr.HTML
    contradicted: gr.Column
    held: gr.Dropdown
    cases: gr.HTML
    runs: gr.HTML


def lazy_presenter(stored: StoredRuns) -> Callable[[], Presenter]:
    """The presenter, made when it is first asked for: scipy and plotly take seconds to import."""

    @cache
    def presenter() -> Presenter:
        from ui.results.presenter import Presenter

        return Presenter(stored)

    return presenter


def build(
    lab: Lab,
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
                runs = _runs_tab(presenter, setup, metric, left_out)
    parts = Parts(
        setup, metric, axis, left_out, none_left_out, empty, body, headline, curve, published, table,
        explanation, passes, pairs, kind, search, threshold, matrix, second, disagreement, agreement,
        contradicted, held, cases, runs,
    )  # fmt: skip
    _wire(presenter, parts, find, tab, refresh)
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
        threshold = gr.Number(label=_LABELS["threshold"], info=_NOTES["threshold"], scale=1)
    with gr.Column(elem_classes="card"):
        matrix = _html(js_on_load=PICK, elem_id="results-matrix")
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
    presenter: Callable[[], Presenter], setup: gr.Dropdown, metric: gr.Dropdown, left_out: gr.Textbox
) -> gr.HTML:
    """The list of runs, one's config, and the exports."""
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
    gr.Markdown("**All runs**, of every set-up. Choose one to read its whole configuration.")
    with gr.Column(elem_classes="card"):
        runs = _html(js_on_load=PICK, elem_id="results-runs")
    config = _html()

    def open_run(event: gr.EventData) -> str:
        return pieces.listing("Configuration of the chosen run", presenter().config(event.id))

    runs.click(open_run, None, config, **QUIET)
    return runs


def _wire(
    presenter: Callable[[], Presenter],
    parts: Parts,
    find: gr.Button,
    tab: gr.Tab,
    refresh: gr.Button,
) -> None:
    """Show all parts when the tab is opened or a choice changes, and single tables when theirs does."""
    by_name = {field.name: getattr(parts, field.name) for field in fields(parts)}
    left_out = parts.left_out

    shown, times = gr.State(((), 0)), count(1)

    def show(*given: Any) -> Updates:
        with form_words(_LABELS):
            updates = presenter().show(*given)
        # With the time, as what it is shown of can be the same while the runs are others.
        shown_now = (updates.pop("choice"), next(times))
        return {shown: shown_now, **{by_name[name]: update for name, update in updates.items()}}

    def show_other(shown: tuple[Any, int], *given: Any) -> Updates:
        """Nothing is drawn twice: a click on a choice sends two events, and leaving a field one.

        None is of a field that has got other choices since the browser sent its value: that says nothing.
        """
        setup, metric, left_out, *_, axis = given
        before, now = shown[0], (setup, metric, left_out, axis)
        same = before and all(new in (None, old) for old, new in zip(before, now, strict=True))
        return {} if same else show(*given)

    follows = gr.State("")

    def hold_against(followed: str, setup: str, metric: str, left_out: str, held: str) -> Updates:
        """What is held against the tests follows the metric when that changes."""
        updates = presenter().against(setup, metric, left_out, held if followed == metric else None)
        return {follows: metric, **{by_name[name]: update for name, update in updates.items()}}

    def find_contaminated(setup: str) -> str:
        return "\n".join(presenter().contaminated(setup))

    samples = [parts.kind, parts.search, parts.threshold]
    figures = [parts.setup, parts.metric, left_out, parts.second, *samples, parts.axis]
    found = find.click(find_contaminated, parts.setup, left_out, api_visibility="private")
    emptied = parts.none_left_out.click(lambda: "", None, left_out, **QUIET)
    drawn = [shown, *by_name.values()]
    # One at a time, so that the last answer is that of the last choice.
    how: dict[str, Any] = {
        "show_progress": "minimal",
        "show_progress_on": [parts.headline, parts.curve, parts.table],
        "api_visibility": "private",
        "concurrency_id": "figures",
        "concurrency_limit": 1,
    }
    for event in (tab.select, refresh.click, found.success, emptied.success):
        event(show, figures, drawn, **how)
    # Not ``select``, sent for a click alone, and not ``change``, which is also sent for what a callback
    # sets, while other fields can still be as they were.
    for event in (parts.setup.input, parts.metric.input, parts.axis.input, left_out.blur):
        event(show_other, [shown, *figures], drawn, trigger_mode="always_last", **how)
    shown.change(
        hold_against,
        [follows, parts.setup, parts.metric, left_out, parts.held],
        [follows, parts.agreement, parts.contradicted, parts.held, parts.cases],
        trigger_mode="always_last",
        **QUIET,
    )
    _wire_tables(presenter, parts)


def _wire_tables(presenter: Callable[[], Presenter], parts: Parts) -> None:
    def filter_samples(*given: Any) -> str:
        with form_words(_LABELS):
            return presenter().matrix(*given)

    left_out = parts.left_out
    filtered = [parts.setup, parts.metric, left_out, parts.kind, parts.search, parts.threshold]
    # One listener each, as events that share one are dropped while it is pending; and one at a time, so that
    # the last answer is that of the last event.
    in_turn: dict[str, Any] = {
        "trigger_mode": "always_last",
        "concurrency_id": "filter",
        "concurrency_limit": 1,
    }
    for event in (parts.kind.input, parts.search.change, parts.threshold.input):
        event(filter_samples, filtered, parts.matrix, **in_turn, **QUIET)

    def disagree(*given: Any) -> str:
        return presenter().disagreement(*given)

    second = [parts.setup, parts.metric, left_out, parts.second]
    parts.second.input(disagree, second, parts.disagreement, trigger_mode="always_last", **QUIET)

    def contradict(*given: Any) -> str:
        return presenter().cases(*given)

    held = [parts.setup, left_out, parts.held]
    parts.held.input(contradict, held, parts.cases, trigger_mode="always_last", **QUIET)
