"""The statistics equal those of scipy and statsmodels where these have them, and hold what they promise."""

import json

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from maintenance import coverage_study as simulate
from pipeline import stats
from pipeline.command_line.verbs import run_verb


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.mark.parametrize("n", [1, 7, 50, 200])
def test_wilson_equals_statsmodels(n):
    successes = np.arange(n + 1)
    low, high = stats.wilson(successes / n, n)
    theirs = proportion_confint(successes, n, method="wilson")
    np.testing.assert_allclose([low, high], np.clip(theirs, 0, 1), atol=1e-12)


@pytest.mark.parametrize(
    ("name", "method"),
    [("Clopper-Pearson", "beta"), ("Agresti-Coull", "agresti_coull"), ("Jeffreys", "jeffreys")],
)
def test_the_intervals_of_the_study_equal_those_of_statsmodels(name, method):
    successes = np.arange(51)
    theirs = proportion_confint(successes, 50, method=method)
    np.testing.assert_allclose(np.array(simulate.other_intervals(successes, 50)[name]), np.clip(theirs, 0, 1))


def test_mcnemar_equals_scipy_and_statsmodels():
    for wins, losses in [(0, 0), (1, 0), (5, 0), (6, 0), (3, 9), (9, 3), (20, 20), (40, 11)]:
        ours = float(stats.mcnemar(wins, losses))
        theirs = statsmodels_mcnemar([[0, wins], [losses, 0]], exact=True).pvalue if wins + losses else 1.0
        assert ours == pytest.approx(theirs, abs=1e-12)
        if wins + losses:
            assert ours == pytest.approx(scipy_stats.binomtest(wins, wins + losses).pvalue, abs=1e-12)


def test_holm_equals_statsmodels_and_passes_over_missing_ones(rng):
    p = rng.random(40) ** 3
    np.testing.assert_allclose(stats.holm(p), multipletests(p, method="holm")[1])
    with_gap = stats.holm(np.insert(p, 5, np.nan))
    assert np.isnan(with_gap[5])
    np.testing.assert_allclose(np.delete(with_gap, 5), stats.holm(p))


def test_sign_flip_is_exact_for_few_clusters(rng):
    differences = rng.normal(0.3, 1, (6, 11))
    ours = stats.sign_flip(differences)
    for row, p in zip(differences, ours, strict=True):
        theirs = scipy_stats.permutation_test(
            (row,), np.sum, permutation_type="samples", n_resamples=np.inf
        ).pvalue
        assert p == pytest.approx(theirs, abs=1e-12)


