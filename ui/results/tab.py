"""The Results tab: figures from stored runs. It needs no model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any

import gradio as gr

from pipeline.evaluation.stored_runs import StoredRuns
from ui import pieces
from ui.callbacks import QUIET, form_words
from ui.downloads import start_download
from ui.navigation import Navigation, Updates
from ui.panes import WAYS, Against
from ui.views import View, to_query

if TYPE_CHECKING:
    from ui.results.presenter import Presenter

# As in pipeline.analysis.samples, which imports scipy: the page does not wait for that.
KINDS = ("all", "flips", "regressions", "never solved", "always solved")
_NOTHING_OPEN = (
    '<p class="note">Choose a sample to read its outputs, its scores and the judge\'s words.</p>',
    ("", ""),
)
"""What ``_detail`` shows before a sample is chosen, and the ids of that sample and of the run."""
# A click anywhere in a row, or Enter on the button in it, opens it.
_PICK = """
element.addEventListener("click", (event) => {
  const row = event.target.closest("tr[data-id]");
  if (!row) return;
  element.querySelectorAll("tr[aria-current]").forEach((each) => each.removeAttribute("aria-current"));
  row.setAttribute("aria-current", "true");
  const place = event.target.closest("[data-run]");
  trigger("click", { id: row.dataset.id, run: place ? place.dataset.run : "" });
});
"""
_SCROLL = (
    "() => setTimeout(() => document.getElementById('{id}')?.scrollIntoView({{behavior: 'smooth'}}), 200)"
)
_LABELS = {"threshold": "Threshold"}
_NOTES = {
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


def build(presenter: Callable[[], Presenter], tab: gr.Tab, navigation: Navigation) -> None:
    """The whole tab; what it shows is read again whenever it is opened."""
    pieces.tab_heading("Results")
    with gr.Row(elem_classes="results-choice"):
        setup = gr.Dropdown([], label="Evaluation set-up", scale=4, min_width=300)
        metric = gr.Dropdown([], label="Metric", scale=2, min_width=220)
        refresh = gr.Button("Refresh", size="sm", scale=0, min_width=110)
    versions = _html(visible=False, elem_id="results-versions")
    empty = _html(value=pieces.waiting("Reading the stored runs…"))
    with gr.Column(visible=False) as body:
        left_out, find, none_left_out = _left_out()
        with gr.Tabs(overflow_behavior="wrap"):
            with gr.Tab("Curve"):
                headline, curve, published, table, passes, explanation = _curve_tab()
            with gr.Tab("Pairs"), gr.Column(elem_classes="card"):
                pairs = _html()
            with gr.Tab("Samples"):
                kind, search, threshold, matrix, *sample = _samples_tab(presenter, setup, navigation)
            with gr.Tab("Metrics against tests"):
                agreement, contradicted, held, cases, *case = _against_tab(presenter, setup, navigation)
            with gr.Tab("Disagreement"):
                second = gr.Dropdown([], label="Compare with", min_width=220)
                with gr.Column(elem_classes="card"):
                    disagreement = _html(js_on_load=_PICK, elem_id="results-disagreement")
                other = _detail(presenter, setup, disagreement, "disagreement-detail", navigation)
            with gr.Tab("Runs and export"):
                runs = _runs_tab(presenter, setup, metric, left_out)
    parts = Parts(
        setup, metric, none_left_out, empty, body, headline, curve, published, table, explanation, passes,
        pairs, threshold, matrix, second, disagreement, agreement, contradicted, held, cases, runs,
    )  # fmt: skip
    _wire(presenter, parts, kind, search, left_out, find, tab, refresh)

    def compare_versions(setup: str) -> gr.HTML:
        note = presenter().versions_note(setup)
        return gr.HTML(note, visible=bool(note))

    def open_view(view: View) -> Updates:
        return dict(zip((setup, metric), presenter().pickers(view), strict=True))

    navigation.add_tab("results", open_view, [setup, metric])
    address, details = navigation.address(), [*sample, *case, *other]

    def query(setup: str, metric: str) -> str:
        return to_query(View("results", setup=setup, metric=metric))

    def close(setup: str, metric: str) -> list[Any]:
        return [query(setup, metric), *_NOTHING_OPEN * 3]

    # The versions after the rest, as they need every sample.
    setup.change(close, [setup, metric], [address, *details], **QUIET).then(
        compare_versions, setup, versions, **QUIET
    )
    metric.change(query, [setup, metric], address, **QUIET)


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
        matrix = _html(js_on_load=_PICK, elem_id="results-matrix")
    detail = _detail(presenter, setup, matrix, "sample-detail", navigation)
    return kind, search, threshold, matrix, *detail


def _against_tab(
    presenter: Callable[[], Presenter], setup: gr.Dropdown, navigation: Navigation
) -> tuple[Any, ...]:
    with gr.Column(elem_classes="card"):
        agreement = _html(elem_id="results-agreement")
    with gr.Column(visible=False) as contradicted:
        held = gr.Dropdown([], label="Attempts where the tests contradict", min_width=220)
        with gr.Column(elem_classes="card"):
            cases = _html(js_on_load=_PICK, elem_id="results-cases")
        detail = _detail(presenter, setup, cases, "cases-detail", navigation)
    return agreement, contradicted, held, cases, *detail


def _detail(
    presenter: Callable[[], Presenter],
    setup: gr.Dropdown,
    opener: gr.HTML,
    elem_id: str,
    navigation: Navigation,
) -> tuple[gr.HTML, gr.State]:
    """Below a table of samples: the one that was clicked, under every checkpoint.

    Returns what is to be set to ``_NOTHING_OPEN`` when the samples change.
    """
    opened = gr.State(_NOTHING_OPEN[1])
    with gr.Row(elem_classes="view"):
        against = gr.Radio(WAYS, value="nothing", label="Show", elem_id=elem_id)
        send = gr.Button("Compare on this sample", size="sm", min_width=180)
    detail = gr.HTML(_NOTHING_OPEN[0])

    def open_sample(setup: str, against: Against, event: gr.EventData) -> tuple[str, tuple[str, str]]:
        return presenter().sample(setup, event.id, against, event.run), (event.id, event.run)

    def show_again(setup: str, against: Against, opened: tuple[str, str]) -> str:
        return presenter().sample(setup, opened[0], against, opened[1]) if opened[0] else _NOTHING_OPEN[0]

    opener.click(open_sample, [setup, against], [detail, opened], **QUIET).then(
        None, js=_SCROLL.format(id=elem_id)
    )
    navigation.add_link(
        send.click, lambda setup, opened: presenter().comparison(setup, opened[0]), [setup, opened]
    )
    against.input(show_again, [setup, against, opened], detail, **QUIET)
    return detail, opened


def _runs_tab(
    presenter: Callable[[], Presenter], setup: gr.Dropdown, metric: gr.Dropdown, left_out: gr.Textbox
) -> gr.HTML:
    """The list of runs, one's config, and the exports."""
    file = gr.DownloadButton(visible="hidden", elem_id="results-file")
    gr.Markdown(
        "**Export the set-up chosen above**: every single score (CSV), all figures (JSON), or a page to read "
        "and pass on (HTML)."
    )
    with gr.Row():
        for name in ("CSV", "JSON", "HTML"):
            button = gr.Button(f"Export {name}", size="sm", min_width=120)

            def export(setup: str, metric: str, left_out: str, name: str = name) -> str:
                return presenter().export(name, setup, metric, left_out)

            done = button.click(export, [setup, metric, left_out], file, api_visibility="private")
            done.success(None, js=start_download("results-file"))
    gr.Markdown("**All runs**, of every set-up. Choose one to read its whole configuration.")
    with gr.Column(elem_classes="card"):
        runs = _html(js_on_load=_PICK, elem_id="results-runs")
    config = _html()

    def open_run(event: gr.EventData) -> str:
        return pieces.listing("Configuration of the chosen run", presenter().config(event.id))

    runs.click(open_run, None, config, **QUIET)
    return runs


