"""What the Compare tab shows, for tests in a browser."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

WAIT = 90_000  # milliseconds, for what needs the model


def pane(page: Page, name: str) -> Any:
    """The pane of a column."""
    return page.get_by_role("region", name=name, exact=True)


def score(page: Page, metric: str, name: str) -> Any:
    """The cell of the score table for a metric and a column, of one prompt variant."""
    table = page.get_by_role("table", name="Scores", exact=True)
    expect(table).to_be_visible(timeout=WAIT)
    heads = table.get_by_role("columnheader").all_inner_texts()
    return (
        table.get_by_role("row", name=metric).get_by_role("cell").nth(heads.index(name.partition(" · ")[0]))
    )
