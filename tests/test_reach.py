"""The app from outside of a browser: an MCP client that is not ours, and the terminal."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import subprocess
import sys
from typing import Any

import httpx
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from pipeline.settings import Settings
from tests.jobs_kit import ROOT


def call(url: str, tool: str, headers: dict[str, str] | None = None, **arguments: Any) -> Any:
    """Call a tool; its answer, which Gradio writes as a Python literal, or the text of an error."""

    async def work() -> Any:
        async with (
            httpx.AsyncClient(headers=headers, timeout=120) as http,
            streamable_http_client(f"{url}gradio_api/mcp/", http_client=http) as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            if not tool:
                return [each.name for each in (await session.list_tools()).tools]
            answer = await session.call_tool(tool, arguments)
            text = answer.content[0].text  # type: ignore[union-attr]
            return text if answer.isError else ast.literal_eval(text)

    return asyncio.run(work())


def test_an_mcp_client_finds_a_tool_for_each_endpoint(app_url: str) -> None:
    tools = call(app_url, "")
    assert set(tools) == {
        "generate", "compare", "score", "samples", "checkpoints", "results", "submit_finetune",
        "submit_evaluation", "submit_sweep", "jobs", "job", "cancel_job", "datasets", "submit_base_model",
    }  # fmt: skip


def test_an_mcp_client_gets_a_comparison_and_a_table_of_results(app_url: str) -> None:
    columns = ["baseline/regular", "200/regular"]
    answers = call(app_url, "compare", columns=columns, instruction="Add two numbers.", max_new_tokens=4)
    assert [answer["column"] for answer in answers] == columns
    assert all(answer["tokens"] == 4 and answer["scores"] for answer in answers)
    results = call(app_url, "results")
    assert results["setups"]


def test_an_mcp_client_reads_why_a_call_is_refused(app_url: str) -> None:
    refused = call(app_url, "compare", columns=["20000/regular"], instruction="Add two numbers.")
    assert refused.startswith('There is no checkpoint "20000/regular" of smollm2-135m.')


@pytest.mark.parametrize("headers", [{"host": "evil.example"}, {"x-forwarded-for": "203.0.113.7"}], ids=str)
def test_an_mcp_client_of_another_machine_is_a_stranger(app_url: str, headers: dict[str, str]) -> None:
    # The server calls itself over loopback for an MCP client, and passes the client's headers on.
    refused = call(app_url, "submit_finetune", headers, subset_size=7)
    assert "This app takes jobs from its own machine only" in refused


def terminal(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "RCL_DATA_DIR": str(settings.data_dir), "COLUMNS": "120"}
    command = [sys.executable, "-m", "rcl", "compare", *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


def test_the_terminal_shows_checkpoints_side_by_side_and_gives_a_pipe_json(settings: Settings) -> None:
    done = terminal(
        settings, "Add two numbers.", "--columns=baseline/regular,200/regular", "--max-new-tokens=4"
    )
    assert done.returncode == 0
    answers = json.loads(done.stdout)["answers"]
    assert [answer["column"] for answer in answers] == ["baseline/regular", "200/regular"]
    assert all(answer["text"] and answer["scores"][0]["metric"] == "parses" for answer in answers)
    (heads,) = [line for line in done.stderr.splitlines() if "baseline/regular" in line and "╭" in line]
    assert "200/regular" in heads
    assert done.stderr.startswith("  0% Loading the model\n")


def test_the_terminal_refuses_a_column_that_does_not_exist_before_it_loads_a_model(
    settings: Settings,
) -> None:
    done = terminal(settings, "Add two numbers.", "--columns=20000/regular")
    assert done.returncode == 1
    assert done.stderr.startswith('error: There is no checkpoint "20000/regular" of smollm2-135m.')
