"""The Compare tab: checkpoints side by side on one task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import gradio as gr

from pipeline.models.families import get_family
from pipeline.settings import Settings
from ui import pieces
from ui.callbacks import AT_ONCE, QUIET
from ui.choices import checkpoint_choices, family_choices
from ui.compare import earlier, sample_place, task, writing
from ui.compare import form as forms
from ui.compare import output as outputs
from ui.compare.columns import column_note
from ui.compare.comparison import Comparison, Display
from ui.compare.examples import Finding, read_findings
from ui.compare.form import Form
from ui.compare.output import Output
from ui.lab import Lab
from ui.labels import family_label
from ui.markup import escape
from ui.navigation import Navigation, Updates
from ui.views import View, to_query

_ASKED = '<a href="#task">Choose a task</a>, or press <b>Write live</b> for new answers.'
_NUMBER = "(numbered, id) => numbered?.[0] === id ? numbered[1] : { __type__: 'update' }"
_FAST, _SLOW = 0.7, 4.0
"""Seconds between two looks at the model and the dataset, while they load and after that."""


def build(lab: Lab, tab: gr.Tab, navigation: Navigation, voter: gr.BrowserState) -> None:
    """The whole tab."""
    first = forms.first_view(lab.settings)
    guide = gr.HTML(_guide(lab.settings, first.family), padding=False)
    with gr.Row(elem_classes="compare"):
        with gr.Column(scale=1, min_width=340, elem_classes="form-side", elem_id="task"):
            form = forms.build(lab, first)
            earlier.build()
        with gr.Column(scale=2, min_width=400, elem_id="answers"):
            output = outputs.build(lab, first)
    writing.wire(lab, form, output)
    outputs.wire(lab, output, voter)
    _wire_form(lab, tab, form, output, navigation)
    _wire_samples(lab, form, output)
    family = form.picker.family
    family.change(partial(_guide, lab.settings), family, guide, trigger_mode="multiple", **AT_ONCE)
    navigation.run_in(tab, _wire_clock(lab, form, output))
    navigation.add_tab("compare", lambda view: forms.open_view(lab, form, view), form.outputs)

    def with_family(event: gr.EventData, *values: Any) -> View:
        """The same task for the family that the status offers."""
        return forms.for_family(lab.settings, forms.read_view(lab.settings, *values), str(event.family))

    navigation.add_link(output.status.click, with_family, form.inputs)


def _guide(settings: Settings, name: str) -> str:
    """What fine-tuning does to a family, and what a visitor does here."""
    found = read_findings(settings, name)
    said = _said_of(family_label(get_family(settings, name)), found) if found else ""
    return f'<p class="guide">{said}{_ASKED}</p>'


def _said_of(family: str, found: Sequence[Finding]) -> str:
    most, *others = found
    before, first, *_, last = most.passed
    said = (
        f"{most.passed[before]:.0%} of the answers of {escape(family)} pass their tests; fine-tuned on "
        f"{first:,} samples {most.passed[first]:.0%}, on {last:,} {most.passed[last]:.0%} "
        f"({most.variant} prompt). "
    )
    for other in others:
        before, *_, last = other.passed
        shares = f"({other.passed[before]:.0%} and {other.passed[last]:.0%})"
        said += (
            f"With the {other.variant} prompt training makes "
            f"{'a' if other.differs else 'no'} difference beyond chance {shares}. "
        )
    return f'{said}<a href="?tab=results" data-view>Results</a> has all sizes. '


def _wire_form(lab: Lab, tab: gr.Tab, form: Form, out: Output, navigation: Navigation) -> None:
    """Put what the form asks for into the address, and show the stored answers to it."""
    address = navigation.address()

    def show(*values: Any) -> Updates:
        given, (comparison, *display) = values[: len(form.inputs)], values[len(form.inputs) :]
        view = forms.read_view(lab.settings, *given)
        return outputs.follow(lab, out, view, comparison, Display(*display))

    def follow(*values: Any) -> Updates:
        view = forms.read_view(lab.settings, *values[: len(form.inputs)])
        chosen = values[: len(form.picker.chosen)]
        note = pieces.note(f"{column_note(lab.settings, *chosen)}{forms.context_note(view)}")
        return {address: to_query(view), form.picker.note: note, **show(*values)}

    inputs = [*form.inputs, out.comparison, *out.display]
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

    navigation.after_opening(show_first, inputs, [out.status, *out.shown], shows=True)
    navigation.after_opening(lambda: gr.Button(interactive=True), [], [out.generate])

    def list_choices(family: str) -> gr.CheckboxGroup:
        """A fine-tune may have added a checkpoint since the page was made."""
        return gr.CheckboxGroup(checkpoint_choices(lab.settings, get_family(lab.settings, family)))

    # Not while the address is read: the list of another family could come last.
    navigation.after_opening(list_choices, [form.picker.family], [form.picker.checkpoints])

    def list_added(family: str, dataset: str) -> tuple[gr.Dropdown, gr.Dropdown]:
        """A dataset or a base model may have been added since, in this page too."""
        families = gr.Dropdown(family_choices(lab.settings))
        return families, task.list_datasets(lab.settings, family, dataset)

    chosen = [form.picker.family, form.task.dataset]
    tab.select(list_added, chosen, chosen, **QUIET)
    navigation.after_opening(list_added, chosen, chosen)


def _wire_samples(lab: Lab, form: Form, out: Output) -> None:
    """Show another sample and its stored answers in one step: two would take a browser twice the time."""
    sample = form.task

    def show(values: Sequence[Any], find: Callable[..., sample_place.SamplePlace]) -> Updates:
        given, (place, comparison, *display) = values[: len(form.inputs)], values[len(form.inputs) :]
        family, _, variants, _, name, *_ = given
        view = forms.read_view(lab.settings, *given)
        place = find(family, name, variants, place)
        shown = sample_place.show_place(lab, family, name, variants, place, again=True)
        answers = outputs.follow(lab, out, replace(view, sample=shown[-1]), comparison, Display(*display))
        hidden = {out.notice: gr.HTML(visible=False)}
        return {**dict(zip(sample.sample_view, shown, strict=True)), **answers, **hidden}

    def show_example(event: gr.EventData, *values: Any) -> Updates:
        name, checkpoints, variants, *rest = values
        shown = variants if event.variant in variants else [event.variant]
        found = show((name, checkpoints, shown, *rest), lambda *_: sample_place.SamplePlace(sample=event.id))
        return {sample.search: "", form.picker.variants: shown, **found}

    inputs = [*form.inputs, sample.place, out.comparison, *out.display]
    changed = [sample.search, *sample.sample_view, *out.shown, out.notice]
    for name, button in sample.steps.items():

        def step(*values: Any, name: str = name) -> Updates:
            return show(
                values,
                lambda family, dataset, variants, at: sample_place.move(
                    lab, family, dataset, variants, at, name
                ),
            )

        button.click(step, inputs, changed, **AT_ONCE)
    sample.examples.click(show_example, inputs, [form.picker.variants, *changed], **AT_ONCE)


def _wire_clock(lab: Lab, form: Form, out: Output) -> gr.Timer:
    """Say again and again how model and dataset stand; a running comparison says that itself."""
    clock = gr.Timer(_FAST, active=False)
    numbered = gr.JSON(visible="hidden")  # the id of a sample, and its card with its number in the dataset
    picker, sample = form.picker, form.task

    def tick(
        family: str,
        name: str,
        variants: list[str],
        place: sample_place.SamplePlace,
        sample_id: str,
        known: list[str] | None,
        comparison: Comparison | None,
    ) -> Updates:
        state, _ = lab.status(get_family(lab.settings, family))
        data = sample_place.dataset(lab, family, name, variants)
        updates: dict[Any, Any] = {
            clock: gr.Timer(_FAST if "loading" in (state, data.state) else _SLOW),
            **outputs.standing(lab, out, family, comparison),
        }
        shown = partial(sample_place.show_place, lab, family, name, variants, place)
        if not sample_id:
            updates.update(zip(sample.sample_view, shown(), strict=True))
        elif place.sample and data.state == "ready" and (known or [""])[0] != sample_id:
            card, _, found = shown()
            updates[numbered] = [found, card]
        return updates

    clock.tick(
        tick,
        [
            *(picker.family, sample.dataset, picker.variants, sample.place, sample.sample_id),
            *(numbered, out.comparison),
        ],
        [clock, out.status, numbered, *sample.sample_view],
        **QUIET,
    )
    # In the browser, which knows whether another sample was chosen since.
    numbered.change(None, [numbered, sample.sample_id], sample.card, js=_NUMBER, **QUIET)
    faster = f"() => ({{__type__: 'update', value: {_FAST}}})"
    gr.on([picker.family.change, picker.variants.change], None, None, clock, js=faster, **QUIET)
    return clock
