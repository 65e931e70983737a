"""What more training data does, as a figure and as samples a click away, by ``maintenance.examples``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast

from pipeline.models.families import load_families
from pipeline.schema import PromptVariant
from pipeline.settings import Settings
from ui.labels import family_label
from ui.markup import escape

# Marks the button of the sample that is shown.
MARK = """(shown) => document.querySelectorAll(".examples [data-id]").forEach(
  (button) => button.setAttribute("aria-pressed", button.dataset.id === shown)
)"""
# A click shows the sample.
PICK = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-id]");
  if (button) trigger("click", button.dataset);
});
"""
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)
_SAID = {
    "helps": "More training data helps",
    "changes nothing": "It does not help",
    "harms": "It harms",
}


@dataclass(frozen=True)
class Example:
    """A sample, the prompt variant under which it is one, and what more training data does there."""

    effect: str
    variant: PromptVariant
    sample: str


@dataclass(frozen=True)
class Finding:
    """What fine-tuning on more and more samples does to a family under one prompt variant.

    Attributes:
        variant: the prompt variant.
        passed: the share of answers that pass their tests (0 to 1) by training samples, 0 for the baseline.
        differs: whether the largest training differs from the baseline by more than chance.
    """

    variant: PromptVariant
    passed: Mapping[int, float]
    differs: bool


def read_examples(settings: Settings, family: str) -> list[Example]:
    """Return a family's examples, the one to open with first; none where the file cannot be read."""
    try:
        found = _read(settings)["families"].get(family, ())
        return [Example(str(each["effect"]), each["prompt"], str(each["sample"])) for each in found]
    except _UNREADABLE:
        return []


def read_findings(settings: Settings, family: str) -> list[Finding]:
    """Return what fine-tuning does to a family, that prompt first which it helps most; none if not known."""
    try:
        return [
            Finding(
                each["prompt"], {int(n): float(share) for n, share in each["passed"].items()}, each["differs"]
            )
            for each in _read(settings)["findings"].get(family, ())
        ]
    except _UNREADABLE:
        return []


def _read(settings: Settings) -> dict[str, Any]:
    text = (settings.assets / "examples.json").read_text(encoding="utf-8")
    return cast(dict[str, Any], json.loads(text))


def buttons(settings: Settings, family: str, shown: str) -> str:
    """A button for each example, by effect; that of the sample that is shown is marked.

    The shown sample can also be an example of another family. It then keeps its button.
    """
    own = read_examples(settings, family)
    groups = "".join(
        _group(_SAID.get(effect, effect), examples, shown)
        for effect, examples in groupby(own, key=lambda each: each.effect)
    )
    if shown not in [each.sample for each in own]:
        for other in load_families(settings).values():
            kept = [each for each in read_examples(settings, other.name) if each.sample == shown]
            if kept and other.name != family:
                groups += _group(f"An example of {family_label(other)}", kept, shown)
    return f'<div class="examples" role="group" aria-label="Examples">{groups}</div>' if groups else ""


def _group(said: str, examples: Iterable[Example], shown: str) -> str:
    names = "".join(
        f'<button type="button" data-id="{escape(each.sample)}" data-variant="{escape(each.variant)}" '
        f'aria-pressed="{str(each.sample == shown).lower()}">'
        f"{escape(each.sample.rpartition('::')[2])}</button>"
        for each in examples
    )
    return f"<p><span>{escape(said)}:</span>{names}</p>"
