"""The measure of execution itself: rewrites keep the meaning, and the study says what was found."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

from maintenance.harness.reading import count_answers, count_faults, read_labels
from maintenance.harness.rewrites import REWRITES, reassociated, renamed, restructured, widened
from maintenance.harness.study import STUDY
from pipeline.settings import Settings

SOURCE = """
def f(x, y=2):
    total = x + y + 1
    def inner(total):
        return total * 3
    if total < 10:
        kept = [each * 2 for each in range(total)]
    else:
        kept = []
    try:
        return (len(kept) if kept else -1) + inner(y)
    except ValueError as error:
        raise error
"""


def run(source: str) -> Callable[..., Any]:
    names: dict[str, Any] = {}
    exec(source, names)
    return names["f"]


@pytest.mark.parametrize("name", REWRITES)
def test_a_rewrite_keeps_the_meaning(name: str) -> None:
    before, after = run(SOURCE), run(REWRITES[name](SOURCE))
    assert [after(x) for x in range(-3, 12)] == [before(x) for x in range(-3, 12)]
    assert after(1, y=5) == before(1, y=5)


def test_rewrites_change_the_text() -> None:
    assert "kept_renamed" in renamed(SOURCE)
    assert "total_renamed" not in renamed(SOURCE)  # an inner function has a parameter of that name
    assert "x + (y + 1)" in reassociated(SOURCE)
    assert "10 > total" in reassociated(SOURCE)
    assert "if not total < 10" in restructured(SOURCE)


def test_float32_becomes_float64() -> None:
    given = run(widened("def f(x): return x + 1"))
    assert given(torch.ones(2)).dtype == torch.float64
    assert given(torch.ones(2, dtype=torch.int32)).dtype == torch.int32


def test_the_study_finds_that_references_pass_and_stubs_fail() -> None:
    suites = json.loads(STUDY.read_text(encoding="utf-8"))["suites"]
    assert set(suites) == {"packages", "metrics", "humaneval"}
    for found in suites.values():
        assert found["references"]["passed"] == found["references"]["of"] > 150
        assert found["stubs"]["passed"] == 0


def test_the_study_counts_the_labels() -> None:
    record = json.loads(STUDY.read_text(encoding="utf-8"))
    answers, faults = read_labels()
    assert record["answers read"] == count_answers(answers)
    assert record["passing faults read, of which can be observed"] == count_faults(faults)


def test_the_method_page_gives_the_answers_that_were_read(settings: Settings) -> None:
    text = (settings.assets.parent / "docs" / "method.md").read_text(encoding="utf-8")
    read = json.loads(STUDY.read_text(encoding="utf-8"))["answers read"]
    for line, kind in ("pass and are wrong", "false positives"), ("fail and are right", "false negatives"):
        found = [read[suite][kind] for suite in ("packages", "metrics", "humaneval")]
        assert f"| {line} | {' | '.join(_shown(each) for each in found)} |" in text


def _shown(share: dict[str, Any]) -> str:
    low, high = share["interval"]
    return f"{share['count']} of {share['of']} ({low:.1%} to {high:.1%})".replace("% to", " to")
