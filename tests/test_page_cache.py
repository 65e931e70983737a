"""The page is made once for each address of the server, and sent compressed to who takes that."""

from __future__ import annotations

from collections.abc import Iterator

import gradio as gr
import httpx
import pytest

from pipeline.settings import Settings
from ui import theme
from ui.callbacks import Page


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"))
    with Page(settings) as page:
        gr.Markdown("A page with a word of its own: zeugma.")
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **theme.launch(settings))
    yield url
    page.close()


def get(url: str, **headers: str) -> httpx.Response:
    return httpx.get(url, headers={"Accept-Encoding": "identity", **headers})


def test_the_second_request_gets_the_same_page(url: str) -> None:
    first, second = get(url), get(url)
    assert "zeugma" in first.text
    assert (first.status_code, first.text) == (second.status_code, second.text)


def test_a_browser_gets_the_same_page_compressed(url: str) -> None:
    for _ in range(2):
        packed = get(url, **{"Accept-Encoding": "gzip, br"})
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.text == get(url).text
        assert int(packed.headers["content-length"]) < len(packed.text) / 3


@pytest.mark.parametrize("header", ["Host", "X-Forwarded-Host"])
def test_each_address_of_the_server_has_its_own_page(url: str, header: str) -> None:
    own = get(url).text
    other = get(url, **{header: "lab.example"}).text
    assert "http://lab.example" in other
    assert "http://lab.example" not in own
    assert get(url).text == own


@pytest.mark.parametrize(("query", "status"), [("page=nowhere", 400), ("deep_link=none", 200)])
def test_what_asks_gradio_for_another_page_gets_that(url: str, query: str, status: int) -> None:
    own = get(url).text
    other = get(f"{url}?{query}")
    assert other.status_code == status
    assert other.text != own
    assert get(f"{url}?tab=results").text == own
