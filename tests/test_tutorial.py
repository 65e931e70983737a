"""The tutorial: its snippet and its commands are executed in order, small where they would take long."""

from __future__ import annotations

import functools
import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from pipeline.command_line.signature import Verb, module_name
from pipeline.command_line.verbs import run_verb
from pipeline.data.own.__main__ import import_data
from pipeline.data.own.store import find_own
from pipeline.evaluation.store import list_runs
from pipeline.models.checkpoints import columns
from pipeline.models.families import get_family
from pipeline.settings import Settings
from tests.jobs_kit import ROOT
from training.evaluate import evaluate
from training.finetune import finetune
from training.sweep import VERBS

TEXT = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```(python)?\n(.*?)```", re.DOTALL)
BLOCKS = BLOCK.findall(TEXT)
RUN: dict[str, tuple[Verb, list[str]]] = {
    "pipeline.data.own": (import_data, []),
    "training.finetune": (finetune, []),
    "training.evaluate": (evaluate, ["--samples=2", "--max-new-tokens=4"]),
}
"""What is executed here by its module, with what makes it small."""
ELSEWHERE = {
    "training.sweep": "tests/test_own_data.py plans it, and tests/test_sweep.py runs one",
    "training.add_base_model": "tests/test_own_base_model.py, with a model that is on this machine",
}


def commands(text: str) -> list[list[str]]:
    """The words of each command after ``python -m``, in order."""
    lines = [line for language, block in BLOCK.findall(text) if not language for line in block.splitlines()]
    return [shlex.split(line)[2:] for line in lines if line.startswith("python -m ")]


def test_every_command_is_executed_here_or_in_a_named_place() -> None:
    modules = {words[0] for words in (*commands(TEXT), *commands(README))}
    assert modules == {*RUN, *ELSEWHERE}
    for module in ELSEWHERE:
        importlib.import_module(module)
    assert all(module_name(verb) == module for module, (verb, _) in RUN.items())


def test_the_tutorial_leads_from_a_csv_to_a_checkpoint_and_its_runs(
    fresh_short: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RCL_DATA_DIR", str(fresh_short.data_dir))
    monkeypatch.chdir(tmp_path)
    (snippet,) = (block for language, block in BLOCKS if language)
    exec(snippet, {})
    for module, *words in commands(TEXT):
        if module in RUN and "--family" not in words:
            verb, small = RUN[module]
            assert run_verb(verb, [*words, *small]) == 0, words
    own = find_own(fresh_short, "mine")
    assert own is not None
    said = (
        f"{own.train + own.test} of the {own.rows} rows can be used, {own.train} to train on and {own.test}"
    )
    assert said in " ".join(TEXT.split())
    assert "47-regular-mine/regular" in columns(fresh_short, get_family(fresh_short, "smollm2-135m"))
    ours = {folder.name for folder in list_runs(fresh_short)} - {
        folder.name for folder in list_runs(Settings(tmp_path / "empty"))
    }
    assert len(ours) == 2


def test_the_commands_of_the_readme_are_read_as_they_stand() -> None:
    """The tutorial's commands run the same verbs; here each is parsed and its arguments are checked."""
    verbs = {**VERBS, "own": import_data}
    read = []
    for module, *words in commands(README):
        verb = verbs[module.rpartition(".")[2]]

        @functools.wraps(verb)
        def instead(**arguments: Any) -> dict[str, Any]:
            read.append(arguments)
            return {}

        assert run_verb(instead, words) == 0, words
    assert len(read) == len(commands(README)) > 5
