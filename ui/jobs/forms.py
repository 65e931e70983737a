"""A form for each verb, made from the verb's own parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import gradio as gr

from pipeline.command_line.signature import Parameter, Verb, job_parameters
from pipeline.data.own.store import list_own
from pipeline.models.checkpoints import checkpoint_name, list_checkpoints
from pipeline.models.families import DEFAULT_FAMILY, get_family
from pipeline.models.recipes import short
from pipeline.schema import BASELINE, DEFAULT_SEED, VARIANTS, FieldError, LabError
from pipeline.settings import Settings
from ui.callbacks import QUIET, in_form_words
from ui.choices import family_choices
from ui.labels import checkpoint_label

_FIRST = {
    "finetune": ("family", "dataset", "subset_size", "prompt", "epochs"),
    "evaluate": ("family", "dataset", "checkpoint", "prompt", "samples", "judge"),
    "sweep": ("family", "dataset", "sizes", "prompts", "seeds", "samples", "judge"),
    "add_base_model": ("source", "name", "title", "dataset"),
}
"""What a form asks first; the verb's other parameters are folded away."""
_NOT_ASKED = {("evaluate", "subset_size"), ("evaluate", "training_seed")}
"""What a form leaves out: there the checkpoint is chosen by name."""
OF_RECIPE = ("learning_rate", "lora_r", "lora_alpha", "batch_size")
"""What is the family's own in a fine-tune, unless the form says otherwise."""
_START: Mapping[tuple[str, str], Any] = {
    ("evaluate", "checkpoint"): BASELINE,
}
_LABELS: Mapping[Any, str] = {
    "prompt": "Prompt variant",
    "prompts": "Prompt variants",
    "subset_size": "Training samples",
    "sizes": "Training-set sizes",
    "samples": "Test samples",
    "suite": "Test suite",
    "replace": "Replace an existing checkpoint",
    "lora_r": "LoRA rank",
    "lora_alpha": "LoRA alpha",
    "warmup": "Warm-up steps",
    "name": "Name",
    ("evaluate", "seed"): "Sampling seed",
}
_INFO: Mapping[Any, str] = {
    (
        "finetune",
        "subset_size",
    ): "Such as 100, 500 or 1000; smaller sets are the first part of larger ones",
    ("evaluate", "checkpoint"): "The baseline is the model without fine-tuning",
    ("evaluate", "samples"): "The same ones for every checkpoint; 200 is the protocol",
    ("sweep", "sizes"): "With commas between them; baseline is the model without fine-tuning",
    ("sweep", "seeds"): "With commas between them; two or more show how much chance there is in training",
    ("evaluate", "seed"): "Of the random choices; greedy makes none",
    "dataset": "Import one of yours in the Dataset tab",
    "judge_model": "Its name on the judge's server; or qwen2.5-coder-1.5b, which runs here and needs no key",
    "prompt": "",
    "replace": "Otherwise one of the same name stays, and the job is not started",
    "report_to": "An experiment tracker that gets the loss, too; its key comes from the app's environment",
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
    "trackio": "Trackio",
    "wandb": "Weights & Biases",
}
_PURPOSE = {
    "finetune": "Trains a LoRA adapter on the first samples of the training split. The checkpoint it makes "
    "can be tried in Compare and evaluated.",
    "evaluate": "Lets one checkpoint write the test samples, and scores what it wrote. The run appears in "
    "Results.",
    "sweep": "Fine-tunes and evaluates every combination that is still missing, as a job each. The curve in "
    "Results fills in as they finish; one that fails does not stop the others.",
    "add_base_model": "Adds a model of yours, of any architecture whose linear layers take adapters. It "
    "is loaded, writes a few tokens and makes one training step; then it is a model family like the others.",
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
    fields = {field.name: field for field in job_parameters(verb) if (kind, field.name) not in _NOT_ASKED}
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
    if (kind, field.name) == ("finetune", "subset_size"):
        start = _missing_size(settings)
    if (kind, field.name) == ("sweep", "sizes"):
        missing = _missing_size(settings)
        start = f"{BASELINE}, {missing}, {2 * missing}"
    if field.name == "family":
        return gr.Dropdown(family_choices(settings), value=start, label="Model family")
    if field.name == "dataset":
        return gr.Dropdown(dataset_choices(settings), value="", **common)
    if (kind, field.name) == ("evaluate", "checkpoint"):
        # Custom values: while the list of another family is read, Gradio would refuse the one from before.
        return gr.Dropdown(
            evaluable(settings, DEFAULT_FAMILY), value=start, allow_custom_value=True, **common
        )
    if field.name == "prompts":
        return gr.CheckboxGroup(_options(VARIANTS), value=str(start).split(","), label=label)
    if field.choices:
        first = None if field.optional else field.choices[0]
        return gr.Radio(_options(field.choices), value=start or first, label=label, info=info)
    if field.kind is bool:
        return gr.Checkbox(value=bool(start), **common)
    if field.kind in (int, float) and not field.optional:
        return gr.Number(start, **common)  # its precision would round 8.5 to 8 without a word
    # Also optional numbers: they can be left empty here.
    usual = usual_values(settings, DEFAULT_FAMILY) if kind == "finetune" else {}
    placeholder = usual.get(field.name, "not set")
    return gr.Textbox("" if start is None else str(start), placeholder=placeholder, **common)


def usual_values(settings: Settings, family: str) -> dict[str, str]:
    """What the fields of a fine-tune's form stand for while they are empty: the family's recipe."""
    recipe = get_family(settings, family).recipe
    return {name: f"{short(getattr(recipe, name))}, as usual" for name in OF_RECIPE}


def _options(values: Sequence[Any]) -> list[tuple[str, Any]]:
    return [(_OPTIONS.get(value, str(value)), value) for value in values]


def dataset_choices(settings: Settings) -> list[tuple[str, str]]:
    """The dataset of the family, which has an empty name here, and those of the user."""
    return [("The dataset of the model family", ""), *((own.title, own.name) for own in list_own(settings))]


def _missing_size(settings: Settings) -> int:
    """A small number of training samples for which there is no checkpoint yet."""
    try:
        known = {one.name for one in list_checkpoints(settings, get_family(settings, DEFAULT_FAMILY))}
    except LabError:
        known = set()
    return next(
        size for size in count(100, 100) if checkpoint_name(size, "regular", DEFAULT_SEED) not in known
    )


def evaluable(settings: Settings, family: str) -> list[tuple[str, str]]:
    """What an evaluation may evaluate, as choices: the label, with the prompt variant, and the name."""
    try:
        checkpoints = list_checkpoints(settings, get_family(settings, family))
    except LabError:
        return [("Baseline", BASELINE)]
    return [
        (" · ".join([checkpoint_label(one), *([one.variant] if one.variant else [])]), one.name)
        for one in checkpoints
    ]
