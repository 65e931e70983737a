"""Calls over raw HTTP with anything in them: every one is answered, and in words.

``RCL_FUZZ`` is how many are tried (150 by default; 2,000 takes some minutes).
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.models.families import Family
from pipeline.settings import Settings
from tests.conftest import isolated
from tests.jobs_kit import local_runner
from ui import theme
from ui.callbacks import UNEXPECTED
from ui.lab import Lab

MANY = int(os.environ.get("RCL_FUZZ", "150"))
RAW = re.compile(
    r"Traceback|File \"|\w(Error|Exception)\b|<class|object at 0x|NoneType|has no attribute|subscriptable"
    r"|positional argument|keyword argument|out of range|not supported between|Could not preprocess"
    r"|not in the list of choices|codec can't|event handler"
)
"""What messages of Python and Gradio look like."""
HOSTILE: list[Any] = [
    None, True, False, 0, 1, 2, -1, 7, 2**31, 2**63, -(10**400), 0.5, -0.0, 1e308, float("nan"), float("inf"),
    "", " ", "0", "8", "nan", "1e999", "true", "null", "\ud83d", "a\ud83d\ude00b", "a\udc00", "\0", "\x1b[1m",
    "<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>", "{{7*7}}", "%s%n", "' OR 1=1 --",
    "../../etc/passwd", "/etc/passwd", "x" * 30_000, "é" * 300, "baseline/regular", "5000/regular", "regular",
    "smollm2-135m", "baseline", [], {}, [[]], [None], ["baseline/regular"], ["\ud83d"], {"\ud83d": 1},
    {"__type__": "update"}, {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
    {"id": "x", "run": "y", "index": -1, "value": "Jobs"}, {"index": 10**30}, {"id": ["\ud83d"], "run": None},
]  # fmt: skip
REQUIRED = {
    "compare": ["baseline/regular"],
    "score": "def f(): pass",
    "submit_finetune": 5,
    "submit_sweep": "5",
}
"""The first argument of the endpoints that have no default for it."""
ANYTHING = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(exclude_categories=()), max_size=12),
    st.recursive(
        st.sampled_from(HOSTILE),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    ),
)


@dataclass(frozen=True)
class Call:
    """A function of the page: its number, its API name, and values that it takes."""

    number: int
    name: str
    public: bool
    usual: list[Any]


@dataclass(frozen=True)
class App:
    """A running app, and what can be called there."""

    url: str
    client: httpx.Client
    calls: list[Call]

    def answer(self, path: str, body: Any) -> str:
        """Post the body, wait for the end of the call, and return the message of its error, if any."""
        reply = self.post(path, body)
        if path.startswith("run/"):
            return str(reply.json().get("error") or "") if reply.status_code != 422 else ""
        if reply.status_code != 200:
            assert "detail" in reply.json()
            return "" if reply.status_code == 422 else str(reply.json()["detail"])
        if path == "queue/join":
            return self._end(f"queue/data?session_hash={body['session_hash']}")
        return self._end(f"{path}/{reply.json()['event_id']}")

    def post(self, path: str, body: Any) -> httpx.Response:
        head = {"content-type": "application/json"}
        reply = self.client.post(f"{self.url}gradio_api/{path}", content=json.dumps(body), headers=head)
        assert reply.status_code < 500, (path, body, reply.text)
        return reply

    def _end(self, path: str) -> str:
        event = ""
        with self.client.stream("GET", f"{self.url}gradio_api/{path}") as stream:
            assert stream.status_code == 200
            for line in _lines(stream):
                kind, _, text = line.partition(": ")
                if kind == "event":
                    event = text
                elif kind == "data":
                    found = json.loads(text)
                    done = isinstance(found, dict) and found.get("msg") == "process_completed"
                    if done or event in ("complete", "error"):
                        output = found["output"] if done else found
                        return str(output.get("error") or "") if isinstance(output, dict) else ""
                    assert not (isinstance(found, dict) and found.get("msg") == "unexpected_error"), found
        raise AssertionError(f"{path} ended without an answer")


def _lines(stream: httpx.Response) -> Iterator[str]:
    """The lines of a stream of events. ``iter_lines`` also splits at line ends inside of JSON texts."""
    rest = b""
    for part in stream.iter_bytes():
        *whole, rest = (rest + part).split(b"\n")
        yield from (line.decode() for line in whole)


@pytest.fixture(scope="module")
def app(short: Settings, family: Family, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The whole app with a short model; its jobs wait in the queue and never start."""
    import app as whole

    folder = tmp_path_factory.mktemp("hostile")
    own = isolated(short, folder / "data")
    lab, runner = Lab(own), local_runner(folder / "jobs")
    page = whole.build(lab, runner)
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **theme.launch(own))
    lab.start()
    # Hypothesis reads the list of modules, which must not change meanwhile: wait until all are imported.
    lab.dataset(family, "regular").result()
    with lab.use_model(family):
        pass
    # The server closes a connection that is idle for 5 seconds, which is also how long the client keeps one:
    # on a busy machine it would send a call on a connection that is being closed.
    with httpx.Client(timeout=600, limits=httpx.Limits(keepalive_expiry=1)) as client:
        yield App(url, client, _calls(client.get(f"{url}config").json()))
    page.close()
    runner.close()
    lab.close()


