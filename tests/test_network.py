"""Proxies and certificates of the environment: loopback does without them, remote servers get them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest

from pipeline.models.families import Family
from pipeline.network import NAMES, bypass_proxies_on_loopback, is_loopback
from pipeline.openai_server import connect
from pipeline.schema import LabError, SamplingParams
from pipeline.settings import Settings
from tests.attempts import BASELINE, attempt, request_for
from tests.conftest import isolated
from tests.judge_server import JudgeServer, Reply

DEAD = "http://127.0.0.1:9"
BROKEN = {
    "HTTP_PROXY": DEAD,
    "https_proxy": "socks://127.0.0.1:9",
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "NO_PROXY": "::1/128",
    "SSL_CERT_FILE": "/missing/ca.pem",
    "SSLKEYLOGFILE": "/missing/keys",
}
ROOT = Path(__file__).parent.parent


def environment(data_dir: Path, **changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in BROKEN}
    return {**kept, "RCL_DATA_DIR": str(data_dir), "HF_HUB_OFFLINE": "1", **changes}


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No proxy and no certificate is set, loopback included."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with JudgeServer(lambda request, before: Reply("[[Correct]]"), ("judge", "baseline")) as running:
        yield running


def test_the_app_starts_and_answers_whatever_proxies_and_certificates_are_set(
    short: Settings, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = isolated(short, tmp_path / "data")
    env = environment(own.data_dir, PORT=str(port), **BROKEN)
    log = tmp_path / "log"
    with log.open("wb") as out:
        app = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=env, stdout=out, stderr=out)
    try:
        page = ""
        while not page:
            assert app.poll() is None, log.read_text()
            try:
                page = build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}/").read().decode()
            except OSError:
                time.sleep(0.2)
        assert "Research Code Lab" in page
        client = "from gradio_client import Client; c = Client(%r, verbose=False); print(len(c.predict(%s)))"
        asked = client % (f"http://127.0.0.1:{port}/", "api_name='/checkpoints'")
        loopback = {**env, "NO_PROXY": "localhost,127.0.0.1"}
        loopback = {
            name: value for name, value in loopback.items() if name not in BROKEN or name == "NO_PROXY"
        }
        done = subprocess.run([sys.executable, "-c", asked], env=loopback, capture_output=True, text=True)
        assert int(done.stdout) > 1, done.stderr
    finally:
        app.send_signal(signal.SIGKILL)
        app.wait()
    assert "Traceback" not in log.read_text()
    for name in ("SSL_CERT_FILE", "https_proxy", "NO_PROXY"):
        assert log.read_text().count(f"\n{name}={BROKEN[name]}") == 1
    assert "SSLKEYLOGFILE is ignored" in log.read_text()


def test_an_evaluation_reaches_a_judge_on_loopback_whatever_is_set(
    short: Settings, server: JudgeServer, tmp_path: Path
) -> None:
    own = isolated(short, tmp_path / "data")
    env = environment(own.data_dir, OPENAI_BASE_URL=server.url, **BROKEN)
    task = "--subset-size baseline --samples 1 --max-new-tokens 2 --judge naive --judge-model judge"
    command = [sys.executable, "-m", "training.evaluate", *task.split()]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["scores"]["CodeJudge naive (judge)"]["n"] == 1


@pytest.mark.parametrize("name", list(BROKEN))
def test_a_server_on_loopback_is_reached_whatever_is_set(
    clean: pytest.MonkeyPatch, server: JudgeServer, family: Family, tmp_path: Path, name: str
) -> None:
    from pipeline.generation.remote_engine import RemoteEngine
    from pipeline.scoring.judge.client import JudgeClient
    from pipeline.scoring.judge.codejudge import CodeJudge
    from pipeline.scoring.judge.config import JudgeConfig

    clean.setenv(name, BROKEN[name])
    judge = CodeJudge(JudgeClient(JudgeConfig(model="judge", base_url=server.url), "", tmp_path, patience=1))
    [[score]] = judge.score([attempt("Write it.", "x = 1", "x = 1", "x = 1")])
    assert score.value == 1.0
    *_, [completion] = RemoteEngine(family, server.url).stream([request_for(BASELINE, "p")], SamplingParams())
    assert completion.finish_reason == "stop"


def test_a_remote_server_is_reached_through_the_proxy(clean: pytest.MonkeyPatch, server: JudgeServer) -> None:
    clean.setenv("HTTP_PROXY", server.url.removesuffix("/v1"))
    client = connect("http://judge.example/v1", "", timeout=5, max_retries=0)
    client.chat.completions.create(model="judge", messages=[{"role": "user", "content": "[[Correct]]"}])
    assert server.requests[0].path == "http://judge.example/v1/chat/completions"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SSL_CERT_FILE", "/missing/ca.pem"),
        ("SSL_CERT_FILE", "/etc/hostname"),
        ("HTTPS_PROXY", "socks://127.0.0.1:9"),
        ("ALL_PROXY", "http://127.0.0.1:many"),
    ],
)
def test_settings_with_which_no_remote_server_can_be_reached_are_named(
    clean: pytest.MonkeyPatch, name: str, value: str
) -> None:
    clean.setenv(name, value)
    with pytest.raises(LabError, match=f"judge.example.*{re.escape(f'{name}={value}')}"):
        connect("https://judge.example/v1", "", timeout=5, max_retries=0)


def test_a_dead_proxy_is_named_without_its_password(clean: pytest.MonkeyPatch, family: Family) -> None:
    from pipeline.generation.remote_engine import RemoteEngine

    clean.setenv("HTTP_PROXY", "http://user:geheim@127.0.0.1:9")
    engine = RemoteEngine(family, "http://judge.example/v1")
    with pytest.raises(LabError, match=r"HTTP_PROXY=127\.0\.0\.1:9") as error:
        list(engine.stream([request_for(BASELINE, "p")], SamplingParams()))
    assert "geheim" not in str(error.value)


_FETCH = """
import sys
from dataclasses import replace
from pathlib import Path
from pipeline.data.arxivdl import load_arxivdl
from pipeline.models.families import get_family
from pipeline.models.hub import fetch
from pipeline.models.weights import base_model_dir
from pipeline.schema import Checkpoint, LabError
from pipeline.scoring import encoder
from pipeline.settings import Settings

