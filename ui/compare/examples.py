"""Samples that show what more training data does, a click away; ``maintenance.examples`` chooses them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import groupby

from pipeline.schema import PromptVariant
from pipeline.settings import Settings
from ui.markup import escape

# A click shows the sample.
PICK = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-id]");
  if (button) trigger("click", button.dataset);
});
"""
_SAID = {
    "helps": "More training data helps",
    "changes nothing": "It changes nothing",
    "harms": "It harms",
}


@dataclass(frozen=True)
class Example:
    """A sample, the prompt variant under which it is one, and what more training data does there."""

    effect: str
    variant: PromptVariant
    sample: str


def read_examples(settings: Settings, family: str) -> list[Example]:
    """Return a family's examples, the one to open with first; none where the file cannot be read."""
    try:
        text = (settings.assets / "examples.json").read_text(encoding="utf-8")
        found = json.loads(text)["families"].get(family, ())
        return [Example(str(each["effect"]), each["prompt"], str(each["sample"])) for each in found]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def buttons(settings: Settings, family: str) -> str:
    """A button for each example, by effect."""
    groups = ""
    for effect, examples in groupby(read_examples(settings, family), key=lambda each: each.effect):
        names = "".join(
            f'<button type="button" data-id="{escape(each.sample)}" data-variant="{escape(each.variant)}">'
            f"{escape(each.sample.rpartition('::')[2])}</button>"
            for each in examples
        )
        groups += f"<p><span>{_SAID.get(effect, escape(effect))}:</span>{names}</p> "
    return f'<div class="examples" role="group" aria-label="Examples">{groups}</div>' if groups else ""
