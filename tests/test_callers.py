"""Who is taken for the user of this machine, and what strangers see and may do."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio.oauth
import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from itsdangerous import TimestampSigner
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from pipeline.settings import Settings
from tests.jobs_kit import local_runner, settings_in
from tests.jobs_page import page_of
from training.jobs import Runner
from ui.about import describe_installation
from ui.callers import address, is_local, is_signed_in
from ui.lab import Lab

TRUSTED = {"RCL_TRUSTED_HOSTS": "Lab.example, intern.example"}
HERE = {"host": "127.0.0.1:7860"}
LOCAL: list[dict[str, str]] = [
    HERE,
    {"host": "localhost:7860", "origin": "http://localhost:7860"},
    {"host": "[::1]:7860", "origin": "http://[::1]:7860"},
    {"host": "lab.localhost"},
    {"host": "lab.example"},
    {"host": "lab.example", "origin": "https://lab.example", "x-forwarded-for": "203.0.113.7"},
    {**HERE, "x-forwarded-host": "lab.example", "x-forwarded-for": "203.0.113.7"},
]
STRANGE: list[dict[str, str]] = [
    {},
    {"host": ""},
    {"host": "evil.example"},
    {"host": "evil.example:7860", "origin": "http://evil.example:7860"},
    {"host": "127.0.0.1.evil.example"},
    {"host": "localhost.evil.example"},
    {"host": "0.0.0.0:7860"},
    {"host": "[::1"},
    {**HERE, "origin": "http://evil.example"},
    {**HERE, "origin": "null"},
    {**HERE, "x-forwarded-for": "203.0.113.7"},
    {**HERE, "x-forwarded-host": "other.example"},
    {**HERE, "x-forwarded-host": "lab.example, evil.example"},
    {**HERE, "forwarded": "for=203.0.113.7"},
    {"host": "evil.example", "x-forwarded-host": "localhost"},
    {"host": "evil.example", "x-forwarded-host": "lab.example"},
]


@pytest.mark.parametrize("headers", LOCAL, ids=str)
def test_requests_of_this_machine_and_of_trusted_hosts_are_local(headers: dict[str, str]) -> None:
    assert is_local(Settings.from_env(TRUSTED), Headers(headers))


@pytest.mark.parametrize("headers", STRANGE, ids=str)
def test_pages_of_other_sites_and_visitors_of_a_proxy_are_strangers(headers: dict[str, str]) -> None:
    assert not is_local(Settings.from_env(TRUSTED), Headers(headers))


@pytest.mark.parametrize("env", [{"HOST": "0.0.0.0"}, {"SPACE_ID": "a/b"}, {"GRADIO_SHARE": "true"}], ids=str)
def test_an_app_that_others_reach_has_strangers_only(env: dict[str, str]) -> None:
    assert not is_local(Settings.from_env({**TRUSTED, **env}), Headers({"host": "localhost:7860"}))


SPACE = {
    "SPACE_ID": "Ada/lab",
    "SPACE_AUTHOR_NAME": "Ada",
    "SPACE_HOST": "ada-lab.hf.space",
    "OAUTH_CLIENT_ID": "x",
}
OF_THE_SPACE = {"origin": "https://ada-lab.hf.space"}


def login(name: str, seconds: float = 86_400) -> dict[str, Any]:
    """A session as Gradio's sign-in leaves it."""
    return {"oauth_info": {"userinfo": {"preferred_username": name}, "expires_at": time.time() + seconds}}


@pytest.mark.parametrize(
    ("session", "headers", "env", "owner"),
    [
        (login("ada"), OF_THE_SPACE, SPACE, True),
        (login("eve"), OF_THE_SPACE, SPACE, False),
        (login("ada", -1), OF_THE_SPACE, SPACE, False),
        ({}, OF_THE_SPACE, SPACE, False),
        (login("ada"), {"origin": "https://evil.example"}, SPACE, False),
        (login("ada"), {}, SPACE, False),
        (login(""), OF_THE_SPACE, {**SPACE, "SPACE_AUTHOR_NAME": ""}, False),
        (login("ada"), OF_THE_SPACE, {**SPACE, "OAUTH_CLIENT_ID": ""}, False),
        (login("ada"), OF_THE_SPACE, {**SPACE, "SPACE_ID": ""}, False),
    ],
)
def test_the_owner_of_a_space_is_who_signed_in_under_that_name_on_a_page_of_it(
    session: dict[str, Any], headers: dict[str, str], env: dict[str, str], owner: bool
) -> None:
    assert is_signed_in(Settings.from_env(env), Headers(headers), session) == owner


def test_a_visitor_of_a_space_has_the_address_that_the_proxy_appended() -> None:
    sent = b"8.8.8.8, not an address, 9.9.9.9, 10.1.2.3"
    asked = HTTPConnection(
        {"type": "http", "headers": [(b"x-forwarded-for", sent)], "client": ("10.0.0.1", 1)}
    )
    assert address(Settings(Path()), asked) == "10.0.0.1"
    assert address(Settings(Path(), on_space=True), asked) == "9.9.9.9"


def call(url: str, name: str, values: list[Any], **headers: str) -> tuple[int, str]:
    reply = httpx.post(f"{url}gradio_api/run/{name}", json={"data": values}, headers=headers, timeout=60)
    return reply.status_code, str(reply.json())


