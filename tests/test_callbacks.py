"""How callbacks and endpoints fail: in words, as text, and with the names that the reader knows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import gradio as gr
import httpx
import pandas as pd
import pytest

from pipeline.evaluation.limits import check_number, check_text
from pipeline.schema import FieldError, LabError
from pipeline.settings import Settings
from tests.jobs_kit import until
from ui import callbacks, theme
from ui.api.endpoint import endpoint, publish
from ui.callbacks import QUIET, UNEXPECTED, Page, in_form_words, while_read

HOSTILE = "<img src=x onerror=alert(1)>"


@endpoint
def refuse(text: str = HOSTILE) -> str:
    """Refuse a text.

    Args:
        text: anything
    """
    raise LabError(f"No {text} here.")


def fail() -> None:
    raise KeyError(HOSTILE)


@dataclass
class Endless:
    """A callback that streams until it is closed."""

    running: int = 0

    def count(self) -> Iterator[int]:
        """Count."""
        self.running += 1
        try:
            for number in range(10_000):
                time.sleep(0.02)
                yield number
        finally:
            self.running -= 1


@pytest.fixture(scope="module")
def endless() -> Endless:
    return Endless()


@pytest.fixture(scope="module")
def page(endless: Endless, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    settings = Settings(tmp_path_factory.mktemp("callbacks"))

    def count() -> Iterator[int]:
        """Count."""
        yield from while_read(endless.count())

    with Page(settings) as page:
        publish(page, refuse)
        publish(page, count, concurrency_limit=None)
        box = gr.Textbox(HOSTILE)
        number = gr.Number(minimum=0)
        button = gr.Button()
        button.click(lambda text: refuse(text), box, None, api_name="refused", **QUIET)
        button.click(fail, None, None, **QUIET)
        button.click(lambda: {}, None, [box, number], api_name="change_nothing", **QUIET)
        table = gr.Dataframe(headers=["size"])
        button.click(lambda: pd.DataFrame({"size": [200]}), None, table, api_name="show_table", **QUIET)
        button.click(lambda value: "\ud83d" * int(value), number, box, api_name="halves", **QUIET)
        boxes = gr.CheckboxGroup(["old", "both"])
        change = partial(gr.CheckboxGroup, ["both", "new"], value=["both"])
        button.click(lambda: change(), None, boxes, api_name="change_choices", **QUIET)
        button.click(lambda ticked: ",".join(ticked), boxes, box, api_name="show_ticked", **QUIET)
        menu = gr.Dropdown(["old", "both"])
        button.click(partial(gr.Dropdown, ["both", "new"]), None, menu, api_name="change_menu", **QUIET)
        button.click(repr, menu, box, api_name="show_chosen", **QUIET)
    page.launch(prevent_thread_lock=True, quiet=True, **theme.launch(settings))
    yield page
    page.close()


@pytest.fixture(scope="module")
def url(page: Page) -> str:
    return page.local_url


def call(url: str, name: str, *values: object) -> httpx.Response:
    return httpx.post(f"{url}gradio_api/run/{name}", json={"data": values}, timeout=60)


def test_an_endpoint_fails_in_plain_text_and_a_callback_in_html(url: str) -> None:
    for name, said in (("refuse", HOSTILE), ("refused", "&lt;img src=x onerror=alert(1)&gt;")):
        reply = call(url, name, HOSTILE)
        assert reply.status_code == 400
        assert reply.json()["error"] == f"No {said} here."


def test_a_call_from_before_the_choices_changed_is_answered_for_those_that_are_still_offered(
    url: str,
) -> None:
    session = {"session_hash": "one-visitor"}
    for name, ticked in (("change_choices", []), ("show_ticked", [["old", "both"]])):
        reply = httpx.post(f"{url}gradio_api/run/{name}", json={"data": ticked, **session}, timeout=60)
    assert reply.json()["data"] == ["both"]


@pytest.mark.parametrize(("chosen", "got"), [("old", "None"), ("both", "'both'")])
def test_a_call_from_before_a_dropdown_s_choices_changed_has_none_of_those_that_are_gone(
    url: str, chosen: str, got: str
) -> None:
    session = {"session_hash": f"visitor-of-{chosen}"}
    for name, given in (("change_menu", []), ("show_chosen", [chosen])):
        reply = httpx.post(f"{url}gradio_api/run/{name}", json={"data": given, **session}, timeout=60)
    assert reply.json()["data"] == [got]


def test_a_value_that_a_dropdown_never_offered_is_refused(url: str) -> None:
    assert "do not fit the call" in call(url, "show_chosen", "nonsense").json()["error"]


def test_a_callback_that_updates_no_component_leaves_all_as_they_are(url: str) -> None:
    assert call(url, "change_nothing").json()["data"] == [{"__type__": "update"}] * 2


def test_a_callback_shows_a_table(url: str) -> None:
    assert call(url, "show_table").json()["data"][0]["data"] == [[200]]


@pytest.mark.parametrize("route", ["run", "call"])
def test_a_parameter_that_is_left_out_at_the_end_of_a_direct_call_has_its_default(
    url: str, route: str
) -> None:
    reply = httpx.post(f"{url}gradio_api/{route}/refuse", json={"data": []}, timeout=60)
    said = reply.text
    if route == "call":
        said = httpx.get(f"{url}gradio_api/call/refuse/{reply.json()['event_id']}", timeout=60).text
    assert f"No {HOSTILE} here." in said


def test_an_unexpected_error_is_logged_and_not_told(url: str, caplog: pytest.LogCaptureFixture) -> None:
    reply = call(url, "fail")
    assert reply.status_code == 400
    assert reply.json()["error"] == UNEXPECTED.replace("'", "&#x27;")
    assert "KeyError" in caplog.text


def test_a_post_whose_events_nobody_reads_is_closed(
    url: str, endless: Endless, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "UNREAD_SECONDS", 1.0)
    httpx.post(f"{url}gradio_api/call/count", json={"data": []})
    assert until(lambda: endless.running)
    assert until(lambda: not endless.running, 15)


def test_a_reader_keeps_a_callback_running_and_one_who_hangs_up_closes_it(
    url: str, endless: Endless, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "UNREAD_SECONDS", 1.5)
    event = httpx.post(f"{url}gradio_api/call/count", json={"data": []}).json()["event_id"]
    begun = time.monotonic()
    with httpx.stream("GET", f"{url}gradio_api/call/count/{event}") as events:
        for _ in events.iter_lines():
            if time.monotonic() - begun > 3:
                break
        assert endless.running
    until(lambda: not endless.running, 10)


@pytest.mark.parametrize("values", [["x"], [[]], [-1], [], [{"a": 1}]])
def test_values_that_do_not_fit_are_refused_without_the_words_of_gradio(
    url: str, values: list[object]
) -> None:
    reply = call(url, "halves", *values)
    assert reply.status_code == 400
    assert reply.json()["error"].startswith("These values do not fit the call.")


def test_what_is_sent_holds_no_half_of_a_character(url: str) -> None:
    assert call(url, "halves", 2).json()["data"] == ["\N{REPLACEMENT CHARACTER}" * 2]


def test_a_call_without_a_session_leaves_none_behind(page: Page, url: str) -> None:
    for name, values in (("halves", [2]), ("refuse", ["x"])):
        event = httpx.post(f"{url}gradio_api/call/{name}", json={"data": values}).json()["event_id"]
        httpx.get(f"{url}gradio_api/call/{name}/{event}", timeout=60)
        assert event not in page.state_holder


def test_a_session_keeps_no_copy_of_the_components_and_their_values(page: Page, url: str) -> None:
    httpx.post(f"{url}gradio_api/run/halves", json={"data": [2], "session_hash": "mine"}, timeout=60)
    assert not page.state_holder["mine"].config_values


def test_a_form_says_its_label_and_the_api_the_parameters_name() -> None:
    error = FieldError("max_new_tokens", "must be a whole number.")
    assert str(error) == "max_new_tokens must be a whole number."
    assert (
        in_form_words(error, {"max_new_tokens": "Max new tokens"}) == "Max new tokens must be a whole number."
    )


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "is empty: it must be a whole number from 1 to 4,096"),
        (True, "must be a whole number from 1 to 4,096."),
        (8.5, "must be a whole number from 1 to 4,096, not 8.5"),
        (float("nan"), "must be a whole number from 1 to 4,096."),
        (float("inf"), "must be a whole number from 1 to 4,096."),
        (10**400, "must be a whole number from 1 to 4,096."),
        ("8", "must be a whole number from 1 to 4,096."),
    ],
)
def test_a_number_that_makes_no_sense_is_refused(value: object, problem: str) -> None:
    with pytest.raises(FieldError, match=problem):
        check_number("max_new_tokens", value, 1, 4096, whole=True)  # type: ignore[arg-type]


def test_a_whole_number_is_returned_as_an_integer() -> None:
    assert repr(check_number("seed", 8.0, 1, 10, whole=True)) == "8"


@pytest.mark.parametrize("text", ["\ud83d", "a\udc00b", "\0"])
def test_a_text_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(FieldError, match=r"instruction contains .* at position "):
        check_text("instruction", text)


def test_a_call_of_an_mcp_client_that_hangs_up_is_stopped(url: str, endless: Endless) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "count", "arguments": {}}}
    accept = {"accept": "application/json, text/event-stream"}
    with httpx.stream("POST", f"{url}gradio_api/mcp/", json=body, headers=accept, timeout=60):
        until(lambda: endless.running)
        time.sleep(0.3)
        assert endless.running
    until(lambda: not endless.running, 5)
