"""What the Compare tab shows, for tests in a browser."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

WAIT = 90_000  # milliseconds, for what needs the model


def pane(page: Page, name: str) -> Any:
    """The pane of a column."""
    return page.get_by_role("region", name=name, exact=True)


def score(page: Page, metric: str, name: str) -> Any:
    """The cell of the score table for a metric and a column, of one prompt variant.

    It is looked for again and again, as the table is drawn anew while answers come.
    """
    head = f"ancestor::table/thead/tr[last()]/th[normalize-space(.)='{name.partition(' · ')[0]}']"
    row = page.get_by_role("table", name="Scores", exact=True).get_by_role("row", name=metric)
    return row.locator(f"xpath=td[position()=count({head}[1]/preceding-sibling::*)]")
