"""The table of a family's checkpoints and what is known of one, as HTML; and their losses to draw."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.decimals import NONE, decimal
from pipeline.evaluation.runs import Run
from pipeline.exchange.exports import record_of
from pipeline.models.checkpoints import IMPORTED
from pipeline.models.families import Family
from pipeline.models.recipes import WORDS, differing_values, short
from pipeline.schema import TRAINED_VARIANTS, Checkpoint, PromptVariant, counted
from pipeline.scoring import metric_of
from pipeline.scoring.text import CHRF
from ui.labels import checkpoint_label
from ui.markup import escape

_ORIGINS = {
    "base": "base model",
    "shipped": "shipped",
    "trained": "trained here",
    "published": "published",
    "imported": "imported",
}
_DRAWN = (1000, 260)  # width and height in units of the drawing
_HEADS = ("Checkpoint", "Prompt", "Recipe", CHRF, "Origin", "Size", "Fingerprint")


@dataclass(frozen=True)
class Listed:
    """A family's checkpoints as the table shows them.

    Attributes:
        hidden: names of those that Compare does not offer.
        with_folders: whether folders of this machine are shown; strangers do not see them.
        scores: see ``chrf_of``; None while the runs are read.
    """

    family: Family
    checkpoints: Sequence[Checkpoint]
    hidden: Collection[str]
    with_folders: bool
    scores: Mapping[tuple[str, PromptVariant], float] | None


def table(listed: Listed, chosen: Sequence[str]) -> str:
    """The checkpoints as a table whose rows choose them; several can be chosen."""
    heads = "".join(f'<th scope="col">{head}</th>' for head in _HEADS)
    rows = "".join(_row(listed, one, chosen) for one in listed.checkpoints)
    note = (
        f"{counted(len(listed.checkpoints), 'checkpoint')}. Press one to see it; press several to lay their"
    )
    note += f" losses over one another. {CHRF}: of this checkpoint's newest stored run on "
    note += f"{listed.family.dataset}; Results gives the mean over training seeds."
    body = f'<table class="checkpoints"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    return f'<div class="wide">{body}</div><p class="note">{escape(note)}</p>'


def _row(listed: Listed, one: Checkpoint, chosen: Sequence[str]) -> str:
    pressed = str(one.name in chosen).lower()
    current = ' aria-current="true"' if one.name in chosen else ""
    marks = "".join(
        f" <small>{mark}</small>"
        for mark, there in (("hidden in Compare", one.name in listed.hidden), ("unusable", one.problem))
        if there
    )
    label = checkpoint_label(one)
    name = f" <small>{escape(one.name)}</small>" if label != one.name and not one.is_baseline else ""
    cells = (
        escape(one.variant or "all"),
        escape(recipe_text(one, listed.family)),
        _score_cell(one, listed.scores),
        _ORIGINS[one.origin],
        _megabytes(one.path),
        f"<code>{escape(one.fingerprint)}</code>" if one.fingerprint else NONE,
    )
    return (
        f'<tr data-id="{escape(one.name)}"{current}><th scope="row">'
        f'<button type="button" aria-pressed="{pressed}">{escape(label)}</button>{name}{marks}</th>'
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + "</tr>"
    )


def _score_cell(one: Checkpoint, scores: Mapping[tuple[str, PromptVariant], float] | None) -> str:
    """The score; of a checkpoint for all prompts, the score under each prompt that one is trained on."""
    if scores is None:
        return "…"
    places = metric_of(CHRF).places
    if one.variant:
        return decimal(scores.get((one.fingerprint, one.variant)), places)
    found = [
        (name, scores[one.fingerprint, name])
        for name in TRAINED_VARIANTS
        if (one.fingerprint, name) in scores
    ]
    return ", ".join(f"{decimal(value, places)} {name}" for name, value in found) or NONE


def recipe_text(one: Checkpoint, family: Family) -> str:
    """What differs from the family's own recipe; ``standard`` if nothing does."""
    if one.is_baseline:
        return NONE
    if "epochs" not in one.recipe:
        known = [f"rank {one.recipe['lora_r']}", "else unknown"] if "lora_r" in one.recipe else ["unknown"]
        return ", ".join(known)
    told = differing_values(one.recipe, family.recipe)
    own_data = [str(one.recipe["dataset"])] if one.recipe.get("dataset") != family.dataset else []
    return ", ".join([*own_data, *told]) or "standard"


