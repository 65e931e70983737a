"""What the page shows until Gradio has built its components, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

FIRST_SCREEN = [".masthead h1", ".guide", ".examples", ".sample"]
# The drawing is closed to scripts, and so to Playwright.
OPEN_IT = """
const attach = Element.prototype.attachShadow;
Element.prototype.attachShadow = function () { return attach.call(this, { mode: "open" }); };
"""
# The names of all tasks whose answers one could read.
SEEN = """
window.seen = new Set();
setInterval(() => document.querySelectorAll(".answers-to code").forEach((name) => {
  if (name.checkVisibility({ visibilityProperty: true })) seen.add(name.innerText);
}), 10);
"""
ON_A_PHONE = [".masthead h1", ".guide", ".answers-to h2", ".pane pre"]
ANSWERS = [".answers-to h2", ".scores td.best", ".pane h4", ".pane pre"]


@pytest.fixture
def unbuilt(chromium: Any) -> Iterator[Page]:
    """A tab in which Gradio builds nothing and calls nothing."""
    tab = chromium.new_page(viewport={"width": 1400, "height": 1000})
    tab.add_init_script(OPEN_IT)
    for blocked in ("**/assets/Blocks-*.js", "**/queue/*"):
        tab.route(blocked, lambda route: route.abort())
    yield tab
    tab.close()


def places(page: Page, parts: list[str]) -> list[Any]:
    """Where parts are on the screen."""
    expect(page.locator(parts[-1]).first).to_be_visible()
    boxes = [page.locator(part).first.bounding_box() for part in parts]
    return [(round(box["x"]), round(box["y"]), round(box["width"])) for box in boxes if box]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_first_answers_need_neither_gradios_components_nor_a_call(
    unbuilt: Page, app_url: str, scheme: Any
) -> None:
    unbuilt.emulate_media(color_scheme=scheme)
    unbuilt.goto(f"{app_url}?from=a-newsletter")
    expect(unbuilt.locator(".answers-to h2")).to_have_text("Stored answers to _interpolation_search")
    expect(unbuilt.locator(".pane pre").first).to_be_in_viewport()
    expect(unbuilt.locator(".scores td.best").first).to_have_css(
        "color", "rgb(15, 118, 110)" if scheme == "light" else "rgb(45, 212, 191)"
    )


@pytest.mark.parametrize(
    ("width", "height", "parts"), [(1400, 1000, [*FIRST_SCREEN, *ANSWERS]), (390, 844, ON_A_PHONE)]
)
def test_the_components_come_in_the_same_places(
    unbuilt: Page, app_url: str, width: int, height: int, parts: list[str]
) -> None:
    unbuilt.set_viewport_size({"width": width, "height": height})
    unbuilt.goto(app_url)
    before = places(unbuilt, parts)
    unbuilt.unroute("**/assets/Blocks-*.js")
    unbuilt.reload()
    expect(unbuilt.locator("#write-live")).to_be_visible()
    expect(unbuilt.locator("#opening")).to_have_count(0)
    assert places(unbuilt, parts) == before


def test_a_phone_s_first_screen_has_scores_and_a_bar_of_one_row_and_the_first_answer_is_near(
    tab: Page, app_url: str
) -> None:
    tab.set_viewport_size({"width": 390, "height": 844})
    tab.goto(app_url)
    expect(tab.locator("#write-live")).to_be_enabled()
    rows, answer = places(tab, [".scores tbody tr:nth-child(4)", ".pane pre"])
    bar = tab.locator(".actions").bounding_box()
    assert bar
    assert bar["height"] <= 64
    assert rows[1] + 30 < bar["y"]
    assert rows[1] < answer[1] < 1.5 * 844
    tops = {each.bounding_box()["y"] for each in tab.locator(".tab-container").first.get_by_role("tab").all()}
    assert len(tops) == 1


def test_on_a_narrow_phone_neither_four_columns_nor_a_fold_scroll_sideways(tab: Page, app_url: str) -> None:
    tab.set_viewport_size({"width": 375, "height": 844})
    tab.goto(app_url)
    expect(tab.locator("#write-live")).to_be_enabled()
    for part in (".scores", ".gr-accordion"):
        assert (
            tab.locator(part)
            .locator("visible=true")
            .first.evaluate("each => each.scrollWidth <= each.clientWidth")
        )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_scroll_bars_have_the_colors_of_the_page(tab: Page, app_url: str, scheme: Any) -> None:
    tab.emulate_media(color_scheme=scheme)
    tab.goto(app_url)
    expect(tab.locator("#write-live")).to_be_visible()
    expect(tab.locator("html")).to_have_css("color-scheme", "dark" if scheme == "dark" else "normal")
    tab.emulate_media(color_scheme="light")


def test_nothing_is_there_twice_once_the_components_are_built(tab: Page, app_url: str) -> None:
    tab.goto(app_url)
    expect(tab.locator("#write-live")).to_be_enabled()
    for part in (".masthead", ".guide", ".answers-to", ".scores"):
        expect(tab.locator(part)).to_have_count(1)


@pytest.mark.parametrize("view", ["tab=results", "family=smollm2-135m", "sample=other"])
def test_an_address_with_a_view_does_not_open_with_other_answers(
    unbuilt: Page, app_url: str, view: str
) -> None:
    unbuilt.goto(f"{app_url}?{view}")
    expect(unbuilt.locator("gradio-app")).to_be_attached()
    expect(unbuilt.locator(".pane")).to_have_count(0)


def test_a_link_to_a_sample_never_shows_the_answers_to_another(tab: Page, app_url: str) -> None:
    tab.goto(app_url)
    expect(tab.locator("#write-live")).to_be_enabled()
    example = tab.locator(".examples button").last
    example.click()
    expect(tab.locator(".answers-to code")).to_have_text(example.inner_text())
    tab.wait_for_url("**sample=**")
    linked = tab.context.new_page()
    linked.add_init_script(SEEN)
    linked.goto(tab.url)
    expect(linked.locator(".answers-to code")).to_be_visible()
    linked.wait_for_function("seen.size")
    expect(linked.locator("#write-live")).to_be_enabled()
    assert linked.evaluate("[...seen]") == [example.inner_text()]
    linked.close()
