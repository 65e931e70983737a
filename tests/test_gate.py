"""What is refused before it costs anything: files, large bodies, and more calls than a visitor's share."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio.context import LocalContext
from starlette.requests import Request

from pipeline.schema import LabError
from pipeline.settings import Settings
from tests.jobs_kit import until
from ui import gate, theme
from ui.api.endpoint import publish
from ui.callbacks import IN_LINE, Page, visitor

STRANGER = {"X-Forwarded-For": "203.0.113.7"}
OTHER = {"X-Forwarded-For": "203.0.113.8"}


@dataclass
class Slow:
    """Endpoints that last until they are let go, and how many of them run."""

    go: threading.Event = field(default_factory=threading.Event)
    running: int = 0
    most: int = 0

    def work(self) -> int:
        """Work."""
        self.running += 1
        self.most = max(self.most, self.running)
        self.go.wait(30)
        self.running -= 1
        return self.most


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def url(slow: Slow, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    def two() -> int:
        """Work, two at a time."""
        return slow.work()

    def many() -> int:
        """Work, any number at a time."""
        return slow.work()

    def who() -> str:
        """Say who calls."""
        return visitor()

    settings = Settings(tmp_path_factory.mktemp("gate"))
    with Page(settings) as page:
        publish(page, two, concurrency_limit=2)
        publish(page, many, **IN_LINE)
        publish(page, who)
        gr.Textbox()
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **theme.launch(settings))
    yield f"{url}gradio_api/"
    slow.go.set()
    page.close()


def post(url: str, path: str, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
    return httpx.post(f"{url}{path}", headers=headers, timeout=60, **(more or {"json": {"data": []}}))


@pytest.mark.parametrize("path", ["upload", "process_recording", "component_server", "vibe-edit", "stream/x"])
def test_no_file_is_taken_from_a_stranger(url: str, path: str) -> None:
    for headers in (STRANGER, {"Origin": "https://another-site.example"}):
        reply = post(url, path, headers, files={"files": ("x.bin", b"x" * 1_000)})
        assert (reply.status_code, "does not take files" in reply.text) == (403, True)


def test_the_user_of_this_machine_sends_files_of_a_bounded_size(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "MAX_UPLOAD", 5_000)
    assert post(url, "upload", files={"files": ("x.csv", b"x" * 1_000)}).status_code == 200
    reply = post(url, "upload", files={"files": ("x.csv", b"x" * 9_000)})
    assert (reply.status_code, "at most 5,000 bytes" in reply.text) == (413, True)
    assert post(url, "process_recording", files={"files": ("x.bin", b"x")}).status_code == 403


def test_a_visitor_cannot_have_the_server_write_links(url: str) -> None:
    assert httpx.get(f"{url}deep_link?session_hash=x").status_code == 403


def test_a_large_body_is_refused_whether_it_tells_its_length_or_not(url: str) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(10):
            yield b" " * 1_000_000

    for content in (b" " * 5_000_000, parts()):
        reply = post(url, "run/two", {"content-type": "application/json"}, content=content)
        assert (reply.status_code, "at most 4,000,000 bytes" in reply.text) == (413, True)


def test_direct_calls_and_queued_ones_run_as_many_at_once_as_the_queue_allows(url: str, slow: Slow) -> None:
    with ThreadPoolExecutor() as pool:
        calls = [pool.submit(post, url, path) for path in ["run/two"] * 4 + ["call/two"] * 4]
        until(lambda: slow.running == 2)
        time.sleep(0.3)
        slow.go.set()
        assert {call.result().status_code for call in calls} == {200}
    assert slow.most == 2


@pytest.mark.parametrize("path", ["run/many", "call/many"])
def test_a_visitor_has_a_share_and_is_told_when_to_try_again(
    url: str, slow: Slow, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(gate, "MAX_CALLS_EACH", 3)
    with ThreadPoolExecutor() as pool:
        calls = [pool.submit(post, url, path, STRANGER) for _ in range(3)]
        until(lambda: slow.running == 3)
        refused = post(url, path, STRANGER)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
        assert "at most 3 may be" in refused.json()["detail"]
        calls += [pool.submit(post, url, path, OTHER), pool.submit(post, url, path)]
        until(lambda: slow.running == 5)
        slow.go.set()
        assert {call.result().status_code for call in calls} == {200}
    until(lambda: not slow.running)
    until(lambda: post(url, path, STRANGER).status_code == 200)


def test_the_total_is_bounded_too(url: str, slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MAX_CALLS", 3)
    for _ in range(3):  # a call counts until it is over, which is a moment after its answer was read
        until(lambda: post(url, "call/two").status_code == 200)
    refused = post(url, "call/two")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")


def test_open_streams_are_bounded_by_visitor(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MAX_OPEN_EACH", 2)
    with httpx.Client(headers=STRANGER, timeout=60) as client:
        with (
            client.stream("GET", f"{url}heartbeat/a") as first,
            client.stream("GET", f"{url}heartbeat/b") as second,
        ):
            assert first.status_code == second.status_code == 200
            assert client.get(f"{url}info").status_code == 429
        until(lambda: client.get(f"{url}info").status_code == 200)


def call_tool(url: str, **more: Any) -> str:
    """What the tool ``who`` answers an MCP client."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "who", "arguments": {}}}
    with httpx.Client(timeout=60, **more) as client:
        accept = {"accept": "application/json, text/event-stream"}
        return client.post(f"{url}mcp/", json=body, headers=accept).text


def test_each_mcp_client_is_a_visitor(url: str) -> None:
    assert "203.0.113.7" in call_tool(url, headers=STRANGER)
    assert "203.0.113.8" in call_tool(url, headers=OTHER)


def test_an_mcp_client_cannot_make_up_its_address(url: str) -> None:
    # Only a proxy at 127.0.0.1 is asked for the address; 127.0.0.2 is this machine, too.
    answer = call_tool(url, headers=STRANGER, transport=httpx.HTTPTransport(local_address="127.0.0.2"))
    assert ("127.0.0.2" in answer, "203.0.113.7" in answer) == (True, False)


def test_a_stranger_has_so_much_stored_in_an_hour_and_no_more() -> None:
    def call_from(host: str, peer: str) -> None:
        scope = {"type": "http", "headers": [(b"host", host.encode())], "client": (peer, 1)}
        LocalContext.request.set(gr.Request(Request(scope)))
        allowance.use()

    allowance = gate.Allowance(Settings.from_env({"HOST": "0.0.0.0"}), 2, "votes")
    for _ in range(2):
        call_from("lab.example", "203.0.113.7")
    with pytest.raises(LabError, match="At most 2 votes from one address"):
        call_from("lab.example", "203.0.113.7")
    call_from("lab.example", "203.0.113.8")
    allowance = gate.Allowance(Settings.from_env({}), 0, "votes")
    call_from("127.0.0.1:7860", "127.0.0.1")
    LocalContext.request.set(None)