settings = Settings(data_dir=Path(sys.argv[1]))
family = get_family(settings, "smollm2-135m")
encoder.MINILM = replace(encoder.MINILM, model="no_such_package")
for ask in (
    lambda: encoder.load_encoder(),
    lambda: load_arxivdl("regular"),
    lambda: fetch(settings, family, Checkpoint(family.name, "x", 1, "regular", hub_id="nobody/nothing")),
    lambda: base_model_dir(settings, replace(family, base=replace(family.base, path="no_such_package/file"))),
):
    try:
        ask()
    except LabError as error:
        print(str(error).replace(chr(10), " "))
"""


def test_what_the_hub_has_names_the_settings_with_which_it_cannot_be_reached(tmp_path: Path) -> None:
    env = environment(tmp_path, HF_HUB_OFFLINE="0", HF_HOME=str(tmp_path), SSL_CERT_FILE="/missing/ca.pem")
    command = [sys.executable, "-c", _FETCH, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    said = done.stdout.splitlines()
    assert len(said) == 4, done.stderr
    assert all("SSL_CERT_FILE=/missing/ca.pem" in each for each in said), said


def test_what_no_proxy_holds_already_stays() -> None:
    env = {"NO_PROXY": "intern.example, 127.0.0.1", "no_proxy": "other.example"}
    bypass_proxies_on_loopback(env)
    assert env["NO_PROXY"] == env["no_proxy"] == "intern.example,127.0.0.1,other.example,localhost,::1"
    bypass_proxies_on_loopback(env)
    assert env["NO_PROXY"].count("localhost") == 1


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://127.3.2.1/v1", True),
        ("http://[::1]:8000/v1", True),
        ("https://localhost/v1", True),
        ("http://lab.localhost/v1", True),
        ("http://localhost.example/v1", False),
        ("http://10.0.0.1/v1", False),
        ("https://api.openai.com/v1", False),
    ],
)
def test_only_addresses_of_this_machine_are_loopback(url: str, loopback: bool) -> None:
    assert is_loopback(url) == loopback
