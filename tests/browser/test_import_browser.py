"""Importing a dataset of one's own in the page, as a person does it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.own_data import rows, write_csv

NAME = re.compile("^Name Lower-case")


@pytest.fixture
def page(tab: Page, app_url: str) -> Page:
    tab.goto(f"{app_url}?tab=dataset")
    tab.get_by_role("button", name="Import your own").click()
    return tab


def choose_file(page: Page, file: Path) -> None:
    page.locator("#import-own input[type=file]").set_input_files(file)


def test_a_csv_is_previewed_imported_listed_and_deleted(page: Page, tmp_path: Path) -> None:
    content = [{"<b>bold</b>": "x", **row} for row in [*rows(40), rows(1)[0]]]
    choose_file(page, write_csv(tmp_path / "My rows.csv", content, "utf-8-sig"))
    form = page.locator("#import-own")
    expect(form).to_contain_text("40 of 41 rows can be used")
    expect(form).to_contain_text("1 row equal to an earlier row (data row 41)")
    expect(form.get_by_role("columnheader").first).to_have_text("<b>bold</b>")
    expect(page.get_by_role("textbox", name=NAME)).to_have_value("my-rows")
    page.get_by_role("button", name="Import", exact=True).click()
    expect(form).to_contain_text("Imported: my-rows has")
    page.get_by_role("button", name="Fine-tune on it").click()
    expect(page.locator("#jobs-finetune .command")).to_contain_text("--subset-size=33 --dataset=my-rows")
    page.get_by_role("tab", name="Dataset").click()
    expect(page.locator(".rows:visible button").first).to_contain_text("scale_")
    page.get_by_role("button", name="Compare on this sample").click()
    expect(page.locator(".sample:visible h3")).to_contain_text("scale_")
    expect(page.get_by_label("Dataset", exact=True).locator("visible=true")).to_have_value("my-rows")
    page.get_by_label("Model family").locator("visible=true").click()
    page.get_by_role("option", name="SmolLM2").click()
    page.get_by_label("Augmented", exact=True).check()
    expect(page.locator("#task .problem")).to_contain_text("has no files around its code")
    expect(page.locator(".sample:visible h3")).to_contain_text("scale_")
    page.get_by_role("button", name="Write live").click()
    expect(page.locator("#notice")).to_contain_text("has no files around its code")
    page.get_by_role("tab", name="Dataset").click()
    page.get_by_role("button", name="Delete this dataset").click()
    page.get_by_role("button", name="Yes, delete it").click()
    expect(page.get_by_label("Dataset", exact=True).locator("visible=true")).to_have_value("packages")
    expect(page.get_by_role("button", name="Delete this dataset")).to_be_hidden()


def test_a_name_that_is_refused_and_another_column_change_the_report_at_once(
    page: Page, tmp_path: Path
) -> None:
    choose_file(page, write_csv(tmp_path / "rows.csv", rows(40)))
    form = page.locator("#import-own")
    expect(form).to_contain_text("40 of 40 rows can be used")
    form.get_by_label(re.compile("^Code")).click()
    page.get_by_role("option", name="instruction").click()
    expect(form.get_by_role("alert")).to_contain_text("Code must be another column than the instruction")


def test_a_file_that_is_no_table_is_refused_in_words(page: Page, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"instruction,code\ncaf\xe9,x\n")
    choose_file(page, tmp_path / "rows.csv")
    expect(page.locator("#import-own").get_by_role("alert")).to_contain_text(
        "Line 2 of rows.csv is not UTF-8 (byte 0xe9). Save the file as UTF-8."
    )


@pytest.mark.parametrize("width", [390, 1400])
def test_the_open_form_is_not_wider_than_the_screen(page: Page, tmp_path: Path, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    choose_file(page, write_csv(tmp_path / "rows.csv", rows(40)))
    expect(page.locator("#import-own")).to_contain_text("40 of 40 rows can be used")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
