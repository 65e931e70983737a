"""What a choice in the Results tab draws anew: all parts, or a single table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import count
from typing import TYPE_CHECKING, Any

import gradio as gr

from ui.callbacks import QUIET, form_words
from ui.navigation import Updates

if TYPE_CHECKING:
    from ui.results.presenter import Presenter

LABELS = {"threshold": "Threshold"}


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


def wire(
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
        with form_words(LABELS):
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
        with form_words(LABELS):
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