def _wire(
    presenter: Callable[[], Presenter],
    parts: Parts,
    kind: gr.Radio,
    search: gr.Textbox,
    left_out: gr.Textbox,
    find: gr.Button,
    tab: gr.Tab,
    refresh: gr.Button,
) -> None:
    """Show all parts when the tab is opened or a choice changes, and single tables when theirs does."""
    by_name = {field.name: getattr(parts, field.name) for field in fields(parts)}

    def show(*given: Any) -> Updates:
        with form_words(_LABELS):
            shown = presenter().show(*given)
        return {by_name[name]: update for name, update in shown.items()}

    def hold_against(*given: Any) -> Updates:
        return {by_name[name]: update for name, update in presenter().against(*given).items()}

    def find_contaminated(setup: str) -> str:
        return "\n".join(presenter().contaminated(setup))

    found = find.click(find_contaminated, parts.setup, left_out, api_visibility="private")
    emptied = parts.none_left_out.click(lambda: "", None, left_out, **QUIET)
    changes = (tab.select, refresh.click, parts.setup.select, parts.metric.select, left_out.blur)
    for event in (*changes, found.success, emptied.success):
        event(
            show,
            [parts.setup, parts.metric, left_out, parts.second, kind, search, parts.threshold],
            list(by_name.values()),
            show_progress="minimal",
            show_progress_on=[parts.headline, parts.curve, parts.table],
            api_visibility="private",
        ).then(
            hold_against,
            [parts.setup, parts.metric, left_out, parts.held],
            [parts.agreement, parts.contradicted, parts.held, parts.cases],
            trigger_mode="always_last",
            **QUIET,
        )
    _wire_tables(presenter, parts, kind, search, left_out)


def _wire_tables(
    presenter: Callable[[], Presenter],
    parts: Parts,
    kind: gr.Radio,
    search: gr.Textbox,
    left_out: gr.Textbox,
) -> None:
    def filter_samples(*given: Any) -> str:
        with form_words(_LABELS):
            return presenter().matrix(*given)

    filtered = [parts.setup, parts.metric, left_out, kind, search, parts.threshold]
    # One listener each, as events that share one are dropped while it is pending; and one at a time, so that
    # the last answer is that of the last event.
    in_turn: dict[str, Any] = {
        "trigger_mode": "always_last",
        "concurrency_id": "filter",
        "concurrency_limit": 1,
    }
    for event in (kind.input, search.change, parts.threshold.input):
        event(filter_samples, filtered, parts.matrix, **in_turn, **QUIET)

    def disagree(*given: Any) -> str:
        return presenter().disagreement(*given)

    second = [parts.setup, parts.metric, left_out, parts.second]
    parts.second.select(disagree, second, parts.disagreement, **QUIET)

    def contradict(*given: Any) -> str:
        return presenter().cases(*given)

    parts.held.select(contradict, [parts.setup, left_out, parts.held], parts.cases, **QUIET)
