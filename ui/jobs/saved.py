"""The settings of a job's form as one file: save it, and load it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from pipeline.command_line.signature import Verb, validate
from pipeline.json_files import parse_object
from pipeline.schema import LabError
from training.jobs import Runner
from training.jobs.admission import require_launch
from ui.callbacks import QUIET
from ui.callers import caller
from ui.downloads import Downloads, start_download
from ui.jobs.forms import VerbForm, labelled

_MOST_BYTES = 100_000


def wire(runner: Runner, form: VerbForm, token: gr.Textbox) -> None:
    """Add both buttons below a form. Only the user of this machine sends files."""
    downloads, elem_id = Downloads(), f"jobs-settings-{form.kind}"
    with gr.Row(elem_classes="actions"):
        save = gr.Button("Save settings", size="sm", scale=0, min_width=150)
        load = gr.UploadButton(
            "Load settings",
            file_types=[".json"],
            size="sm",
            scale=0,
            min_width=150,
            visible=runner.settings.private,
        )
    file = gr.DownloadButton(visible="hidden", elem_id=elem_id)

    def write(*values: Any) -> str:
        arguments, _ = form.read(values)
        text = json.dumps({"verb": form.kind, "arguments": arguments}, indent=1, ensure_ascii=False)
        return downloads.write(f"{form.kind}-settings", "json", text)

    def read(path: str, token: str) -> list[Any]:
        require_launch(runner.settings, caller(runner.settings, token))
        arguments = read_settings(Path(path), form.kind, runner.verb(form.kind))
        return [_shown(component, arguments.get(name)) for name, component in form.fields.items()]

    written = save.click(write, form.inputs, file, api_visibility="private")
    written.success(None, js=start_download(elem_id))
    load.upload(read, [load, token], list(form.fields.values()), **QUIET)


def read_settings(file: Path, kind: str, verb: Verb) -> Mapping[str, Any]:
    """Read the arguments that a saved file has for a kind of job; the others are the verb's defaults.

    Raises:
        LabError: it is no such file, or is of another kind of job, or an argument cannot be.
    """
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES:,} bytes")
        saved = parse_object(file.read_bytes())
    except (OSError, ValueError) as error:
        raise LabError(f"These settings cannot be read: {error}.") from error
    arguments = saved.get("arguments")
    if saved.get("verb") != kind or not isinstance(arguments, dict):
        raise LabError(
            f"This file has no settings of this form ({kind}). Save some to see what they look like."
        )
    with labelled(kind):
        return validate(verb, arguments)


def _shown(component: Any, value: Any) -> Any:
    """A value as the component takes it."""
    if isinstance(component, gr.CheckboxGroup):
        return str(value or "").split(",")
    if isinstance(component, gr.Textbox | gr.Dropdown):
        return "" if value is None else str(value)
    return value
