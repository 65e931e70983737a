"""The Compare tab: checkpoints side by side on one task."""

from __future__ import annotations

from typing import Any

import gradio as gr

from pipeline.models.families import get_family
from ui import pieces
from ui.callbacks import QUIET
from ui.compare import form as forms
from ui.compare import output as outputs
from ui.compare import task
from ui.compare.comparison import Comparison
from ui.compare.form import Form
from ui.compare.output import Output
from ui.lab import Lab
from ui.navigation import Navigation, Updates
from ui.views import to_query

_FAST, _SLOW = 0.7, 4.0
"""Seconds between two looks at the model and the dataset, while they load and after that."""


def build(lab: Lab, page: gr.Blocks, navigation: Navigation) -> None:
    """The whole tab."""
    form = forms.build(lab, page)
    output = outputs.build()
    outputs.wire(lab, form, output)
    _wire_form(lab, form, output, navigation)
    _wire_clock(lab, form, output, navigation)
    navigation.add_tab("compare", lambda view: forms.open_view(lab, form, view), form.outputs)


def _wire_form(lab: Lab, form: Form, out: Output, navigation: Navigation) -> None:
    """Put what the form asks for into the address, and mark answers to something else."""
    address = navigation.address()

    def follow(*values: Any) -> Updates:
        *given, comparison = values
        view = forms.read_view(lab.settings, *given)
        if comparison:
            comparison.follow(view)
        return {
            address: to_query(view),
            out.moved: outputs.moved(comparison),
            out.notice: gr.HTML(visible=False),  # it was about the form as it was
        }

    gr.on(
        [component.change for component in form.inputs],
        follow,
        [*form.inputs, out.comparison],
        [address, out.moved, out.notice],
        trigger_mode="always_last",
        **QUIET,
    )


def _wire_clock(lab: Lab, form: Form, out: Output, navigation: Navigation) -> None:
    """Say again and again how model and dataset stand; a running comparison says that itself."""
    clock = gr.Timer(_FAST, active=False)
    picker, sample = form.picker, form.task

    def tick(
        name: str, variants: list[str], place: task.SamplePlace, sample_id: str, comparison: Comparison | None
    ) -> Updates:
        state, message = lab.status(get_family(lab.settings, name))
        data = task.dataset(lab, name, variants)
        updates: dict[Any, Any] = {clock: gr.Timer(_FAST if "loading" in (state, data.state) else _SLOW)}
        if not (comparison and comparison.running):
            updates[out.status] = pieces.status(state, message)
        if not sample_id:
            shown = task.show_place(lab, name, variants, place)
            updates.update(zip(sample.sample_view, shown, strict=True))
        return updates

    clock.tick(
        tick,
        [picker.family, picker.variants, sample.place, sample.sample_id, out.comparison],
        [clock, out.status, *sample.sample_view],
        **QUIET,
    )
    changed = [picker.family.change, picker.variants.change]
    gr.on(changed, lambda: gr.Timer(_FAST, active=True), None, clock, **QUIET)
    navigation.start_after(clock)
