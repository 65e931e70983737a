"""The model cards of the shipped checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maintenance.cards import draw_curve
from pipeline.evaluation.model_card import model_card
from pipeline.evaluation.runs import Run
from pipeline.evaluation.store import list_runs, load_run
from pipeline.models.checkpoints import SIZES, read_checkpoint
from pipeline.models.families import Family, get_family
from pipeline.schema import VARIANTS
from pipeline.settings import Settings


@pytest.fixture(scope="module", params=["smollm2-135m", "qwen2.5-coder-1.5b"])
def own(request: pytest.FixtureRequest, settings: Settings) -> Family:
    return get_family(settings, request.param)


@pytest.fixture(scope="module")
def shipped(settings: Settings, own: Family) -> list[Path]:
    return sorted((settings.assets / "checkpoints" / own.name).iterdir())


@pytest.fixture(scope="module")
def runs(settings: Settings) -> list[Run]:
    own = [folder for folder in list_runs(settings) if settings.assets in folder.parents]
    return [load_run(folder) for folder in own]


def test_every_published_size_ships(shipped: list[Path]) -> None:
    published = [size for size in SIZES if size not in (100, 1500)]
    assert {f"{n}-regular" for n in published} <= {folder.name for folder in shipped}


def test_every_shipped_checkpoint_and_baseline_is_evaluated(
    own: Family, shipped: list[Path], runs: list[Run]
) -> None:
    done = {run.config.column for run in runs if run.complete and run.config.family == own.name}
    names = (folder.name.replace("-", "/") for folder in shipped)
    assert {*names, *(f"baseline/{variant}" for variant in VARIANTS)} <= done


def test_each_card_and_curve_is_what_the_record_and_the_stored_runs_make(
    own: Family, shipped: list[Path], runs: list[Run], tmp_path: Path
) -> None:
    for folder in shipped:
        record = json.loads((folder / "checkpoint.json").read_text(encoding="utf-8"))
        checkpoint = read_checkpoint(own, folder, "shipped")
        evaluated = [run for run in runs if run.config.fingerprint == checkpoint.fingerprint]
        written = (folder / "README.md").read_text(encoding="utf-8")
        assert written == model_card(own, checkpoint, record, evaluated)
        draw_curve(record, tmp_path / "loss.svg")
        assert (folder / "loss.svg").read_text() == (tmp_path / "loss.svg").read_text()