def _calls(config: dict[str, Any]) -> list[Call]:
    shown = {
        component["id"]: component["props"].get("value", "" if component["type"] == "textbox" else None)
        for component in config["components"]
    }
    found = []
    for function in config["dependencies"]:
        usual = [shown[each] for each in function["inputs"]]
        if function["api_name"] in REQUIRED:
            usual[0] = REQUIRED[function["api_name"]]
        public = function["api_visibility"] == "public"
        found.append(Call(function["id"], function["api_name"], public, usual))
    return found


def test_an_endpoint_and_a_callback_answer_a_usual_call(app: App) -> None:
    calls = {call.name: call for call in app.calls}
    for name in ("samples", "search"):
        assert app.answer(f"call/{name}", {"data": calls[name].usual}) == ""


@settings(
    max_examples=MANY,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(draw=st.data())
def test_every_call_is_answered_in_words(app: App, draw: st.DataObject) -> None:
    public = [call for call in app.calls if call.public]
    call = draw.draw(st.sampled_from(public) | st.sampled_from(app.calls))
    values = [draw.draw(st.just(usual) | ANYTHING) for usual in _few_tokens(call)]
    if draw.draw(st.integers(0, 9)) == 0:
        values = [*values, draw.draw(ANYTHING)] if draw.draw(st.booleans()) else values[:-1]
    route = draw.draw(st.sampled_from(["queue", "queue", "call", "run"]))
    if route == "queue":
        event = {"event_data": draw.draw(ANYTHING)} if draw.draw(st.booleans()) else {}
        body = {"data": values, "fn_index": call.number, "session_hash": uuid.uuid4().hex, **event}
        said = app.answer("queue/join", body)
    else:
        said = app.answer(f"{route}/{call.name}", {"data": values})
    assert not RAW.search(said), (call.name, values, said)
    assert not (call.public and UNEXPECTED in said), (call.name, values)


def _few_tokens(call: Call) -> list[Any]:
    """The values that the call takes, with 2 new tokens where it generates."""
    return [2 if value == 256 and type(value) is int else value for value in call.usual]


@pytest.mark.parametrize("body", [{}, [], {"data": "x"}, {"data": None}, 5, {"fn_index": "x"}])
@pytest.mark.parametrize(
    "path", ["queue/join", "call/samples", "call/nothing", "run/nothing", "call/v2/nothing"]
)
def test_a_malformed_call_is_refused(app: App, path: str, body: Any) -> None:
    reply = app.post(path, body)
    assert reply.status_code in (200, 400, 404, 405, 422)
    assert not RAW.search(json.dumps(reply.json().get("detail", "")))


@pytest.mark.parametrize("limit", ["NaN", "Infinity", "1e999", "-1e999"])
def test_a_number_that_json_does_not_know_is_refused(app: App, limit: str) -> None:
    body = f'{{"data": ["", {limit}, 0, "regular", "smollm2-135m"]}}'
    reply = app.client.post(
        f"{app.url}gradio_api/run/samples", content=body, headers={"content-type": "application/json"}
    )
    assert reply.status_code == 400
    assert reply.json()["error"].startswith("limit must be a whole number, not ")


def test_half_a_character_is_refused_in_words(app: App) -> None:
    calls = [call for call in app.calls if "" in call.usual and not call.name.startswith("js_fn")]
    assert {"samples", "search", "filter_samples"} <= {call.name for call in calls}
    for call in calls:
        values = ["\ud83d" if value == "" else value for value in call.usual]
        assert "half of a character" in app.answer(f"call/{call.name}", {"data": values})
