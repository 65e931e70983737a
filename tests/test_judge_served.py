"""The judge's client against a server that nobody here wrote: ``transformers serve`` with the embedded model.

Takes a minute and a gigabyte, so only on demand: ``RCL_TEST_SERVER=1 pytest tests/test_judge_served.py``.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.models.families import Family
from pipeline.models.weights import base_model_dir
from pipeline.schema import Score
from pipeline.scoring.judge.client import JudgeClient
from pipeline.scoring.judge.codejudge import CodeJudge
from pipeline.scoring.judge.config import METHODS, JudgeConfig, Method
from pipeline.settings import Settings
from tests.attempts import attempt

pytestmark = pytest.mark.skipif(
    not os.environ.get("RCL_TEST_SERVER"), reason="takes a minute; set RCL_TEST_SERVER=1 to run it"
)
REFERENCE = "def add(a, b):\n    return a + b"
CANDIDATES = [
    attempt("Write add(a, b).", code, code, REFERENCE) for code in (REFERENCE, "def add(a, b): return 1", "")
]


@pytest.fixture(scope="module")
def model(settings: Settings, family: Family) -> Path:
    return Path(base_model_dir(settings, family))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        Path(sys.executable).parent / "transformers",
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    server = subprocess.Popen([*map(str, command), "--device", "cpu"])
    try:
        deadline = time.monotonic() + 120
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(30)


def judge(config: JudgeConfig, cache: Path) -> list[Score]:
    return [score for (score,) in CodeJudge(JudgeClient(config, "", cache)).score(CANDIDATES)]


@pytest.mark.parametrize("method", METHODS)
def test_a_small_model_s_nonsense_is_unscored_with_its_words_and_asked_for_once(
    url: str, model: Path, method: Method, tmp_path: Path
) -> None:
    scores = judge(JudgeConfig(method, str(model), url, max_tokens=32), tmp_path)
    assert [score.value for score in scores] == [None] * 3
    assert all(score.reason and score.details["votes"][0]["words"] for score in scores)
    assert judge(JudgeConfig(method, str(model), url, max_tokens=32), tmp_path) == scores  # temperature is .5
