"""A checkpoint's card in Markdown: what it is, how it was made, and what was measured of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.decimals import decimal
from pipeline.evaluation.evaluate_columns import summarize
from pipeline.evaluation.runs import Run
from pipeline.models.families import Family
from pipeline.models.recipes import short
from pipeline.schema import Checkpoint, counted
from pipeline.scoring import metric_of

CURVE = "loss.svg"
"""The figure of the loss that shipped cards have beside them."""


def model_card(family: Family, checkpoint: Checkpoint, record: Mapping[str, Any], runs: Iterable[Run]) -> str:
    """The card of a checkpoint: what is not known of it is left out.

    Args:
        family: its family.
        checkpoint: its attributes.
        record: its ``checkpoint.json``; empty where it has none.
        runs: its stored evaluations.
    """
    shipped = checkpoint.origin == "shipped"
    size, variant = checkpoint.subset_size, checkpoint.variant
    what = f"fine-tuned on {counted(size, 'sample')}" if size else f"fine-tuned: {checkpoint.name}"
    lines = [
        "---",
        "library_name: peft",
        "pipeline_tag: text-generation",
        *(["license: apache-2.0"] if shipped else []),
        f"base_model: {family.base_names[0]}",
        "tags: [lora, code-generation]",
        "---",
        f"# {family.title.partition(' (')[0]}, {what}{f' ({variant} prompt)' if variant else ''}\n",
        "It writes the function or class that an instruction of AI research code asks for. One of several "
        "checkpoints that show what more training samples bring; not meant for other use."
        if shipped
        else "It writes the function or class that an instruction asks for.",
        "\n| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in _facts(checkpoint, record).items() if value),
        *(["\n## Loss\n", f"![Loss by step]({CURVE})\n"] if shipped else [""]),
        *(["```", str(record["command"]), "```"] if "command" in record else []),
        *_measured(sorted(runs, key=lambda run: run.config.id)),
    ]
    return "\n".join(lines) + "\n"


def _facts(checkpoint: Checkpoint, record: Mapping[str, Any]) -> dict[str, Any]:
    recipe, size = checkpoint.recipe, checkpoint.subset_size
    facts: dict[str, Any] = {"Training samples": f"{size:,}" if size else ""}
    if size and "dataset_fingerprint" in record:
        facts["Training samples"] = (
            f"{size:,} of the dataset `{record['dataset']}` (fingerprint `{record['dataset_fingerprint']}`), "
            "a prefix of every larger subset"
        )
    facts["Prompt variant"] = checkpoint.variant
    if "lora_r" in recipe:
        facts["Method"] = f"LoRA, rank {recipe['lora_r']}, alpha {short(recipe['lora_alpha'])}"
    if "epochs" in recipe:
        facts["Method"] += ", on all linear layers; only the function carries loss"
        decay = {"linear": "linear decay", "cosine": "cosine decay"}.get(recipe["scheduler"], "constant")
        facts["Epochs, batch, learning rate"] = (
            f"{recipe['epochs']}, {recipe['batch_size']}, {recipe['learning_rate']:g} ({decay})"
        )
    facts["Seed"] = checkpoint.seed
    seconds, versions = record.get("seconds"), record.get("versions")
    if isinstance(seconds, int | float) and isinstance(versions, Mapping):
        created, backend, device = (str(record.get(name)) for name in ("created", "backend", "device"))
        facts["Trained"] = f"{created[:10]}, {backend}, {device}, {seconds:,.0f} s of wall time"
        facts["Versions"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    return {**facts, "Adapter fingerprint": f"`{checkpoint.fingerprint}`"}


def _measured(runs: Sequence[Run]) -> list[str]:
    lines = ["\n## Measured\n"]
    if not runs:
        return [*lines, "Nothing yet."]
    for run in runs:
        config, summary = run.config, summarize(run)
        style = (
            "greedy" if config.decoding.temperature == 0 else f"temperature {config.decoding.temperature:g}"
        )
        lines += [
            f"{len(run.attempts)} samples of `{config.dataset}`, {style}, at most "
            f"{config.decoding.max_new_tokens} new tokens ({summary['truncated']} answers cut off); "
            f"{config.created[:10]}, {config.engine}:\n",
            "| metric | mean | scored | unscored |",
            "|---|---|---|---|",
        ]
        for name, score in sorted(summary["scores"].items()):
            mean = decimal(score["mean"], metric_of(name).places)
            lines.append(f"| {name} | {mean} | {score['n']} | {score['unscored']} |")
        lines += ["\n```", config.command, "```\n"]
    return lines
