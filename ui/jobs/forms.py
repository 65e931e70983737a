"""A form for each verb, made from the verb's own parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gradio as gr

from pipeline.command_line.signature import Parameter, Verb, job_parameters
from pipeline.models.checkpoints import list_checkpoints
from pipeline.models.families import DEFAULT_FAMILY, get_family, load_families
from pipeline.schema import VARIANTS, FieldError, LabError
from pipeline.settings import Settings
from ui.callbacks import QUIET, in_form_words

_FIRST = {
    "finetune": ("family", "subset_size", "prompt", "epochs"),
    "evaluate": ("family", "subset_size", "prompt", "samples", "judge"),
    "sweep": ("family", "sizes", "prompts", "seeds", "samples", "judge"),
}
"""What a form asks first; the verb's other parameters are folded away."""
_START: Mapping[tuple[str, str], Any] = {
    ("finetune", "subset_size"): 100,
    ("evaluate", "subset_size"): "baseline",
    ("sweep", "sizes"): "baseline, 200, 1000",
}
_LABELS: Mapping[Any, str] = {
    "prompt": "Prompt variant",
    "prompts": "Prompt variants",
    "subset_size": "Training samples",
    "sizes": "Training-set sizes",
    "samples": "Test samples",
    "suite": "Test suite",
    "replace": "Replace an existing checkpoint",
    ("evaluate", "subset_size"): "Checkpoint, by its training samples",
    ("evaluate", "seed"): "Sampling seed",
}
_INFO: Mapping[Any, str] = {
    (
        "finetune",
        "subset_size",
    ): "Such as 100, 500 or 1000; smaller sets are the first part of larger ones",
    ("evaluate", "subset_size"): "baseline is the model without fine-tuning",
    ("evaluate", "samples"): "The same ones for every checkpoint; 200 is the protocol",
    ("sweep", "sizes"): "With commas between them; baseline is the model without fine-tuning",
    ("sweep", "seeds"): "With commas between them; two or more show how much chance there is in training",
    ("evaluate", "seed"): "Of the random choices; greedy makes none",
    "judge_model": "Its name on the judge's server; or qwen2.5-coder-1.5b, which runs here and needs no key",
    "prompt": "",
    "replace": "Otherwise one of the same name that was trained with other settings stays, and the job fails",
    "judge": "A language model that reads each answer and says whether it is correct; a service costs money",
}
"""Where a form has more to say, or less, than the command line's help."""
_OPTIONS = {
    "regular": "Regular",
    "augmented": "Augmented with the file's code",
    "chat": "Chat template of the model (baseline only)",
    "none": "None",
    "packages": "Packages",
    "metrics": "Torchmetrics",
    "humaneval": "HumanEval",
    "auto": "Automatic",
    "unsloth": "Unsloth",
    "peft": "PEFT",
    "naive": "Naive: compare with the reference",
    "analyze": "Analyze, then decide",
    "taxonomy": "Taxonomy: grade each fault",
}
_PURPOSE = {
    "finetune": "Trains a LoRA adapter on the first samples of the training split. The checkpoint it makes "
    "can be tried in Compare and evaluated.",
    "evaluate": "Lets one checkpoint write the test samples, and scores what it wrote. The run appears in "
    "Results.",
    "sweep": "Fine-tunes and evaluates every combination that is still missing, as a job each. The curve in "
    "Results fills in as they finish; one that fails does not stop the others.",
}


@dataclass(frozen=True)
class VerbForm:
    """The components that stand for a verb's parameters, by name, and the key that goes with them."""

    kind: str
    fields: Mapping[str, Any]
    key: gr.Textbox | None

    @property
    def inputs(self) -> list[Any]:
        """Every component, the key last where there is one."""
        return [*self.fields.values(), *([self.key] if self.key else [])]

    def read(self, values: Sequence[Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """Arguments and secrets from the components' values, in the order of ``inputs``."""
        arguments = {
            name: ",".join(value) if isinstance(value, list) else value
            for name, value in zip(self.fields, values, strict=False)
        }
        key = str(values[-1] or "").strip() if self.key else ""
        return arguments, {"OPENAI_API_KEY": key} if key else {}


def build(settings: Settings, kind: str, verb: Verb) -> VerbForm:
    """Lay out the form: what matters first, then the rest folded away."""
    fields = {field.name: field for field in job_parameters(verb)}
    gr.HTML(f'<p class="note">{_PURPOSE.get(kind, "")}</p>', padding=False)
    first = [name for name in _FIRST.get(kind, tuple(fields)) if name in fields]
    made = {name: _component(settings, kind, fields[name]) for name in first}
    key = None
    if "judge" in fields:
        key = gr.Textbox(
            label="Judge's key",
            info="For this job alone, and written nowhere. If empty, the server's own OPENAI_API_KEY counts.",
            type="password",
            visible=False,
        )
        show_key = "(judge) => ({__type__: 'update', visible: judge !== 'none'})"
        made["judge"].change(None, made["judge"], key, js=show_key, **QUIET)
    with gr.Accordion("More settings", open=False):
        made |= {name: _component(settings, kind, fields[name]) for name in fields if name not in made}
    return VerbForm(kind, made, key)


@contextmanager
def labelled(kind: str) -> Iterator[None]:
    """Name a wrong argument as the form labels its field."""
    try:
        yield
    except FieldError as error:
        label = _label(kind, error.field)
        raise LabError(in_form_words(error, {error.field: label})) from error


def _label(kind: str, name: str) -> str:
    plain = name.replace("_", " ").capitalize()
    return _LABELS.get((kind, name), _LABELS.get(name, plain))


def _component(settings: Settings, kind: str, field: Parameter) -> Any:
    label = _label(kind, field.name)
    info = (
        _INFO.get((kind, field.name), _INFO.get(field.name, field.help[:1].upper() + field.help[1:])) or None
    )
    common: dict[str, Any] = {"label": label, "info": info}
    start = _START.get((kind, field.name), field.default)
    if field.name == "family":
        titles = [(family.title, family.name) for family in load_families(settings).values()]
        return gr.Dropdown(titles, value=start, label="Model family")
    if (kind, field.name) == ("evaluate", "subset_size"):
        return gr.Dropdown(checkpoint_sizes(settings, DEFAULT_FAMILY), value=start, **common)
    if field.name == "prompts":
        return gr.CheckboxGroup(_options(VARIANTS), value=str(start).split(","), label=label)
    if field.choices:
        return gr.Radio(_options(field.choices), value=start or field.choices[0], label=label, info=info)
    if field.kind is bool:
        return gr.Checkbox(value=bool(start), **common)
    if field.kind in (int, float) and not field.optional:
        return gr.Number(start, **common)  # its precision would round 8.5 to 8 without a word
    # Also optional numbers: they can be left empty here.
    return gr.Textbox("" if start is None else str(start), placeholder="not set", **common)


def _options(values: Sequence[Any]) -> list[tuple[str, Any]]:
    return [(_OPTIONS.get(value, str(value)), value) for value in values]


def checkpoint_sizes(settings: Settings, family: str) -> list[str]:
    """What an evaluation may evaluate: the baseline, and each number of samples that a checkpoint has."""
    try:
        checkpoints = list_checkpoints(settings, get_family(settings, family))
    except LabError:
        return ["baseline"]
    return list(dict.fromkeys(str(checkpoint.subset_size or "baseline") for checkpoint in checkpoints))