def _megabytes(folder: Path | None) -> str:
    if folder is None:
        return NONE
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    return f"{size / 1e6:,.1f} MB"


def detail(listed: Listed, one: Checkpoint) -> str:
    """One checkpoint: its attributes, and why it cannot be used if it cannot."""
    problem = f'<p class="problem" role="status">{escape(one.problem)}</p>' if one.problem else ""
    size = "" if one.subset_size is None or one.is_baseline else f"{one.subset_size:,}"
    facts = {
        "Name": one.name,
        "Training samples": size,
        "Prompt": one.variant,
        "Seed": one.seed,
        **{WORDS[name].capitalize(): short(one.recipe[name]) for name in WORDS if one.recipe.get(name)},
        "Dataset": one.recipe.get("dataset"),
        "From": record_of(one, IMPORTED).get("from"),
        "Published as": one.hub_id,
        "Fingerprint": one.fingerprint,
        "Folder": one.path if listed.with_folders else None,
    }
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in facts.items()
        if value not in (None, "")
    )
    facts_table = f'<table class="facts-table"><tbody>{rows}</tbody></table>'
    return f"<header><h3>{escape(checkpoint_label(one))}</h3></header>{problem}{facts_table}"


def losses(checkpoints: Sequence[Checkpoint]) -> str:
    """The losses of the chosen checkpoints over one another, as a drawing; empty where none has a record."""
    curves = {one.name: _points(record_of(one).get("loss")) for one in checkpoints}
    curves = {name: points for name, points in curves.items() if len(points) > 1}
    if not curves:
        return ""
    steps = [step for points in curves.values() for step, _ in points]
    values = [value for points in curves.values() for _, value in points]
    low, high, first, last = min(values), max(values), min(steps), max(steps)
    width, height = _DRAWN

    def place(step: float, value: float) -> str:
        across = math.log(step / first) / (math.log(last / first) or 1)
        down = (high - value) / ((high - low) or 1)
        return f"{width * across:.1f},{height * down:.1f}"

    lines = "".join(
        f'<polyline class="c{number}" points="{" ".join(place(*point) for point in points)}"/>'
        for number, points in enumerate(curves.values())
    )
    keys = "".join(
        f'<li class="c{number}">{escape(name)} <small>{decimal(points[-1][1])} after '
        f"{counted(int(points[-1][0]), 'step')}</small></li>"
        for number, (name, points) in enumerate(curves.items())
    )
    caption = (
        f"Training loss by step (log scale), from {decimal(high)} at the top to {decimal(low)} at the bottom"
    )
    return (
        f'<figure class="losses"><figcaption>{caption}; {last:,.0f} steps</figcaption>'
        f'<svg viewBox="0 0 {width} {height}" role="img" preserveAspectRatio="none" '
        f'aria-label="{caption}">{lines}</svg><ul>{keys}</ul></figure>'
    )


def _points(loss: object) -> list[tuple[float, float]]:
    """The points of a record's loss; a record can come from anywhere, so others are left out."""
    if not isinstance(loss, list):
        return []
    pairs = [point for point in loss if isinstance(point, list) and len(point) == 2]
    return [(step, value) for step, value in pairs if _is_number(step) and _is_number(value) and step > 0]


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def chrf_of(family: Family, runs: Sequence[Run]) -> dict[tuple[str, PromptVariant], float]:
    """The mean chrF by fingerprint and prompt variant, of the newest complete run of each.

    The runs are those on the family's own dataset that decode as the family does.
    """
    found = {}
    for run in sorted(runs, key=lambda run: run.config.created):
        config = run.config
        same = (config.family, config.dataset) == (family.name, family.dataset)
        usual = config.decoding.effective == family.sampling.effective
        if same and usual and run.complete:
            values = [score.value for score in run.scores(CHRF) if score.value is not None]
            if values:
                found[config.fingerprint, config.variant] = sum(values) / len(values)
    return found
