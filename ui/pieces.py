"""Small pieces of the page that several tabs use: states, problems, a dataset sample."""

from __future__ import annotations

import gradio as gr

from pipeline.models.families import Family
from pipeline.schema import Sample
from ui import markup
from ui.labels import family_label
from ui.markup import escape


def status(state: str, message: str, instead: Family | None = None) -> str:
    """One line on the state of the model; ``state`` colors its dot.

    ``instead`` is a family that can write without a download: a button switches to it.
    """
    offer = (
        f' <button type="button" data-family="{escape(instead.name)}">Switch to '
        f"{escape(family_label(instead))}, which is here</button>"
        if instead
        else ""
    )
    said = f'<span role="status">{escape(message)}</span>'
    return f'<p class="{escape(state)}"><span class="dot"></span><span>{said}{offer}</span></p>'


def waiting(message: str) -> str:
    """What the page waits for, in the place of what will come."""
    return f'<p class="waiting" role="status">{escape(message)}</p>'


def note(message: str) -> str:
    """A sentence beside what it is about."""
    return f'<p class="note">{escape(message)}</p>'


def problem(message: str) -> str:
    """Why there is nothing to show. What follows the first line is folded away."""
    said, _, cause = message.partition("\n")
    fold = f"<details><summary>Details</summary>{escape(cause)}</details>" if cause.strip() else ""
    return f'<div class="problem" role="alert">{escape(said)}{fold}</div>'


def tab_heading(title: str) -> gr.HTML:
    """Add the heading of a tab, for screen readers: the tab's name is there to be seen already."""
    return gr.HTML(f"<h2>{escape(title)}</h2>", elem_classes="sr", padding=False)


def show_on_a_phone(elem_id: str) -> str:
    """JavaScript that scrolls to a part which stands out of sight where all is one column."""
    return f"if (innerWidth < 760) document.getElementById('{elem_id}').scrollIntoView();"


def listing(title: str, text: str) -> str:
    """A long text to read, scroll with the keyboard and copy."""
    copy = f'<button type="button" class="copy" data-copy="{escape(text)}">Copy</button>'
    pre = f'<pre class="code" tabindex="0" aria-label="{escape(title)}">{escape(text)}</pre>'
    return f'<section class="listing"><header><h3>{escape(title)}</h3>{copy}</header>{pre}</section>'


def step(number: int, title: str) -> str:
    """The heading of one of the steps that a visitor takes."""
    return f'<h2 class="step"><b>{number}</b>{escape(title)}</h2>'


def sample_card(sample: Sample, position: str = "") -> str:
    """A dataset sample: its instruction and its origin."""
    return (
        f'<article class="sample"><header><h3><code>{escape(sample.function_name)}</code></h3>'
        f"<span>{escape(position)}</span></header>{markup.instruction(sample.prompt)}"
        f"<footer>{escape(' · '.join(filter(None, (sample.repo, sample.file))))}</footer></article>"
    )
