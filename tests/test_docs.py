"""What the documents name exists: files, headings, commands with their flags, variables."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import fields
from pathlib import Path

import pytest

from pipeline.command_line.signature import parameters
from pipeline.settings import Settings
from tests.jobs_kit import ROOT
from training.sweep import VERBS

DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
DOCUMENTS += sorted((ROOT / "docs").glob("*.md"))
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
MODULE = re.compile(r"python -m ((?:pipeline|training|maintenance|tests)[\w.]*)")
TARGET = re.compile(r"(?:^|`)make ([a-z][a-z-]*)", re.MULTILINE)
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`((?:make|python|pip|rcl|docker|pre-commit|git) [^`]+)`")
TESTED = {
    "python -m pipeline.corpus": "test_corpus.py",
    "python -m pipeline.data.own": "test_tutorial.py",
    "python -m training.finetune": "test_tutorial.py",
    "python -m training.evaluate": "test_tutorial.py",
    "python -m training.sweep": "test_sweep.py",
    "python -m training.add_base_model": "test_own_base_model.py",
    "python -m maintenance.coverage_study": "test_stats.py",
    "python -m maintenance.judge": "test_local_judge.py",
    "python -m maintenance.precision_study": "test_precision_study.py",
    "python -m maintenance.readme_section": "test_results_tab.py",
    "python -m maintenance.repack": "test_texts.py",
    "python -m maintenance.rescore": "test_rescore.py",
    "python -m tests.write_data_folder": "test_upgrades.py",
    "rcl app": "test_network.py",
    "rcl bundle": "test_results_tab.py",
    "rcl checkpoints": "test_exchange.py",
    "rcl compare": "test_reach.py",
    "rcl runs": "test_own_runs.py",
    "make app": "test_network.py",
    ".venv/bin/python app.py": "test_network.py",
}
"""Commands of the documents, by their beginning, and the test that runs the same, mostly smaller."""
NOT_TESTED = {
    "make setup": "installs 2 GB: every test needs it before it",
    "make test": "is this",
    "make quick": "is a part of this",
    "python -m training.base_model": "downloads 1.1 GB; test_weights.py brings the small model so",
    "make code-model": "downloads 1.1 GB; test_weights.py brings the small model so",
    "make torture": "takes an hour; tests/test_hostile_calls.py runs a part of it",
    "make bench": "measures for half an hour",
    "make hashes": "asks a package index; tests/test_supply_chain.py checks what it wrote",
    "make licenses": "downloads its tool",
    "make sbom": "downloads its tool",
    "python -m maintenance.examples": "chooses from all shipped runs, for minutes",
    "python -m maintenance.harness": "runs thousands of programs; its parts are tested in tests/execution",
    "python -m maintenance.suites": "runs thousands of programs; its parts are tested in tests/execution",
    "python -m maintenance.ladder": "trains for hours on a GPU",
    "python -m maintenance.learning_rate": "trains for hours on a GPU",
    "python -m tests.bench": "measures for minutes, mostly on a GPU",
    "pip install": "needs a package index",
    "python3.11 -m venv": "installs 2 GB",
    ".venv/bin/pip install": "needs a package index",
    ". .venv/bin/activate": "changes the reader's shell only",
    "docker": "needs Docker, which builds this image in no test",
    "pre-commit": "downloads its tools",
    "RAY_ADDRESS=": "needs a cluster; tests/cluster starts one of one machine",
    "RCL_ENGINE_URL=": "needs a server with a GPU; tests/test_remote_engine.py has a stand-in",
    "HOST=0.0.0.0 make app": "opens this machine to others; tests/test_callers.py asks as others do",
    "python -m venv vllm": "vLLM needs a GPU",
    "vllm/bin/vllm": "vLLM needs a GPU",
    "curl http://that-machine": "vLLM needs a GPU",
    "git rev-parse": "git's own",
}
"""Commands that no test runs, and why."""


def anchors(document: Path) -> set[str]:
    """The names that GitHub gives to the document's headings."""
    heads = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_link_leads_to_a_file_and_a_heading_that_exist(document: Path) -> None:
    for path, anchor in LINK.findall(document.read_text(encoding="utf-8")):
        target = (document.parent / path) if path else document
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_command_runs_a_module_or_a_target_that_exists(document: Path) -> None:
    text, made = document.read_text(encoding="utf-8"), (ROOT / "Makefile").read_text(encoding="utf-8")
    for module in MODULE.findall(text):
        assert importlib.util.find_spec(module.rstrip(".")), module
    for target in TARGET.findall(text):
        assert re.search(rf"^{target}:", made, re.MULTILINE), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_flag_of_a_verb_exists(document: Path) -> None:
    for verb, rest in re.findall(r"training\.(\w+) (.*)", document.read_text(encoding="utf-8")):
        if verb in VERBS:
            known = {"--" + parameter.name.replace("_", "-") for parameter in parameters(VERBS[verb])}
            assert set(re.findall(r"--[a-z-]+", rest)) <= known


def test_each_variable_that_the_settings_read_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"``([A-Z][A-Z_]{3,})(?:=1)?``", Settings.__doc__ or ""))
    # The platform, or the app itself for its jobs, sets these.
    space = {"SPACE_ID", "SPACE_AUTHOR_NAME", "SPACE_HOST", "OAUTH_CLIENT_ID"}
    assert named - space - {"CUDA_VISIBLE_DEVICES", "RCL_PROGRESS_FILE"} <= set(
        re.findall(r"`([A-Z_]+)`", readme)
    )
    assert len(named) > len(fields(Settings)) / 2


def commands_of(document: Path) -> list[str]:
    """Lines of blocks without a language, and commands in the text."""
    text = document.read_text(encoding="utf-8")
    blocks = [block for language, block in BLOCK.findall(text) if not language]
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    found = [line.strip() for line in lines if line.strip()] + INLINE.findall(text)
    return [re.sub(r"\s+", " ", command) for command in found]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_each_command_is_run_by_a_test_or_says_why_not(document: Path) -> None:
    for command in commands_of(document):
        ours = [start for start in (*TESTED, *NOT_TESTED) if command.startswith(start)]
        assert ours, f"{document.name}: {command} is in no list of this test"


def test_each_test_that_is_named_for_a_command_names_what_it_runs() -> None:
    for command, file in TESTED.items():
        words = command.split()[-1].removesuffix(".py")
        assert words.rpartition(".")[2] in (ROOT / "tests" / file).read_text(encoding="utf-8"), command
