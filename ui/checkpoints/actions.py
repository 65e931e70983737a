"""What can be done with the open checkpoint: compare, hide, rename, delete, export and push it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from pipeline.exchange.exports import export_adapter, export_merged, push_adapter
from pipeline.models.families import Family, get_family
from pipeline.models.own_checkpoints import (
    delete_checkpoint,
    find_checkpoint,
    hidden_checkpoints,
    hide_checkpoint,
    rename_checkpoint,
)
from pipeline.schema import Checkpoint, LabError
from training.jobs import ACTIVE, Runner
from training.jobs.admission import require_launch
from training.jobs.arguments import evaluated_name
from ui import asking
from ui.callbacks import QUIET, form_words, inform
from ui.callers import caller
from ui.downloads import Downloads, start_download
from ui.lab import Lab

Redraw = Callable[..., list[Any]]
_FIELDS = {"new_name": "New name", "hub_id": "Repository", "token": "Token of the hub"}
_FILE = "checkpoints-file"


@dataclass(frozen=True)
class Actions:
    """The components."""

    compare: gr.Button
    export: gr.Button
    merge: gr.Button
    hide: gr.Button
    delete: gr.Button
    sure: gr.Row
    yes: gr.Button
    no: gr.Button
    more: gr.Accordion
    own: gr.Row
    new_name: gr.Textbox
    rename: gr.Button
    hub_id: gr.Textbox
    hub_token: gr.Textbox
    private: gr.Checkbox
    push: gr.Button

    @property
    def shown(self) -> list[Any]:
        """What depends on the open checkpoint, in the order of ``updates``."""
        return [self.compare, self.export, self.merge, self.hide, self.delete, self.sure, self.more, self.own]


def layout() -> Actions:
    """Lay them out: buttons, and folded below what needs a word or a token."""
    small: dict[str, Any] = {"size": "sm", "scale": 0, "min_width": 170}
    with gr.Row(elem_classes="actions"):
        compare = gr.Button("Open in Compare", **small)
        export = gr.Button("Export adapter", **small)
        merge = gr.Button("Export merged model", **small)
        hide = gr.Button("Hide in Compare", **small)
        delete = gr.Button("Delete", **small)
    sure, yes, no = asking.layout("Delete this checkpoint?")
    with gr.Accordion("Rename, push to the hub", open=False) as more:
        with gr.Row(equal_height=False) as own:
            new_name = gr.Textbox(label=_FIELDS["new_name"], info="Its stored runs keep the old one")
            rename = gr.Button("Rename", **small)
        with gr.Row(equal_height=False):
            hub_id = gr.Textbox(
                label=_FIELDS["hub_id"], placeholder="owner/name", info="Made if there is none"
            )
            hub_token = gr.Textbox(
                label=_FIELDS["token"], type="password", info="For this push alone, and written nowhere"
            )
            private = gr.Checkbox(True, label="Private", info="Only you see a new repository")
            push = gr.Button("Push to the hub", **small)
    return Actions(
        compare, export, merge, hide, delete, sure, yes, no, more, own, new_name, rename, hub_id, hub_token,
        private, push,
    )  # fmt: skip


def updates(opened: Checkpoint | None, hidden: bool, own: bool, allowed: bool) -> list[Any]:
    """New values of ``Actions.shown`` for the open checkpoint."""
    adapter = opened is not None and not opened.is_baseline and bool(opened.path) and not opened.is_merged
    usable = adapter and opened is not None and not opened.problem and allowed
    return [
        gr.Button(visible=opened is not None and not opened.problem),
        gr.Button(visible=usable),
        gr.Button(visible=usable),
        gr.Button(
            "Show in Compare" if hidden else "Hide in Compare",
            visible=opened is not None and not opened.is_baseline and allowed,
        ),
        gr.Button(visible=own and allowed),
        gr.Row(visible=False),
        gr.Accordion(visible=usable or (own and allowed)),
        gr.Row(visible=own and allowed),
    ]


@dataclass(frozen=True)
class _Callbacks:
    """What the buttons do with the last chosen checkpoint, for those who may launch jobs.

    Each takes the jobs token, the family's name and the chosen names first.
    """

    lab: Lab
    runner: Runner
    redraw: Redraw
    downloads: Downloads

    def hide(self, token: str, name: str, chosen: list[str]) -> list[Any]:
        """Hide it in Compare, or show it again."""
        family, one = self._opened(token, name, chosen)
        settings = self.lab.settings
        hide_checkpoint(settings, family, one.name, one.name not in hidden_checkpoints(settings, family))
        return self.redraw(name, chosen)

    def delete(self, token: str, name: str, chosen: list[str]) -> list[Any]:
        """Delete it, unless a job is using it."""
        family, one = self._opened(token, name, chosen)
        for job in self.runner.list(ACTIVE):
            uses = job.kind == "evaluate" and evaluated_name(job.arguments) == one.name
            if uses and job.arguments.get("family") == name:
                raise LabError(
                    f"A job is evaluating {one.name}. Cancel it first, or wait until it has ended."
                )
        delete_checkpoint(self.lab.settings, family, one.name)
        inform(f"{one.name} is deleted. Its stored runs are kept.")
        return self.redraw(name, chosen[:-1])

    def rename(self, token: str, name: str, chosen: list[str], new_name: str) -> list[Any]:
        """Give it another name."""
        family, one = self._opened(token, name, chosen)
        with form_words(_FIELDS):
            renamed = rename_checkpoint(self.lab.settings, family, one.name, new_name.strip())
        return self.redraw(name, [*chosen[:-1], renamed.name])

    def export(self, token: str, name: str, chosen: list[str]) -> str:
        """Write it as a zip file with its card; returns the file."""
        family, one = self._opened(token, name, chosen)
        file = self.downloads.place(f"{one.name}.zip")
        return str(export_adapter(family, one, file, self.lab.stored.runs()))

    def merge(self, token: str, name: str, chosen: list[str]) -> None:
        """Write base model and adapter as one model into a folder of the data folder."""
        family, one = self._opened(token, name, chosen)
        folder = self.lab.settings.data_dir / "exports" / f"{family.name}-{one.name}"
        written = export_merged(self.lab.settings, family, one, folder, self.lab.stored.runs())
        inform(f"The merged model is in {written}.")

    def push(self, token: str, name: str, chosen: list[str], hub_id: str, key: str, private: bool) -> str:
        """Push it to the hub; returns the empty text, which takes the place of the hub's token."""
        family, one = self._opened(token, name, chosen)
        with form_words(_FIELDS):
            page = push_adapter(family, one, hub_id.strip(), key, private, self.lab.stored.runs())
        inform(f"{one.name} is pushed: {page}")
        return ""

    def _opened(self, token: str, name: str, chosen: Sequence[str]) -> tuple[Family, Checkpoint]:
        settings = self.lab.settings
        require_launch(settings, caller(settings, token))
        if not chosen:
            raise LabError("Choose a checkpoint in the table first.")
        family = get_family(settings, name)
        return family, find_checkpoint(settings, family, chosen[-1])


