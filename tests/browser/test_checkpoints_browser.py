"""The Checkpoints tab in a real browser: losses over one another, import, rename, hide, and delete."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from pipeline.models.checkpoints import checkpoints_dir
from pipeline.models.families import Family
from pipeline.settings import Settings
from tests.conftest import serve

WAIT = 60_000  # milliseconds


def test_a_person_imports_compares_renames_hides_and_deletes_a_checkpoint(
    fresh: Settings, family: Family, chromium: Any, tmp_path: Path
) -> None:
    own = checkpoints_dir(fresh, family) / "mine"
    shutil.copytree(fresh.assets / "checkpoints" / family.name / "200-regular", own)
    file = tmp_path / "theirs.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for each in (fresh.assets / "checkpoints" / family.name / "500-augmented").iterdir():
            archive.write(each, f"theirs/{each.name}")
    with serve(fresh) as url:
        page = chromium.new_page()
        page.set_default_timeout(WAIT)
        page.goto(f"{url}?tab=checkpoints&family={family.name}")
        rows = page.locator("#checkpoints-table")
        for name in ("mine", "1000-regular"):
            rows.locator(f"tr[data-id='{name}'] button").click()
            expect(page.locator("#checkpoints-curve li", has_text=name)).to_be_visible()
        expect(page.locator("#checkpoints-curve polyline")).to_have_count(2)
        expect(page.get_by_role("button", name="Delete", exact=True)).to_be_hidden()  # it ships

        page.get_by_role("button", name="Import a checkpoint").click()
        page.locator("#import-checkpoint input[type=file]").set_input_files(file)
        page.get_by_role("button", name="Import", exact=True).click()
        expect(page.locator("#checkpoints-detail h3")).to_have_text("theirs")
        expect(rows.locator("tr[data-id='theirs']")).to_contain_text("imported")

        page.get_by_role("button", name="Rename, push to the hub").click()
        page.get_by_label("New name").fill("ours")
        page.get_by_role("button", name="Rename", exact=True).click()
        expect(page.locator("#checkpoints-detail h3")).to_have_text("ours")
        page.get_by_role("button", name="Hide in Compare").click()
        expect(rows.locator("tr[data-id='ours']")).to_contain_text("hidden in Compare")

        page.get_by_role("button", name="Delete", exact=True).click()
        assert (own.parent / "ours").is_dir()  # it asks first
        page.get_by_role("button", name="Yes, delete it").click()
        expect(rows.locator("tr[data-id='ours']")).to_have_count(0)
        assert not (own.parent / "ours").exists()
