"""Samples that show what more training data does, a click away; ``maintenance.examples`` chooses them."""

from __future__ import annotations

import json
from itertools import groupby

from pipeline.settings import Settings
from ui.markup import escape

# A click shows the sample.
PICK = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-id]");
  if (button) trigger("click", { id: button.dataset.id });
});
"""
_SAID = {
    "helps": "More training data helps",
    "changes nothing": "It changes nothing",
    "harms": "It harms",
}


def list_examples(settings: Settings, family: str) -> list[tuple[str, str]]:
    """A family's examples: effect and sample id; none where the file cannot be read."""
    try:
        found = json.loads((settings.assets / "examples.json").read_text(encoding="utf-8"))["families"]
        return [(str(each["effect"]), str(each["sample"])) for each in found.get(family, ())]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def first_example(settings: Settings, family: str) -> str:
    """The id of the sample to open with; empty if there is none."""
    return next((sample for _, sample in list_examples(settings, family)), "")


def buttons(settings: Settings, family: str) -> str:
    """A button for each example, by effect."""
    groups = ""
    for effect, examples in groupby(list_examples(settings, family), key=lambda each: each[0]):
        names = "".join(
            f'<button type="button" data-id="{escape(sample)}">{escape(sample.rpartition("::")[2])}</button>'
            for _, sample in examples
        )
        groups += f"<p><span>{_SAID.get(effect, escape(effect))}:</span>{names}</p> "
    return f'<div class="examples" role="group" aria-label="Examples">{groups}</div>' if groups else ""