def test_sign_flip_agrees_with_scipy_for_many_clusters(rng):
    differences = rng.normal(0.15, 1, (3, 200))
    for row, p in zip(differences, stats.sign_flip(differences), strict=True):
        theirs = scipy_stats.permutation_test(
            (row,),
            lambda x, axis: x.sum(axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=9_999,
            rng=rng,
        ).pvalue
        assert p == pytest.approx(theirs, abs=0.02)


def test_sign_flip_of_single_samples_is_mcnemar(rng):
    differences = np.array([1.0] * 9 + [-1.0] * 3 + [0.0] * 30)
    assert stats.sign_flip(differences)[0] == pytest.approx(float(stats.mcnemar(9, 3)), abs=1e-12)


def test_equal_checkpoints_have_p_one():
    assert stats.sign_flip(np.zeros((2, 50))).tolist() == [1.0, 1.0]
    assert float(stats.mcnemar(0, 0)) == 1.0


def test_copying_every_sample_within_its_repository_narrows_no_interval(rng):
    values = rng.beta(2, 3, 60)
    single = stats.mean_interval(values, np.arange(60))
    copied = stats.mean_interval(np.tile(values, 3), np.tile(np.arange(60), 3))
    np.testing.assert_allclose(copied, single, rtol=1e-9)
    solved = (values > 0.4).astype(float)
    few = stats.rate_interval(solved, np.arange(60))
    many = stats.rate_interval(np.tile(solved, 3), np.tile(np.arange(60), 3))
    assert many.high - many.low == pytest.approx(few.high - few.low, rel=0.05)


def test_few_repositories_are_not_taken_for_a_sample_of_all_but_their_files_may_be():
    few = ["torch", "trl"] * 100
    codes, level = stats.choose_clusters({"repository": few, "file": [f"{i // 2}.py" for i in range(200)]})
    assert (len(np.unique(codes)), level) == (100, "file")
    codes, level = stats.choose_clusters({"repository": few, "file": few})
    assert (len(np.unique(codes)), level) == (200, "")


def test_enough_repositories_are_kept_together():
    codes, level = stats.choose_clusters({"repository": [f"repo{i // 4}" for i in range(200)]})
    assert (len(np.unique(codes)), level) == (50, "repository")


def test_samples_that_share_nothing_stand_alone():
    assert stats.choose_clusters({"repository": [f"repo{i}" for i in range(50)]})[1] == ""


def test_constant_scores_give_an_interval_of_that_one_value_and_one_sample_gives_none():
    assert stats.mean_interval(np.full(20, 0.3), np.arange(20)) == pytest.approx((0.3, 0.3))
    assert np.isnan(stats.mean_interval(np.array([0.3]), np.arange(1))).all()


def test_an_interval_of_very_few_scores_is_student_s_t_and_wider_than_their_range():
    low, high = stats.mean_interval(np.array([0.885, 1.143, 1.013, 1.072]), np.arange(4))
    assert (low, high) == pytest.approx((0.854, 1.202), abs=0.001)


def test_many_experiments_at_once_give_what_each_gives_alone(rng):
    values = rng.beta(2, 3, (3, 80))
    codes = np.arange(80) // 2
    together = stats.mean_interval(values, codes, resamples=500)
    for i, row in enumerate(values):
        np.testing.assert_allclose(stats.mean_interval(row, codes, resamples=500), [e[i] for e in together])


@pytest.mark.parametrize("n", simulate.SIZES)
def test_wilson_covers_93_to_97_percent_from_05_to_95(n):
    found = simulate.exact_coverage(n)
    assert found["within 93.0 to 97.0%"] == "19 of 19"
    assert found["every rate"]["lowest"] >= 0.93  # too short for no rate at all, on the grid or off it


def test_the_intervals_cover_with_and_without_repositories(rng, monkeypatch):
    monkeypatch.setattr(simulate, "RATES", (0.1, 0.3, 0.5, 0.7, 0.9))
    alone = simulate.means(rng, 50, 300)["coverage"]
    shared = simulate.clustered_means(rng, 200, 100, 0.1, 300)["coverage"]
    rates = simulate.clustered_rates(rng, 200, 100, 0.1, 600)["coverage"]
    assert np.mean(list(alone.values())) == pytest.approx(0.95, abs=0.015)
    assert np.mean(list(shared.values())) == pytest.approx(0.945, abs=0.015)
    assert np.mean(list(rates.values())) == pytest.approx(0.95, abs=0.015)


def test_two_thousand_comparisons_of_a_checkpoint_with_itself_find_hardly_a_difference(rng):
    noise = 3 * np.sqrt(0.05 * 0.95 / 2_000)
    for found in simulate.aa_independent(rng, 2_000):
        assert found["false positives"] <= 0.05 + noise, found


def test_repositories_hold_the_level_that_ignoring_them_breaks(rng, monkeypatch):
    monkeypatch.setattr(simulate, "CLUSTERED", ((200, 60),))
    monkeypatch.setattr(simulate, "SIMILARITY", (0.3,))
    rates, means = simulate.aa_clustered(rng, 2_000)
    noise = 3 * np.sqrt(0.05 * 0.95 / 2_000)
    assert rates["had repositories been ignored"] > 0.1
    assert max(rates["false positives"], means["false positives"]) <= 0.05 + noise


def test_the_smallest_detectable_difference_is_found_four_times_in_five(rng):
    for found in simulate.power(rng, 1_000):
        assert found["power"] == pytest.approx(0.8, abs=0.05), found


def test_nothing_is_detectable_where_nothing_varies_or_too_few_samples_are_there():
    assert np.isnan(stats.smallest_detectable(np.zeros(50), np.arange(50), binary=False))
    assert np.isnan(stats.smallest_detectable(np.array([1.0, 0, -1, 0]), np.arange(4), binary=True))


def test_the_power_law_comes_back_from_its_own_curve(rng):
    sizes = [0, 200, 1_000, 5_000, 10_000]
    true = [0.7 - 0.4 * (n + 1) ** -0.25 for n in sizes]
    fit = stats.fit_scaling(sizes, [rng.normal(m, 1e-4, (1, 100)) for m in true], np.arange(100))
    assert (fit.a, fit.b, fit.c) == pytest.approx((0.4, 0.25, 0.7), rel=0.05)
    assert fit.gain == pytest.approx(0.4 * (10_001**-0.25 - 20_001**-0.25), rel=0.05)
    assert not fit.training_noise
    assert fit.sizes[-1] == 20_000


def test_the_band_of_the_next_doubling_holds_the_truth_as_often_as_it_says(rng):
    sizes = [0, 200, 1_000, 5_000, 10_000]
    true = [0.7 - 0.4 * (n + 1) ** -0.25 for n in sizes]
    truth = 0.4 * (10_001**-0.25 - 20_001**-0.25)
    held = 0
    for _ in range(120):
        difficulty = rng.normal(0, 0.1, 100)
        scores = [(m + difficulty + rng.normal(0, 0.1, 100))[None] for m in true]
        fit = stats.fit_scaling(sizes, scores, np.arange(100), resamples=200)
        held += fit.gain_low <= truth <= fit.gain_high
    assert 0.89 <= held / 120 <= 0.99


def test_training_seeds_widen_the_band(rng):
    sizes = [0, 200, 1_000, 5_000]
    means = [0.3, 0.5, 0.55, 0.6]
    one = stats.fit_scaling(sizes, [rng.normal(m, 0.1, (1, 100)) for m in means], np.arange(100))
    seeds = [
        np.stack([rng.normal(m + shift, 0.1, 100) for shift in (-0.05, 0, 0.05)]) if m > 0.3 else one_row
        for m, one_row in zip(means, [rng.normal(0.3, 0.1, (1, 100))] * 4, strict=True)
    ]
    several = stats.fit_scaling(sizes, seeds, np.arange(100))
    assert several.training_noise
    assert several.gain_high - several.gain_low > one.gain_high - one.gain_low


def test_three_sizes_are_too_few_for_three_parameters():
    assert stats.fit_scaling([0, 200, 500], [np.ones((1, 5))] * 3, np.arange(5)) is None


def test_the_command_writes_what_it_found_with_its_versions(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(simulate, "CLUSTERED", ((50, 40),))
    monkeypatch.setattr(simulate, "RATES", (0.2, 0.5))
    output = tmp_path / "coverage.json"
    arguments = ["--experiments", "200", "--coverage", "20", "--output", str(output)]
    assert run_verb(simulate.coverage_study, arguments) == 0
    found = json.loads(output.read_text())
    assert json.loads(capsys.readouterr().out) == found
    assert {"date", "command", "versions", "A/A"} <= found.keys()
