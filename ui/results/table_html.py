"""Tables and lists as HTML, for all that the Results tab shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from ui.markup import escape


def frame(data: pd.DataFrame, caption: str, row_headers: int = 1) -> str:
    """A table of figures; the first columns head their rows."""
    rows = ""
    for row in data.itertuples(index=False):
        cells = [escape(cell) for cell in row]
        rows += "<tr>" + "".join(f'<th scope="row">{cell}</th>' for cell in cells[:row_headers])
        rows += "".join(f"<td>{cell}</td>" for cell in cells[row_headers:]) + "</tr>"
    return table(caption, heads(map(str, data.columns)), rows, "figures")


def table(caption: str, head: str, rows: str, kind: str) -> str:
    """A table that scrolls sideways where it must; ``kind`` is its style."""
    return (
        f'<div class="wide" tabindex="0"><table class="{kind}"><caption>{escape(caption)}</caption>'
        f"<thead>{head}</thead><tbody>{rows}</tbody></table></div>"
    )


def tall(caption: str, head: str, rows: str, kind: str = "") -> str:
    """A long table that scrolls under its header; its caption is for screen readers."""
    inner = f'<table class="matrix samples {kind}"><caption class="sr">{escape(caption)}</caption>'
    return f'<div class="tall" tabindex="0">{inner}<thead>{head}</thead><tbody>{rows}</tbody></table></div>'


def heads(names: Iterable[str]) -> str:
    """A row of column heads."""
    return "<tr>" + "".join(f'<th scope="col">{escape(name)}</th>' for name in names) + "</tr>"


def bullets(lines: Sequence[str]) -> str:
    """Sentences as a list."""
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def folded(title: str, lines: Sequence[str]) -> str:
    """Sentences as a list that opens by its title."""
    return f"<details><summary>{escape(title)}</summary>{bullets(lines)}</details>"


def opener(sample: str, name: str) -> str:
    """The first cell of a sample's row: a button with its name, so that a keyboard reaches it."""
    return f'<th scope="row"><button type="button" title="{escape(sample)}">{escape(name)}</button></th>'
