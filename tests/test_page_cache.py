"""The page is made once for each address of the server, and sent compressed to who takes that."""

from __future__ import annotations

from collections.abc import Iterator

import gradio as gr
import httpx
import pytest
from starlette.responses import HTMLResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from pipeline.settings import Settings
from ui import theme
from ui.callbacks import Page
from ui.page_cache import MAX_PAGES, PageCache


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


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip;q=0", False), ("gzip; q=0.000, br", False), ("*;q=0", False), ("gzip;q=0, *", False),
        ("x-gzipped", False), ("br, identity", False), ("", False), ("gzip;q=nan", False), ("gzip;q=", False),
        ("gzip;q=0.5", True), ("*", True), ("br;q=1, GZIP ; Q=1", True), ("*;q=0, gzip", True),
    ],
)  # fmt: skip
def test_the_page_is_compressed_only_for_whom_takes_that(url: str, accepted: str, packed: bool) -> None:
    reply = get(url, **{"Accept-Encoding": accepted})
    assert reply.headers.get("content-encoding") == ("gzip" if packed else None)
    assert "zeugma" in reply.text


def test_a_head_request_is_answered_with_the_headers_of_the_page(url: str) -> None:
    for accepted in ("identity", "gzip"):
        page = get(url, **{"Accept-Encoding": accepted})
        head = httpx.head(url, headers={"Accept-Encoding": accepted})
        assert head.content == b""
        for name in ("vary", "content-type", "content-length", "content-encoding"):
            assert head.headers.get(name) == page.headers.get(name)


class Made:
    """A page that says how often one was made."""

    def __init__(self) -> None:
        self.times = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.times += 1
        await HTMLResponse(f"page {self.times}")(scope, receive, send)


def test_made_up_addresses_do_not_take_the_place_of_the_one_that_is_used() -> None:
    client = TestClient(PageCache(Made(), opening=""), "http://lab.example")
    usual = [client.get("/").text for _ in range(2)]
    for number in range(5 * MAX_PAGES):
        client.get("/", headers={"X-Forwarded-Host": f"made-up-{number}.example"})
    assert [client.get("/").text for _ in range(2)] == usual


@pytest.mark.parametrize("header", ["Host", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Gradio-Server"])
def test_no_page_is_kept_for_an_address_that_is_longer_than_any(header: str) -> None:
    made = Made()
    client = TestClient(PageCache(made, opening=""), "http://lab.example")
    for _ in range(2):
        assert client.get("/", headers={header: "x" * 4_000}).status_code == 200
    assert made.times == 2


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


def test_the_page_has_the_opening_once_and_loads_its_colors_with_it(url: str) -> None:
    page = get(url)
    opening = theme.opening()
    assert page.text.count(opening) == 1
    assert page.text.index("theme.css?v=") < page.text.index("</head>")
    assert page.text.index(opening) < page.text.index("<gradio-app")
    assert int(page.headers["content-length"]) == len(page.content)
