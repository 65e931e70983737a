"""Import an adapter that was trained elsewhere: a zip file, a folder of this machine, or a hub id."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from pipeline.evaluation.limits import check_number
from pipeline.exchange.imports import import_checkpoint
from pipeline.models.families import get_family
from pipeline.network import HUB_ID
from pipeline.schema import TRAINED_VARIANTS, LabError, TrainedVariant
from pipeline.settings import Settings
from training.jobs.admission import jobs_are_on, require_launch
from ui import pieces
from ui.callbacks import QUIET, form_words, inform
from ui.callers import caller
from ui.gate import MAX_UPLOAD

_FIELDS = {"source": "Folder or hub id", "name": "Name", "subset_size": "Training samples"}
_MOST_SAMPLES = 100_000_000


@dataclass(frozen=True)
class CheckpointImport:
    """The components."""

    file: gr.File
    source: gr.Textbox
    name: gr.Textbox
    prompt: gr.Radio
    size: gr.Number
    start: gr.Button


def layout(settings: Settings) -> CheckpointImport:
    """Lay the form out, folded."""
    on = jobs_are_on(settings)
    about = (
        f"A LoRA adapter as PEFT saves it: as a zip file of at most {MAX_UPLOAD // 1_000_000} MB, in a "
        "folder of this machine, or on the hub. Before it is kept, it is checked against the base model."
        if on
        else "Only the person who runs this server can import checkpoints."
    )
    with gr.Accordion("Import a checkpoint", open=False, elem_classes="card", elem_id="import-checkpoint"):
        gr.HTML(pieces.note(about), padding=False)
        with gr.Row(equal_height=False):
            file = gr.File(label="Zip file", file_types=[".zip"], height=120, visible=settings.private)
            with gr.Column(min_width=280):
                source = gr.Textbox(label=_FIELDS["source"], placeholder="/path/to/adapter or owner/name")
                name = gr.Textbox(
                    label=_FIELDS["name"], info="If empty, that of the file, folder or repository"
                )
        with gr.Row(equal_height=False):
            prompt = gr.Radio(
                [("Unknown", ""), *((each.capitalize(), each) for each in TRAINED_VARIANTS)],
                value="",
                label="Prompt it was trained with",
                info="Asked only if the adapter has no record of it",
            )
            size = gr.Number(0, label="Training samples", info="0 if unknown", min_width=200)
        start = gr.Button("Import", variant="primary", interactive=on)
    return CheckpointImport(file, source, name, prompt, size, start)


def wire(
    settings: Settings,
    form: CheckpointImport,
    token: gr.Textbox,
    state: Sequence[Any],
    redraw: Callable[..., list[Any]],
    shown: Sequence[Any],
) -> None:
    """Let the form import, for those who may launch jobs; then the new checkpoint is the chosen one."""

    def start(
        token: str,
        family: str,
        chosen: list[str],
        file: str | None,
        source: str,
        name: str,
        prompt: TrainedVariant | str,
        size: float | None,
    ) -> list[Any]:
        by = caller(settings, token)
        require_launch(settings, by)
        source = file or source.strip()
        if not source:
            raise LabError("Choose a zip file, or give a folder or a hub id.")
        if not (by.local or HUB_ID.fullmatch(source)):
            raise LabError("Folders and files are taken from the user of this machine only. Give a hub id.")
        variant = next((each for each in TRAINED_VARIANTS if each == prompt), None)
        with form_words(_FIELDS):
            check_number("subset_size", size or 0, 0, _MOST_SAMPLES, whole=True)
            made = import_checkpoint(
                settings,
                get_family(settings, family),
                source,
                name.strip(),
                variant,
                int(size) if size else None,
            )
        inform(f"Imported: {made.name}. It is in the table, in Compare, and in the forms of Jobs.")
        return redraw(family, [*chosen, made.name])

    inputs = [token, *state, form.file, form.source, form.name, form.prompt, form.size]
    form.start.click(start, inputs, shown, **QUIET)