@pytest.fixture
def runner(fresh: Settings) -> Runner:
    return local_runner(fresh.data_dir)


FINETUNE = [100, "regular", "smollm2-135m", 1, 42, 0, 0.0, "auto", "", False]
"""The arguments of ``/submit_finetune``."""


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example", "Origin": "http://evil.example"}, {"X-Forwarded-For": "203.0.113.7"}]
)
def test_strangers_of_a_private_app_start_see_and_stop_no_jobs(
    runner: Runner, headers: dict[str, str]
) -> None:
    with page_of(runner) as url:
        for name, values in (("submit_finetune", FINETUNE), ("jobs", ["", 100, ""])):
            status, said = call(url, name, values, **headers)
            assert (status, "RCL_" in said) == (400, True)
        assert runner.list() == []
        job = runner.submit("count", {"to": 1})
        for name, values in (("job", [job.id, ""]), ("cancel_job", [job.id, ""])):
            assert call(url, name, values, **headers)[0] == 400
        assert runner.status(job.id).cancelled_at is None
        assert call(url, "submit_finetune", FINETUNE)[0] == 200


def test_jobs_are_shown_with_the_token_or_if_the_owner_makes_them_public(tmp_path: Path) -> None:
    runner = local_runner(tmp_path)
    runner.settings = settings_in(tmp_path, host="0.0.0.0", jobs_token="the-token")
    with page_of(runner) as url:
        job = runner.submit("count", {"to": 1})
        status, said = call(url, "jobs", ["", 100, ""])
        assert (status, job.id in said, "not public" in said) == (400, False, True)
        assert job.id in call(url, "jobs", ["", 100, "the-token"])[1]
        assert job.id in call(url, "job", [job.id, "the-token"])[1]
        runner.settings = replace(runner.settings, public_jobs=True)
        assert job.id in call(url, "jobs", ["", 100, ""])[1]


def test_the_owner_of_a_space_launches_jobs_after_signing_in(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub, where one signs in, is not here: the cookie is made as Gradio makes it afterwards."""
    for name in ("CLIENT_ID", "CLIENT_SECRET", "SCOPES"):
        monkeypatch.setattr(gradio.oauth, f"OAUTH_{name}", "secret")
    monkeypatch.setattr(gradio.oauth, "OPENID_PROVIDER_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(gradio.oauth, "get_space", lambda: "Ada/lab")
    hosts = frozenset({"ada-lab.hf.space"})
    runner.settings = replace(runner.settings, on_space=True, space_owner="Ada", space_hosts=hosts)
    signer = TimestampSigner(hashlib.sha256(b"secret-v4").hexdigest())
    ada, eve = (
        f"session={signer.sign(base64.b64encode(json.dumps(login(name)).encode())).decode()}"
        for name in ("ada", "eve")
    )
    with page_of(runner) as url:
        assert "Sign in with Hugging Face" in httpx.get(f"{url}config").text
        for headers in (
            {},
            {"Cookie": eve},
            {"Cookie": ada, "Origin": "http://evil.example"},
            {"Cookie": ada[:-1]},
        ):
            status, said = call(url, "submit_finetune", FINETUNE, **{**OF_THE_SPACE, **headers})
            assert (status, "sign in as Ada in Jobs" in said) == (400, True)
        assert call(url, "submit_finetune", FINETUNE, **OF_THE_SPACE, Cookie=ada)[0] == 200


def test_a_job_keeps_no_address(runner: Runner) -> None:
    runner.settings = replace(runner.settings, jobs_token="the-token")
    with page_of(runner) as url:
        config = httpx.get(f"{url}config").json()
        shown = {one["id"]: one["props"].get("value") for one in config["components"]}
        start = next(each for each in config["dependencies"] if each["api_name"] == "submit")
        values = ["the-token", *[shown[each] for each in start["inputs"][1:]]]
        body = {"data": values, "fn_index": start["id"], "session_hash": "one"}
        headers = {"X-Forwarded-For": "203.0.113.7"}
        httpx.post(f"{url}gradio_api/run/submit", json=body, headers=headers, timeout=60)
    (job,) = runner.list()
    assert job.owner == "a visitor with the token"


def test_strangers_do_not_read_the_machines_folders_in_about(fresh: Settings) -> None:
    """Outside of a call nobody is known, so this is what a stranger gets."""
    assert str(fresh.data_dir) not in describe_installation(Lab(fresh))


def test_strangers_are_sent_no_folders_of_the_machine(app_url: str, app_settings: Settings) -> None:
    """One checkpoint of this app is damaged, and what is wrong with it names its folder."""
    stranger = {"X-Forwarded-For": "203.0.113.7"}

    def said(headers: dict[str, str]) -> list[str]:
        client = Client(app_url, headers=headers, verbose=False)
        with pytest.raises(AppError) as refused:
            client.predict(["100/regular"], "Write double.", api_name="/compare")
        return [str(refused.value), str(client.predict(api_name="/checkpoints"))]

    assert all(str(app_settings.data_dir) in text for text in said({}))
    for text in [*said(stranger), httpx.get(app_url, headers=stranger).text]:
        assert str(app_settings.data_dir) not in text
    assert all("…/checkpoints/smollm2-135m/100-regular" in text for text in said(stranger))
