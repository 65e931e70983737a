"""The address of the Results tab: it opens the tab with a view, and follows what the tab shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import gradio as gr

from pipeline.schema import LabError
from ui.callbacks import QUIET, inform
from ui.navigation import Navigation, Updates
from ui.views import View, to_query

if TYPE_CHECKING:
    from ui.results.presenter import Presenter


def wire(
    presenter: Callable[[], Presenter],
    choices: Mapping[str, Any],
    sections: gr.Tabs,
    sample: Sequence[Any],
    navigation: Navigation,
) -> None:
    """Open the tab with a view, and put what it shows into the address.

    Args:
        presenter: the presenter.
        choices: the components that hold parts of the view, by the name of the part.
        sections: the tabs within the tab.
        sample: the opened sample of Samples, and the keys of its set-up, run and sample.
        navigation: the page's.
    """
    section = gr.Textbox(visible="hidden", container=False)
    tabs = cast(list[gr.Tab], sections.children)
    known = [str(each.id) for each in tabs]

    def open_view(view: View) -> Updates:
        shown = view.section if view.section in known else known[0]
        updates = {choices[name]: value for name, value in presenter().open(view).items()}
        updates |= {sections: gr.Tabs(selected=shown), section: shown}
        if view.setup and view.sample:
            try:
                page = presenter().sample(view.setup, view.sample)
            except LabError as error:
                inform(str(error))
            else:
                updates |= dict(zip(sample, (page, (view.setup, "", view.sample)), strict=True))
        return updates

    def query(section: str, opened: tuple[str, str, str], *values: Any) -> str:
        chosen = dict(zip(choices, values, strict=True))
        left_out = tuple(chosen.pop("left_out").splitlines())
        chosen["kind"] = "" if chosen["kind"] == "all" else chosen["kind"]
        sample = opened[2] if section == "samples" else ""
        section = "" if section == known[0] else section
        return to_query(View("results", section=section, sample=sample, left_out=left_out, **chosen))

    for one in tabs:
        one.select(None, None, section, js=f"() => '{one.id}'", **QUIET)
    navigation.add_tab("results", open_view, [*choices.values(), sections, section, *sample])
    gr.on(
        [section.change, sample[1].change, *(each.change for each in choices.values())],
        query,
        [section, sample[1], *choices.values()],
        navigation.address(),
        trigger_mode="multiple",
        concurrency_limit=1,
        **QUIET,
    )