def wire(
    lab: Lab,
    runner: Runner,
    made: Actions,
    token: gr.Textbox,
    state: Sequence[Any],
    redraw: Redraw,
    shown: Sequence[Any],
) -> None:
    """Connect the buttons.

    Args:
        lab: settings and stored runs.
        runner: of the jobs, which may be using a checkpoint.
        made: the components.
        token: the jobs token.
        state: components of the family's name and the chosen names.
        redraw: new values of ``shown`` by family and chosen names.
        shown: what changes with an action.
    """
    do, given = _Callbacks(lab, runner, redraw, Downloads()), [token, *state]
    file = gr.DownloadButton(visible="hidden", elem_id=_FILE)
    made.hide.click(do.hide, given, shown, **QUIET)
    asking.wire(made.delete, made.sure, made.no.click)
    made.yes.click(do.delete, given, shown, **QUIET)
    made.rename.click(do.rename, [*given, made.new_name], shown, **QUIET)
    exported = made.export.click(do.export, given, file, api_visibility="private")
    exported.success(None, js=start_download(_FILE))
    made.merge.click(do.merge, given, None, api_visibility="private")
    pushed = [*given, made.hub_id, made.hub_token, made.private]
    made.push.click(do.push, pushed, made.hub_token, api_visibility="private")
