"""Model cards of the shipped checkpoints, made from their records and the stored runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from maintenance.figures import figure
from pipeline.command_line.verbs import run_verb
from pipeline.evaluation.evaluate_columns import summarize
from pipeline.evaluation.runs import Run
from pipeline.evaluation.store import list_runs, load_run
from pipeline.models.families import DEFAULT_FAMILY, Family, get_family
from pipeline.models.fingerprints import fingerprint
from pipeline.scoring import metric_of
from pipeline.settings import Settings
from ui.numbers import mean_score

_CURVE = "loss.svg"


def cards(family: str = DEFAULT_FAMILY) -> dict[str, Any]:
    """Write the model card and the loss curve of every checkpoint in assets/.

    Args:
        family: model family

    Returns:
        How many cards were written.
    """
    settings = Settings.from_env()
    chosen = get_family(settings, family)
    runs = [load_run(folder) for folder in list_runs(settings)]
    folders = sorted((settings.assets / "checkpoints" / chosen.name).glob("*/checkpoint.json"))
    for file in folders:
        folder, record = file.parent, json.loads(file.read_text(encoding="utf-8"))
        mark = fingerprint(folder)
        own = [run for run in runs if run.config.fingerprint == mark]
        (folder / "README.md").write_text(card(chosen, record, mark, own), encoding="utf-8")
        draw_curve(record, folder / _CURVE)
    return {"cards": len(folders)}


def card(family: Family, record: dict[str, Any], mark: str, runs: Iterable[Run]) -> str:
    """One checkpoint's card in Markdown: what it is, how it was made, what was measured of it.

    Args:
        family: its family.
        record: its ``checkpoint.json``.
        mark: its fingerprint.
        runs: its stored evaluations.
    """
    size, variant = record["subset_size"], record["variant"]
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    lora = record["lora"]
    facts = {
        "Training samples": f"{size:,} of the dataset `{record['dataset']}` "
        f"(fingerprint `{record['dataset_fingerprint']}`), a prefix of every larger subset",
        "Prompt variant": variant,
        "Method": f"LoRA, rank {lora['r']}, alpha {lora['alpha']}, on all linear layers; only the function "
        "carries loss",
        "Epochs, batch, learning rate": f"{record['epochs']}, {record['batch_size']}, "
        f"{record['learning_rate']:g} (linear decay)",
        "Seed": record["seed"],
        "Trained": f"{record['created'][:10]}, {record['backend']}, {record['device']}, "
        f"{record['seconds']:,.0f} s beside other trainings",
        "Versions": versions,
        "Adapter fingerprint": f"`{mark}`",
    }
    lines = [
        "---",
        "library_name: peft",
        "pipeline_tag: text-generation",
        "license: apache-2.0",
        f"base_model: {family.base_names[0]}",
        "tags: [lora, code-generation]",
        "---",
        f"# {family.title.partition(' (')[0]}, fine-tuned on {size:,} samples ({variant} prompt)\n",
        "It writes the function or class that an instruction of AI research code asks for. One of several "
        "checkpoints that show what more training samples bring; not meant for other use.\n",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in facts.items()),
        "\n## Loss\n",
        f"![Loss by step]({_CURVE})\n",
        "```",
        record["command"],
        "```",
        *_measured(sorted(runs, key=lambda run: run.config.id)),
    ]
    return "\n".join(lines) + "\n"


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
            mean = mean_score(score["mean"], metric_of(name))
            lines.append(f"| {name} | {mean} | {score['n']} | {score['unscored']} |")
        lines += ["\n```", config.command, "```\n"]
    return lines


def draw_curve(record: Mapping[str, Any], file: Path) -> None:
    """The loss by step as a small figure, of the training set and of held-out samples."""
    curves = (("loss", "training set", "#2f6fdb"), ("held_out_loss", "held-out samples", "#d55e00"))
    with figure(file, 1, (6, 2.6), 10) as (panel,):
        for name, label, color in curves:
            if points := record.get(name):
                steps, losses = zip(*points, strict=True)
                panel.plot(steps, losses, color=color, linewidth=1.4, label=label)
        panel.set(xlabel="optimizer step", ylabel="loss per token")
        panel.legend(frameon=False)


if __name__ == "__main__":
    sys.exit(run_verb(cards))
