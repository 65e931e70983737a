"""The table of the Checkpoints tab."""

from __future__ import annotations

from pathlib import Path

from pipeline.models.families import Family
from pipeline.schema import Checkpoint, SamplingParams
from tests.made_up_runs import bare_settings, make_run
from ui.checkpoints.table import Listed, chrf_of, table


def test_scores_in_one_table_are_of_runs_that_decode_alike(tmp_path: Path, family: Family) -> None:
    bare = bare_settings(tmp_path)
    later = "2026-02-03T00:00:00+00:00"
    usual = make_run(bare, 200, values={"chrF": [40.0, 50.0]}, decoding=family.sampling)
    warm = make_run(bare, 200, values={"chrF": [1.0, 2.0]}, decoding=SamplingParams(0.1), created=later)
    assert chrf_of(family, [usual, warm]) == {(usual.config.fingerprint, "regular"): 45.0}


def test_the_baseline_has_a_score_for_each_prompt_that_checkpoints_are_trained_on(
    tmp_path: Path, family: Family
) -> None:
    bare = bare_settings(tmp_path)
    regular = make_run(bare, 0, values={"chrF": [30.0]}, decoding=family.sampling)
    augmented = make_run(
        bare,
        0,
        "augmented",
        values={"chrF": [10.0]},
        decoding=family.sampling,
        created="2026-02-03T00:00:00+00:00",
    )
    scores = chrf_of(family, [regular, augmented])
    baseline = Checkpoint(family.name, "baseline")
    assert "30.0 regular, 10.0 augmented" in table(Listed(family, [baseline], [], False, scores), [])
