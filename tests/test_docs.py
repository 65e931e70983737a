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
    # The platform, or the app itself for its jobs, sets the first three.
    assert named - {"SPACE_ID", "CUDA_VISIBLE_DEVICES", "RCL_PROGRESS_FILE"} <= set(
        re.findall(r"`([A-Z_]+)`", readme)
    )
    assert len(named) > len(fields(Settings)) / 2
