"""Pictures of every tab, to be looked at: desktop, phone and dark, into ``build/screenshots``.

``make screenshots`` runs it.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from pipeline.settings import ROOT, Settings
from tests.browser.conftest import find_browser
from tests.conftest import SHARED, isolated, serve

OUT = ROOT / "build" / "screenshots"
LOOKS: dict[str, tuple[int, int, str]] = {
    "desktop": (1280, 900, "light"),
    "phone": (390, 844, "light"),
    "dark": (1280, 900, "dark"),
}
"""Width, height and theme by name."""
PLACES = {
    "compare": ("", ".answers-to"),
    "results": ("tab=results", ".headline"),
    "results-pairs": ("tab=results&section=pairs", ".pairs"),
    "results-samples": ("tab=results&section=samples", "#results-matrix tr"),
    "results-tests": ("tab=results&section=tests", "#results-agreement table"),
    "results-disagreement": ("tab=results&section=disagreement", "#results-disagreement table"),
    "results-votes": ("tab=results&section=votes", "#results-votes .note"),
    "results-runs": ("tab=results&section=runs", "#results-runs table"),
    "dataset": ("tab=dataset", "#open-sample .sample"),
    "checkpoints": ("tab=checkpoints", "#checkpoints-table table"),
    "jobs": ("tab=jobs", "#jobs-queue .note"),
    "about": ("tab=about", ".facts-table"),
}
"""The query of each place, and what is there once it is drawn."""


def main() -> None:
    """Serve the app with a new data folder, and take all pictures."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(isolated(Settings(data_dir=SHARED), Path(folder) / "data")) as url,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        for look, (width, height, theme) in LOOKS.items():
            page = browser.new_page(viewport={"width": width, "height": height})
            for name, (query, ready) in PLACES.items():
                _take(page, f"{url}?__theme={theme}&{query}", ready, OUT / f"{name}-{look}.png")
            page.close()
        browser.close()
    print(f"{len(list(OUT.iterdir()))} pictures are in {OUT}.")


def _take(page: Page, url: str, ready: str, file: Path) -> None:
    page.goto(url)
    place: Any = page.locator(f"{ready}:visible").first
    place.wait_for(timeout=120_000)
    page.wait_for_timeout(1_500)  # charts and colors come to rest
    page.screenshot(path=file, full_page=True)


if __name__ == "__main__":
    main()
