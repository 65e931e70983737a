"""Calls over raw HTTP with anything in them: every one is answered, and in words.

``RCL_FUZZ`` is how many are tried (150 by default; 2,000 takes some minutes).
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.models.families import Family
from pipeline.settings import Settings
from tests.conftest import isolated
from tests.hostile_calls import HOSTILE, RAW, App, calls_of, few_tokens
from tests.jobs_kit import local_runner
from ui import theme
from ui.callbacks import UNEXPECTED
from ui.lab import Lab

MANY = int(os.environ.get("RCL_FUZZ", "150"))
ANYTHING = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(exclude_categories=()), max_size=12),
    st.recursive(
        st.sampled_from(HOSTILE),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    ),
)


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
        yield App(url, client, calls_of(client.get(f"{url}config").json()))
    page.close()
    runner.close()
    lab.close()


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
    values = [draw.draw(st.just(usual) | ANYTHING) for usual in few_tokens(call)]
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
