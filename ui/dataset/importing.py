"""Import a dataset of one's own: a file or a hub id, its columns, what would be left out, and Import."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import gradio as gr

from pipeline.data.own.file_formats import ENDINGS
from pipeline.data.own.prepare import LONGEST_CODE, Choices, prepare
from pipeline.data.own.read_hub import read_hub
from pipeline.data.own.rows import Columns, guess_columns
from pipeline.data.own.source import read_file
from pipeline.data.own.store import keep
from pipeline.data.own.table import Table
from pipeline.evaluation.limits import check_number
from pipeline.schema import LabError, counted
from pipeline.settings import Settings
from training.jobs.admission import jobs_are_on, require_launch
from ui import pieces
from ui.callbacks import QUIET, form_words
from ui.callers import caller
from ui.gate import MAX_UPLOAD
from ui.markup import escape

_SHOWN_ROWS, _SHOWN_CHARACTERS = 4, 160
_NONE = "none"
_LABELS = {
    "instruction": "Instruction",
    "code": "Code",
    "context": "File around the code",
    "function_name": "Name of the function",
    "group": "What belongs together",
}
_INFO = {
    "instruction": "What the code should do",
    "code": "What is to be written",
    "context": "Optional, for the augmented prompt",
    "function_name": "Optional",
    "group": "Optional, such as the repository",
}
_FIELDS = {**_LABELS, "name": "Name", "test_share": "Share of test samples", "longest": "Longest code"}


@dataclass(frozen=True)
class ImportForm:
    """The components. ``source`` is a state: what was read last, a path or a hub id, and which of them."""

    file: gr.File
    hub_id: gr.Textbox
    read: gr.Button
    token: gr.Textbox
    source: gr.State
    problem: gr.HTML
    body: gr.Column
    rows: gr.HTML
    columns: list[gr.Dropdown]
    name: gr.Textbox
    test_share: gr.Number
    longest: gr.Number
    replace: gr.Checkbox
    report: gr.HTML
    start: gr.Button
    onward: gr.Button

    @property
    def choices(self) -> list[Any]:
        """What decides how the source becomes a dataset."""
        return [*self.columns, self.name, self.test_share, self.longest]

    @property
    def read_from_source(self) -> list[Any]:
        """What a new source changes."""
        read = [self.source, self.problem, self.body, self.rows, *self.columns, self.name, self.report]
        return [*read, self.onward]


def wire(
    settings: Settings, form: ImportForm, dataset: gr.Dropdown, choices: Callable[[], list[tuple[str, str]]]
) -> Any:
    """Let the form read, report and import; returns the event after which ``dataset`` names the new one."""
    read = lru_cache(maxsize=1)(_read)

    def look(kind: str, given: str, token: str) -> list[Any]:
        """Read the source, guess its columns, and say what would be left out."""
        source = (kind, (given or "").strip())
        try:
            require_launch(settings, caller(settings, token))
            table = read(*source)
        except LabError as error:
            nothing = [gr.skip() for _ in (form.rows, *form.columns, form.name, form.report, form.onward)]
            return [None, _problem(error), gr.Column(visible=False), *nothing]
        guess, name = guess_columns(table.columns), _name_for(source[1])
        shown = [_dropdown(part, table, guess) for part in _LABELS]
        report = _report(table, *astuple(guess), name, 0.2, LONGEST_CODE)
        head = _first_rows(table)
        opened = [source, gr.HTML(visible=False), gr.Column(visible=True)]
        return [*opened, head, *shown, name, report, gr.Button(visible=False)]

    def report(source: tuple[str, str] | None, *values: Any) -> str:
        return _report(read(*source), *values) if source else ""

    def start(source: tuple[str, str] | None, token: str, replace: bool, *values: Any) -> list[Any]:
        require_launch(settings, caller(settings, token))
        if source is None:
            raise LabError("Choose a file first, or give the id of a dataset on the hub.")
        with form_words(_FIELDS):
            name, chosen = _choices(*values)
            own = keep(settings, prepare(read(*source), name, chosen), replace=replace)
        sizes = f"{counted(own.train, 'training sample')} and {counted(own.test, 'test sample')}"
        said = pieces.note(
            f"Imported: {own.name} has {sizes}. It is listed below, in Compare, and in the forms of Jobs."
        )
        return [said, gr.Dropdown(choices(), value=own.name), gr.Button(visible=True)]

    outputs = form.read_from_source
    form.file.upload(partial(look, "file"), [form.file, form.token], outputs, **QUIET)
    asked = [form.read.click, form.hub_id.submit]
    gr.on(asked, partial(look, "hub"), [form.hub_id, form.token], outputs, **QUIET)
    form.file.clear(lambda: (None, gr.Column(visible=False)), None, [form.source, form.body], **QUIET)
    changes = [component.input for component in form.choices]
    gr.on(changes, report, [form.source, *form.choices], form.report, trigger_mode="always_last", **QUIET)
    given = [form.source, form.token, form.replace, *form.choices]
    return form.start.click(start, given, [form.report, dataset, form.onward], **QUIET)


def layout(settings: Settings) -> ImportForm:
    """Lay the form out, folded."""
    on = jobs_are_on(settings)
    with gr.Accordion("Import your own", open=False, elem_id="import-own", elem_classes="card"):
        gr.HTML(pieces.note(_about(settings)), padding=False)
        with gr.Row(equal_height=False):
            file = gr.File(label="File", file_types=list(ENDINGS), height=120, visible=settings.private)
            with gr.Column(min_width=280):
                hub_id = gr.Textbox(label="Or a dataset on the Hugging Face Hub", placeholder="owner/name")
                token = gr.Textbox(label="Jobs token", type="password", visible=bool(settings.jobs_token))
                read = gr.Button("Read from the hub", size="sm", interactive=on)
        problem = gr.HTML(visible=False)
        with gr.Column(visible=False) as body:
            rows = gr.HTML()
            with gr.Row():
                columns = [
                    gr.Dropdown([], label=_LABELS[part], info=_INFO[part], min_width=200) for part in _LABELS
                ]
            with gr.Row():
                name = gr.Textbox(label="Name", info="Lower-case letters, digits and hyphens", min_width=200)
                test_share = gr.Number(
                    0.2, label=_FIELDS["test_share"], info="The rest is trained on", min_width=200
                )
                longest = gr.Number(
                    LONGEST_CODE,
                    label=_FIELDS["longest"],
                    info="Characters; longer rows are left out",
                    min_width=200,
                )
            replace = gr.Checkbox(label="Replace a dataset of the same name")
            report = gr.HTML()
            start = gr.Button("Import", variant="primary", interactive=on)
            onward = gr.Button("Fine-tune on it", visible=False)
    return ImportForm(
        file, hub_id, read, token, gr.State(), problem, body, rows, columns, name, test_share, longest,
        replace, report, start, onward,
    )  # fmt: skip


def _about(settings: Settings) -> str:
    if not jobs_are_on(settings):
        return "Only the person who runs this server can import datasets."
    return (
        f"A file ({', '.join(ENDINGS)}; at most {MAX_UPLOAD // 1_000_000} MB) with an instruction and code "
        "in each row, or a dataset of the hub. You see what would be left out before anything is written."
    )


def _read(kind: str, source: str) -> Table:
    return read_file(Path(source)) if kind == "file" else read_hub(source)


def _name_for(source: str) -> str:
    """A name that the dataset can have, from that of its source."""
    words = re.sub(r"[^a-z0-9]+", "-", Path(source).stem.lower()).strip("-")
    return f"data-{words}"[:40].rstrip("-") if not words[:1].isalpha() else words[:40].rstrip("-")


def _dropdown(part: str, table: Table, guess: Columns) -> gr.Dropdown:
    needed = part in ("instruction", "code")
    names: list[tuple[str, str]] = [] if needed else [(_NONE, "")]
    return gr.Dropdown(
        [*names, *((name, name) for name in table.columns)],
        value=getattr(guess, part) or (None if needed else ""),
    )


def _choices(*values: Any) -> tuple[str, Choices]:
    """The dataset's name and how the source becomes it, from the values of the form.

    Raises:
        FieldError: a number is out of its bounds.
    """
    *columns, name, test_share, longest = values
    share = check_number("test_share", test_share, 0.01, 0.9)
    characters = int(check_number("longest", longest, 1, 20_000, whole=True))
    return (name or "").strip(), Choices(Columns(*(each or "" for each in columns)), share, characters)


def _report(table: Table, *values: Any) -> str:
    """What the import would give, or why it cannot be made."""
    try:
        with form_words(_FIELDS):
            name, choices = _choices(*values)
            found = prepare(table, name, choices)
    except LabError as error:
        return pieces.problem(str(error))
    sizes = f"{len(found.train):,} for training, {len(found.test):,} for tests"
    summary = (
        f"{len(found.train) + len(found.test):,} of {counted(len(table.rows), 'row')} can be used: {sizes}."
    )
    return f"<p><b>{escape(summary)}</b></p>" + "".join(map(pieces.note, found.notes))


def _problem(error: LabError) -> gr.HTML:
    return gr.HTML(pieces.problem(str(error)), visible=True)


def _first_rows(table: Table) -> str:
    """The first rows as a table, with long texts cut."""
    head = "".join(f"<th>{escape(name)}</th>" for name in table.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(_cut(row.get(name, '')))}</td>" for name in table.columns) + "</tr>"
        for row in table.rows[:_SHOWN_ROWS]
    )
    title = f"{table.source}: {counted(len(table.rows), 'row')}. The first of them:"
    table_rows = f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>"
    return (
        f'{pieces.note(title)}<div class="wide"><table class="facts-table as-is">{table_rows}</table></div>'
    )


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
