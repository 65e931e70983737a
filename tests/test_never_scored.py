"""A run that was never scored by a metric is no part of that metric: neither of figures nor of counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.analysis import Analysis, Setup, analyze, find_setups
from pipeline.evaluation.runs import Run
from pipeline.settings import Settings
from tests.made_up_runs import CHRF, JUDGE, bare_settings, make_run
from ui.results.export import as_json
from ui.results.sentences import caveats

RATES = {0: 0.4, 200: 0.5, 500: 0.6, 5000: 0.7}


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    return bare_settings(tmp_path)


def ladder(settings: Settings) -> list[Run]:
    """A judged run of every size."""
    return [
        make_run(settings, size, values={JUDGE: verdicts(rate), CHRF: [50.0] * 40})
        for size, rate in RATES.items()
    ]


def verdicts(rate: float) -> list[float | None]:
    return [float(i < 40 * rate) for i in range(40)]


def never_judged(settings: Settings) -> Run:
    """Another training seed of the largest size, of which chrF alone was computed."""
    return make_run(settings, 5000, seed=43, values={CHRF: [50.0] * 40})


def judged(runs: list[Run]) -> Analysis:
    return analyze(only(runs), JUDGE)


def only(runs: list[Run]) -> Setup:
    (setup,) = find_setups(runs)
    return setup


def test_a_training_seed_that_was_never_judged_changes_no_figure_of_the_judge(own: Settings) -> None:
    runs = ladder(own)
    without, beside = as_json(judged(runs)), as_json(judged([*runs, never_judged(own)]))
    said = [without.pop("caveats"), beside.pop("caveats")]
    assert beside == without
    assert [each for each in said[1] if each not in said[0]] == [
        "Never scored by this metric, so not part of these figures: 5,000 samples (seed 43) · regular."
    ]


def test_the_fitted_line_follows_the_points_beside_a_training_seed_without_a_verdict(own: Settings) -> None:
    silent = make_run(own, 5000, seed=43, values={JUDGE: [None] * 40, CHRF: [50.0] * 40})
    runs = ladder(own)
    fit, beside = judged(runs).fits["regular"], judged([*runs, silent]).fits["regular"]
    assert beside.curve == pytest.approx(fit.curve)


def test_a_resample_without_a_score_of_a_seed_does_not_count_it_as_0(own: Settings) -> None:
    begun = make_run(own, 5000, seed=43, values={JUDGE: [*verdicts(0.7)[:1], *[None] * 39]})
    fit = judged([*ladder(own), begun]).fits["regular"]
    at = int(np.argmin(abs(fit.sizes - 5000)))
    assert fit.low[at] > 0.5


def test_an_answer_that_a_judge_has_not_read_is_missing_and_one_that_it_refused_is_unscored(
    own: Settings,
) -> None:
    run = make_run(own, 0, values={JUDGE: [1.0, 0.0, None, 1.0], CHRF: [50.0] * 4})
    last = run.attempts[run.config.sample_ids[3]]
    last.scores.pop(JUDGE)
    (point,) = judged([run]).points
    assert (point.n, point.unscored, point.missing) == (2, 1, 1)
    assert "Missing: 1 output, as an evaluation is running or was stopped." in caveats(judged([run]))
