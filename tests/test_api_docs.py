"""The examples of docs/api.md and the one of the README run against an app."""

from __future__ import annotations

import re
import subprocess
import sys
from shutil import which

import pytest

from tests.jobs_kit import ROOT

PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
ENDPOINTS = {
    "checkpoints", "datasets", "samples", "generate", "compare", "score", "results", "jobs", "job",
    "cancel_job", "submit_finetune", "submit_evaluation", "submit_sweep",
}  # fmt: skip


def blocks(language: str, text: str = PAGE) -> str:
    """All examples in a language, one after another."""
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL))


def run(command: list[str], app_url: str) -> subprocess.CompletedProcess[str]:
    code = command[-1].replace("http://127.0.0.1:7860", app_url.rstrip("/"))
    return subprocess.run([*command[:-1], code], capture_output=True, text=True, timeout=300)


def test_the_python_examples_run_and_call_every_endpoint(app_url: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    small = blocks("python", readme).replace('api_name="/compare"', 'max_new_tokens=4, api_name="/compare"')
    code = blocks("python")
    done = run([sys.executable, "-c", code + small], app_url)
    assert done.returncode == 0, done.stderr
    assert set(re.findall(r'api_name="/(\w+)"', code)) == ENDPOINTS
    assert "'submit_finetune'" in done.stdout  # a tool of the MCP server
    assert re.search(r"^200/regular \S", done.stdout, re.MULTILINE)  # the last line of the README's


@pytest.mark.skipif(which("curl") is None, reason="curl is not installed")
def test_the_curl_examples_run_to_their_end(app_url: str) -> None:
    code = blocks("bash")
    done = run(["bash", "-c", code], app_url)
    assert done.stdout.count("event: complete") == len(re.findall(r"^ask ", code, re.MULTILINE)), done.stdout
