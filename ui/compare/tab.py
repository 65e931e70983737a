"""The Compare tab: checkpoints side by side on one task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from pipeline.models.families import get_family
from ui import pieces
from ui.callbacks import AT_ONCE, QUIET
from ui.choices import checkpoint_choices
from ui.compare import form as forms
from ui.compare import output as outputs
from ui.compare import task
from ui.compare.columns import column_note
from ui.compare.comparison import Comparison
from ui.compare.form import Form
from ui.compare.output import Output
from ui.lab import Lab
from ui.navigation import Navigation, Updates
from ui.views import to_query

_GUIDE = (
    '<p class="guide"><a href="#panes">Read</a> how one model answers the same task before and after '
    "fine-tuning on more and more samples, try another example, or press <b>Write live</b> to have the "
    "answers written now.</p>"
)
_FAST, _SLOW = 0.7, 4.0
"""Seconds between two looks at the model and the dataset, while they load and after that."""


def build(lab: Lab, tab: gr.Tab, navigation: Navigation) -> None:
    """The whole tab."""
    first = forms.first_view(lab.settings)
    gr.HTML(_GUIDE, padding=False)
    with gr.Row(elem_classes="compare"):
        with gr.Column(scale=1, min_width=340, elem_classes="form-side"):
            form = forms.build(lab, first)
        with gr.Column(scale=2, min_width=400):
            output = outputs.build(lab, first)
    outputs.wire(lab, form, output)
    _wire_form(lab, form, output, navigation)
    _wire_samples(lab, form, output)
    navigation.run_in(tab, _wire_clock(lab, form, output))
    navigation.add_tab("compare", lambda view: forms.open_view(lab, form, view), form.outputs)


def _wire_form(lab: Lab, form: Form, out: Output, navigation: Navigation) -> None:
    """Put what the form asks for into the address, and show the stored answers to it."""
    address = navigation.address()

    def show(*values: Any) -> Updates:
        *given, comparison, show_reference, against = values
        view = forms.read_view(lab.settings, *given)
        return outputs.follow(lab, out, view, comparison, show_reference, against)

    def follow(*values: Any) -> Updates:
        view = forms.read_view(lab.settings, *values[: len(form.inputs)])
        note = pieces.note(column_note(lab.settings, *values[: len(form.picker.chosen)]))
        return {address: to_query(view), form.picker.note: note, **show(*values)}

    inputs = [*form.inputs, out.comparison, out.show_reference, out.against]
    gr.on(
        [component.change for component in form.inputs],
        follow,
        inputs,
        [address, form.picker.note, *out.shown],
        trigger_mode="always_last",
        **AT_ONCE,
    )
    # A notice is about the form as it was. Only the visitor's own changes end it, and in the browser: what
    # these change in turn comes later, and could end the next notice.
    own_changes = [component.input for component in form.inputs if hasattr(component, "input")]
    gr.on(own_changes, None, None, out.notice, js="() => ({__type__: 'update', visible: false})", **QUIET)

    def show_first(*values: Any) -> Updates:
        return {**show(*values), **outputs.standing(lab, out, values[0], values[len(form.inputs)])}

    navigation.after_opening(show_first, inputs, [out.status, *out.shown])

    def list_choices(family: str) -> gr.CheckboxGroup:
        """A fine-tune may have added a checkpoint since the page was made."""
        return gr.CheckboxGroup(checkpoint_choices(lab.settings, get_family(lab.settings, family)))

    # Not while the address is read: the list of another family could come last.
    navigation.after_opening(list_choices, [form.picker.family], [form.picker.checkpoints])


def _wire_samples(lab: Lab, form: Form, out: Output) -> None:
    """Show another sample and its stored answers in one step: two would take a browser twice the time."""
    sample = form.task

    def show(
        values: Sequence[Any], find: Callable[[str, list[str], task.SamplePlace], task.SamplePlace]
    ) -> Updates:
        *given, place, comparison, show_reference, against = values
        view, variants = forms.read_view(lab.settings, *given), given[2]
        place = find(view.family, variants, place)
        shown = task.show_place(lab, view.family, variants, place, again=True)
        answers = outputs.follow(
            lab, out, replace(view, sample=shown[-1]), comparison, show_reference, against
        )
        hidden = {out.notice: gr.HTML(visible=False)}
        return {**dict(zip(sample.sample_view, shown, strict=True)), **answers, **hidden}

    def show_example(event: gr.EventData, *values: Any) -> Updates:
        name, checkpoints, variants, *rest = values
        shown = variants if event.variant in variants else [event.variant]
        found = show((name, checkpoints, shown, *rest), lambda *_: task.SamplePlace(sample=event.id))
        return {sample.search: "", form.picker.variants: shown, **found}

    inputs = [*form.inputs, sample.place, out.comparison, out.show_reference, out.against]
    changed = [sample.search, *sample.sample_view, *out.shown, out.notice]
    for name, button in sample.steps.items():

        def step(*values: Any, name: str = name) -> Updates:
            return show(values, lambda family, variants, at: task.move(lab, family, variants, at, name))

        button.click(step, inputs, changed, **AT_ONCE)
    sample.examples.click(show_example, inputs, [form.picker.variants, *changed], **AT_ONCE)


def _wire_clock(lab: Lab, form: Form, out: Output) -> gr.Timer:
    """Say again and again how model and dataset stand; a running comparison says that itself."""
    clock = gr.Timer(_FAST, active=False)
    picker, sample = form.picker, form.task

    def tick(
        name: str, variants: list[str], place: task.SamplePlace, sample_id: str, comparison: Comparison | None
    ) -> Updates:
        state, _ = lab.status(get_family(lab.settings, name))
        data = task.dataset(lab, name, variants)
        updates: dict[Any, Any] = {
            clock: gr.Timer(_FAST if "loading" in (state, data.state) else _SLOW),
            **outputs.standing(lab, out, name, comparison),
        }
        if not sample_id or (place.sample and data.state == "ready"):
            shown = task.show_place(lab, name, variants, place)
            updates.update(zip(sample.sample_view, shown, strict=True))
        return updates

    clock.tick(
        tick,
        [picker.family, picker.variants, sample.place, sample.sample_id, out.comparison],
        [clock, out.status, *sample.sample_view],
        **QUIET,
    )
    faster = f"() => ({{__type__: 'update', value: {_FAST}}})"
    gr.on([picker.family.change, picker.variants.change], None, None, clock, js=faster, **QUIET)
    return clock
