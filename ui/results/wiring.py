"""What a choice in the Results tab draws anew: all parts, or a single table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    changed: gr.HTML
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
    again: Sequence[Callable[..., Any]],
) -> None:
    """Show all parts at the events of ``again`` and when a choice changes; single tables when theirs does."""
    by_name = {field.name: getattr(parts, field.name) for field in fields(parts)}
    left_out = parts.left_out

    shown, times = gr.State(((), 0)), count(1)

    def show(
        setup: str, metric: str, left_out: str, second: str, axis: str, metric_before: str | None = None
    ) -> Updates:
        updates = presenter().show(setup, metric, left_out, second, axis, metric_before)
        # With the time, as what it is shown of can be the same while the runs are others.
        shown_now = (updates.pop("choice"), next(times))
        return {shown: shown_now, **{by_name[name]: update for name, update in updates.items()}}

    def show_other(
        shown: tuple[Any, int], setup: str, metric: str, left_out: str, second: str, axis: str
    ) -> Updates:
        """Nothing is drawn twice: a click on a choice sends two events, and leaving a field one.

        None is of a field that has got other choices since the browser sent its value: that says nothing.
        """
        before, now = shown[0], (setup, metric, left_out, axis)
        if before and all(new in (None, old) for old, new in zip(before, now, strict=True)):
            return {}
        return show(setup, metric, left_out, second, axis, before[1] if before else None)

    def find_contaminated(setup: str) -> str:
        return "\n".join(presenter().contaminated(setup))

    figures = [parts.setup, parts.metric, left_out, parts.second, parts.axis]
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
    events: list[Callable[..., Any]] = [*again, found.success, emptied.success]
    for event in events:
        event(show, figures, drawn, **how)
    # Not ``select``, sent for a click alone, and not ``change``, which is also sent for what a callback
    # sets, while other fields can still be as they were.
    for event in (parts.setup.input, parts.metric.input, parts.axis.input, left_out.blur):
        event(show_other, [shown, *figures], drawn, trigger_mode="always_last", **how)
    _wire_tables(presenter, parts, shown)


def _wire_tables(presenter: Callable[[], Presenter], parts: Parts, shown: gr.State) -> None:
    """Draw each table that has fields of its own when one of them changes, and after all the rest.

    Of each table one at a time, from the fields as they are then, so that the last answer is that of the last
    event. An answer that changes a field is followed by the table of that field.
    """
    follows = gr.State("")

    def filter_samples(*given: Any) -> str:
        with form_words(LABELS):
            return presenter().matrix(*given)

    def disagree(*given: Any) -> str:
        return presenter().disagreement(*given)

    def hold_against(followed: str, setup: str, metric: str, left_out: str, held: str) -> Updates:
        """What is held against the tests follows the metric when that changes."""
        updates = presenter().against(setup, metric, left_out, held if followed == metric else None)
        return {follows: metric, **{getattr(parts, name): update for name, update in updates.items()}}

    def contradict(*given: Any) -> str:
        return presenter().cases(*given)

    def draw(
        table: gr.HTML,
        callback: Callable[..., str],
        inputs: list[Any],
        after: Any,
        *typed: Callable[..., Any],
    ) -> None:
        how: dict[str, Any] = {"concurrency_id": table.elem_id, "concurrency_limit": 1, **QUIET}
        after(callback, inputs, table, trigger_mode="multiple", **how)
        # One listener each, as events that share one are dropped while it is pending.
        for event in typed:
            event(callback, inputs, table, trigger_mode="always_last", **how)

    of = [parts.setup, parts.metric, parts.left_out]
    narrowed = [parts.kind.input, parts.search.change, parts.threshold.input]
    filtered = [*of, parts.kind, parts.search, parts.threshold]
    draw(parts.matrix, filter_samples, filtered, shown.change, *narrowed)
    draw(parts.disagreement, disagree, [*of, parts.second], shown.change, parts.second.input)
    held = shown.change(
        hold_against,
        [follows, *of, parts.held],
        [follows, parts.agreement, parts.contradicted, parts.held],
        trigger_mode="multiple",
        concurrency_id="held",
        concurrency_limit=1,
        **QUIET,
    )
    against = [parts.setup, parts.left_out, parts.held]
    draw(parts.cases, contradict, against, held.then, parts.held.input)
