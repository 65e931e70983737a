"""Metrics held against execution, and pass@k: hand-computed values, references, and what is said in words."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.inter_rater import cohens_kappa

from maintenance import readme_section as readme
from pipeline import stats
from pipeline.analysis import analyze, find_setups
from pipeline.analysis.agreement import against_execution
from pipeline.analysis.passes import passes_at_k
from pipeline.evaluation.store import append_attempts, load_run
from pipeline.evaluation.stored_runs import StoredRuns
from pipeline.models.families import load_families
from pipeline.schema import SamplingParams
from tests.made_up_runs import BERT, BITS, CHRF, EXECUTION, JUDGE, bare_settings, make_run
from ui.labels import setup_title
from ui.results import against_tests, report, sentences
from ui.results.presenter import Presenter


@pytest.fixture
def own(tmp_path):
    return bare_settings(tmp_path)


@pytest.fixture
def rng():
    return np.random.default_rng(4)


def executed(settings, size, passed, seed=42, **scores):
    """A run of a suite: whether each sample passes, and other metrics' scores."""
    names = {"chrf": CHRF, "bert": BERT, "bits": BITS, "judge": JUDGE, "raw": f"{BERT} · raw text"}
    values = {EXECUTION: [float(each) for each in passed]}
    values |= {names[name]: [None if x is None else float(x) for x in row] for name, row in scores.items()}
    decoding = SamplingParams(0.6, 0.1, 256, seed)
    return make_run(settings, size, dataset="humaneval", decoding=decoding, values=values)


def held(*runs):
    (setup,) = find_setups(runs)
    return against_execution(setup)


def following(rng, passed, strength):
    """Scores between 0 and 1 that are higher where attempts pass."""
    return 0.5 + (rng.normal(0, 1, len(passed)) + strength * np.asarray(passed)) / 20


# The figures


def test_auc_and_tau_b_equal_what_is_counted_by_hand():
    # Of the four pairs of a passing and a failing attempt three are won and one is tied.
    scores, passed = np.array([3.0, 1, 2, 2]), np.array([True, False, True, False])
    counts = stats.count_pairs(scores, passed, np.arange(4), np.zeros(4, int))
    assert stats.auc(counts, np.ones(4)) == pytest.approx(3.5 / 4)
    assert stats.kendall_tau_b(counts, np.ones(4)) == pytest.approx(3 / np.sqrt((6 - 1) * (6 - 2)))


@pytest.mark.parametrize("places", [0, 1, 6])
def test_auc_and_tau_b_equal_scipy_with_and_without_ties(rng, places):
    passed = rng.random(80) < 0.4
    scores = (20 * following(rng, passed, 0.8)).round(places)
    counts = stats.count_pairs(scores, passed, np.arange(80) // 2, np.zeros(80, int))
    u = scipy_stats.mannwhitneyu(scores[passed], scores[~passed]).statistic
    assert stats.auc(counts, np.ones(40)) == pytest.approx(u / (passed.sum() * (~passed).sum()))
    tau = scipy_stats.kendalltau(scores, passed).statistic
    assert stats.kendall_tau_b(counts, np.ones(40)) == pytest.approx(tau)


def test_a_cluster_that_counts_twice_counts_as_if_its_attempts_were_there_twice(rng):
    passed = rng.random(30) < 0.5
    scores, codes = (20 * following(rng, passed, 1)).round(1), np.arange(30) // 3
    weights = np.array([2.0, *[1.0] * 9])
    again = np.concatenate([np.arange(30), np.arange(3)])
    one = stats.count_pairs(scores, passed, codes, np.zeros(30, int))
    both = stats.count_pairs(scores[again], passed[again], np.arange(33), np.zeros(33, int))
    for figure in (stats.auc, stats.kendall_tau_b):
        assert figure(one, weights) == pytest.approx(figure(both, np.ones(33)))


def test_within_checkpoints_only_attempts_of_the_same_one_are_compared():
    # Checkpoint 1 is better at both metrics; within each checkpoint the scores say nothing.
    scores = np.array([1.0, 1, 1, 9, 9, 9])
    passed = np.array([True, False, False, True, True, False])
    checkpoints = np.array([0, 0, 0, 1, 1, 1])
    counts = stats.count_pairs(scores, passed, np.arange(6), checkpoints)
    assert stats.auc(counts, np.ones(6)) == 0.5
    overall = stats.count_pairs(scores, passed, np.arange(6), np.zeros(6, int))
    # Nine pairs: 9 over 1 four times, 1 over 9 once, four ties.
    assert stats.auc(overall, np.ones(6)) == pytest.approx((4 + 4 / 2) / 9)


def test_kappa_equals_statsmodels(rng):
    passed = rng.random(60) < 0.5
    verdicts = np.where(rng.random(60) < 0.8, passed, ~passed)
    table = np.histogram2d(verdicts, passed, bins=2)[0]
    assert stats.cohen_kappa(verdicts, passed, np.arange(60))(np.ones(60)) == pytest.approx(
        cohens_kappa(table).kappa
    )


def test_the_interval_of_a_mean_is_that_of_any_figure_that_is_the_mean(rng):
    values, codes = rng.beta(2, 3, 80), np.arange(80) // 2
    sums, counts = stats.cluster_sums(values, codes)
    found = stats.cluster_interval(lambda weights: weights @ sums / (weights @ counts), 40, 40, 9_999)
    np.testing.assert_allclose(found, stats.mean_interval(values, codes), rtol=0.01)


# A set-up


def test_a_metric_that_follows_the_tests_leads_one_that_does_not(own, rng):
    runs = []
    for size in (0, 200):
        passed = rng.random(120) < 0.4
        runs.append(
            executed(own, size, passed, chrf=following(rng, passed, 2), bert=following(rng, passed, 0))
        )
    found = held(*runs)
    assert [each.metric.name for each in found.metrics] == [CHRF, BERT]
    assert found.lead.distinguishable
    best, other = (each.within.auc for each in found.metrics)
    assert best.low > 0.8
    assert other.low < 0.5 < other.high
    assert found.lead.difference.value == pytest.approx(best.value - other.value)


def test_equally_good_metrics_cannot_be_told_from_each_other(own, rng):
    passed = rng.random(120) < 0.4
    found = held(
        executed(own, 0, passed, chrf=following(rng, passed, 1), bert=following(rng, passed, 1)),
    )
    assert not found.lead.distinguishable


def test_a_metric_where_lower_is_better_is_turned_around(own, rng):
    passed = rng.random(60) < 0.5
    (bits,) = held(executed(own, 0, passed, bits=1 - following(rng, passed, 2))).metrics
    assert bits.overall.auc.value > 0.8
    assert bits.overall.tau.value > 0.4


def test_a_rescaled_metric_stands_with_the_one_that_it_repeats(own, rng):
    passed = rng.random(60) < 0.5
    scores = following(rng, passed, 1)
    found = held(executed(own, 0, passed, bert=scores, raw=scores**2, chrf=following(rng, passed, 1)))
    assert sorted((each.metric.name, each.same_order) for each in found.metrics) == [
        (BERT, (f"{BERT} · raw text",)),
        (CHRF, ()),
    ]


def test_the_same_answers_of_more_checkpoints_narrow_no_interval(own, rng):
    passed = rng.random(80) < 0.5
    scores = following(rng, passed, 1)
    one = held(executed(own, 0, passed, chrf=scores)).metrics[0]
    three = held(*(executed(own, size, passed, chrf=scores) for size in (0, 200, 500))).metrics[0]
    width = one.within.auc.high - one.within.auc.low
    assert three.within.auc.value == pytest.approx(one.within.auc.value)
    assert three.within.auc.high - three.within.auc.low == pytest.approx(width, rel=0.02)


def test_a_difference_between_checkpoints_is_no_agreement_within_them(own, rng):
    runs = []
    for size, share, level in ((0, 0.2, 0.0), (1000, 0.8, 10.0)):
        passed = rng.random(100) < share
        runs.append(executed(own, size, passed, chrf=level + following(rng, passed, 0)))
    (chrf,) = held(*runs).metrics
    assert chrf.overall.auc.low > 0.7
    assert chrf.within.auc.low < 0.5 < chrf.within.auc.high


def test_attempts_without_both_scores_are_left_out(own, rng):
    passed = [1.0, 0.0] * 20
    scores = following(rng, passed, 1).tolist()
    scores[0] = None
    (chrf,) = held(executed(own, 0, passed, chrf=scores)).metrics
    assert (chrf.attempts, chrf.passing) == (39, 19)


def test_too_few_passing_attempts_are_said_in_words(own, rng):
    passed = [1.0] * 9 + [0.0] * 50
    (chrf,) = held(executed(own, 0, passed, chrf=rng.random(59))).metrics
    assert chrf.overall == chrf.within == "9 samples with a passing attempt, and 10 are needed"


def test_where_nothing_passes_no_checkpoint_is_spoken_of(own, rng):
    (chrf,) = held(executed(own, 0, [0.0] * 30, chrf=rng.random(30))).metrics
    assert chrf.overall == chrf.within == "0 samples with a passing attempt, and 10 are needed"


def test_a_checkpoint_that_passes_nothing_adds_no_pairs_within_checkpoints(own, rng):
    runs = [
        executed(own, 0, [0.0] * 30, chrf=rng.random(30)),
        executed(own, 200, [1.0] * 30, chrf=rng.normal(1, 1, 30)),
    ]
    (chrf,) = held(*runs).metrics
    assert isinstance(chrf.overall, stats.Association)
    assert chrf.within == (
        "0 samples with a passing attempt of a checkpoint with both passing and failing ones, "
        "and 10 are needed"
    )


def test_a_metric_with_equal_scores_has_no_figure(own):
    (chrf,) = held(executed(own, 0, [1.0, 0.0] * 20, chrf=[7.0] * 40)).metrics
    assert chrf.overall == "all attempts have the same score"
    assert chrf.verdicts is None


def test_a_set_up_without_execution_is_held_against_nothing(own):
    assert held(make_run(own, 0)) is None


def test_a_perfect_metric_has_an_interval_that_is_not_a_point(own, rng):
    passed = rng.random(40) < 0.5
    chrf, judge = held(executed(own, 0, passed, chrf=passed + rng.random(40), judge=passed)).metrics
    for auc in (chrf.overall.auc, judge.overall.auc):
        assert auc.value == auc.high == 1
        assert 0.6 < auc.low < 0.95
    assert judge.overall.tau.value == judge.verdicts.kappa.value == pytest.approx(1)
    assert judge.overall.tau.low < 0.95
    assert judge.verdicts.kappa.low < 0.95


def test_a_judge_s_verdicts_are_counted_by_hand(own):
    passed = [1.0] * 20 + [0.0] * 30
    verdicts = [1.0] * 15 + [0.0] * 5 + [1.0] * 6 + [0.0] * 24
    (judge,) = held(executed(own, 0, passed, judge=verdicts)).metrics
    found = judge.verdicts
    assert found.accuracy.value == pytest.approx(39 / 50)
    assert found.false_correct.value == pytest.approx(6 / 30)
    assert found.false_incorrect.value == pytest.approx(5 / 20)
    chance = 21 / 50 * 20 / 50 + 29 / 50 * 30 / 50
    assert found.kappa.value == pytest.approx((39 / 50 - chance) / (1 - chance))
    assert found.kappa.low < found.kappa.value < found.kappa.high
    np.testing.assert_allclose([found.accuracy.low, found.accuracy.high], stats.wilson(39 / 50, 50))


def test_a_judge_that_gives_degrees_has_no_verdicts(own, rng):
    passed = [1.0, 0.0] * 20
    (judge,) = held(executed(own, 0, passed, judge=rng.random(40).round(2))).metrics
    assert isinstance(judge.overall, stats.Association)
    assert judge.verdicts is None


# pass@k


def drawn(settings, *draws, size=0):
    return [executed(settings, size, passed, seed) for seed, passed in enumerate(draws)]


def test_pass_at_k_is_the_estimator_over_runs_that_differ_in_their_sampling_seed(own):
    setups = find_setups(drawn(own, [1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 1]))
    (found,) = passes_at_k(setups[0], setups)
    assert found.seeds == (0, 1, 2)
    # Three, one, none and one of three completions pass.
    assert [each.value for each in found.estimates] == pytest.approx(
        [5 / 12, (1 + 2 / 3 + 0 + 2 / 3) / 4, 3 / 4]
    )
    assert all(each.low < each.value < each.high for each in found.estimates)


def test_a_sample_of_which_a_completion_was_not_executed_does_not_count(own):
    runs = drawn(own, [1, 0, 0, 1], [1, 0, 1, 0])
    other = executed(own, 0, [1, 0, 1, 0], seed=3)
    unscored = make_run(
        own,
        0,
        dataset="humaneval",
        decoding=other.config.decoding,
        values={EXECUTION: [1.0, None, 1.0, 0.0]},
        created="2026-02-01T00:00:00+00:00",
    )
    setups = find_setups([*runs, unscored])
    assert passes_at_k(setups[0], setups)[0].samples == 3


def test_one_draw_other_checkpoints_and_other_samples_give_no_pass_at_k(own):
    setups = find_setups(
        [
            *drawn(own, [1, 0, 1]),
            *drawn(own, [1, 0, 1], size=200),
            executed(own, 0, [1, 0, 1, 1], seed=7),
        ]
    )
    assert [passes_at_k(each, setups) for each in setups] == [[]] * len(setups)


def test_suites_are_never_pooled(own):
    runs = [
        make_run(own, 0, dataset=dataset, values={f"execution ({name})": [1.0, 0.0]})
        for dataset, name in (("packages-exec", "packages"), ("metrics-exec", "metrics"))
    ]
    assert {setup.execution for setup in find_setups(runs)} == {
        "execution (packages)",
        "execution (metrics)",
    }


# What is shown


def shown(runs):
    (setup,) = find_setups(runs)
    return against_tests.agreement(setup, against_execution(setup))


def test_the_best_metric_is_named_and_whether_the_next_differs_from_it(own, rng):
    passed = rng.random(120) < 0.4
    found = held(executed(own, 0, passed, chrf=following(rng, passed, 2), bert=following(rng, passed, 0)))
    first, best, next_one = against_tests.sentences(found)
    assert first == f"{passed.sum()} of 120 executed attempts pass their tests ({passed.mean():.0%})."
    assert best.startswith("chrF follows the tests best: of two attempts of one checkpoint")
    assert next_one.startswith(f"It can be distinguished from the next, {BERT} (difference of the AUC +.")


def test_a_best_metric_that_is_no_better_than_chance_is_said_to_be(own):
    passed = [1.0, 0.0] * 20
    found = held(executed(own, 0, passed, chrf=[1.0, 2.0, 2.0, 1.0] * 10))
    assert "AUC .500, 95% interval" in against_tests.sentences(found)[1]
    assert "which chance can explain" in against_tests.sentences(found)[1]


def test_too_few_passes_leave_words_and_no_table(own, rng):
    html = shown([executed(own, 0, [1.0] * 3 + [0.0] * 30, chrf=rng.random(33))])
    assert "Within checkpoints no metric can be held against the tests: 3 samples with a passing" in html
    assert "<table" not in html


def test_a_metric_without_a_figure_says_why_in_its_row(own, rng):
    passed = rng.random(60) < 0.5
    html = shown([executed(own, 0, passed, chrf=following(rng, passed, 1), bert=[0.5] * 60)])
    assert html.count("all attempts have the same score") == 2


def test_a_set_up_without_execution_says_which_command_makes_it(own):
    html = shown([make_run(own, 0), make_run(own, 200, "augmented", seed=43)])
    assert "--prompt=regular --subset-size=baseline --suite=humaneval" in html
    assert "--prompt=augmented --subset-size=200 --training-seed=43 --suite=humaneval" in html


def test_a_set_up_without_execution_names_those_that_have_it(own):
    make_run(own, 0)
    executed(own, 0, [1.0, 0.0], chrf=[1.0, 2.0])
    presenter = Presenter(StoredRuns(own))
    plain, suite = sorted(presenter.runs.setups(), key=lambda setup: setup.execution is not None)
    families = load_families(own)
    html = presenter.against(plain.key, CHRF)["agreement"]
    assert setup_title(suite, families) in html
    assert setup_title(plain, families) not in html
    assert "training.evaluate" not in html


def test_where_nothing_could_be_executed_the_reason_is_said(own):
    run = make_run(own, 0, dataset="humaneval", values={EXECUTION: [None] * 4, CHRF: [1.0] * 4})
    assert "No attempt of this set-up could be executed: made up" in shown([run])


def test_attempts_that_the_tests_contradict_are_listed_on_both_sides(own):
    presenter = Presenter(StoredRuns(own))
    executed(own, 0, [0.0, 1.0, 1.0, 0.0], chrf=[90.0, 10.0, 80.0, 20.0])
    key = presenter.runs.setup("").key
    high, _, low = presenter.cases(key, "", CHRF).partition("is low, the tests pass")
    assert "is high, the tests fail: 1 attempt" in high
    assert "function_0" in high
    assert ": 1 attempt" in low
    assert "function_1" in low
    without = presenter.cases(key, "pkg0/module_0.py::function_0", CHRF)
    assert "is high, the tests fail: 0 attempts" in without


def test_execution_leads_its_set_up_and_the_readme(own, rng, tmp_path, monkeypatch):
    monkeypatch.setattr("maintenance.readme_section.Settings.from_env", lambda: own)
    passed = rng.random(40) < 0.5
    for size in (0, 200):
        executed(own, size, passed, bert=rng.random(40), chrf=rng.random(40), bits=rng.random(40))
    assert Presenter(StoredRuns(own)).show("", "")["metric"].value == EXECUTION
    text = tmp_path / "README.md"
    text.write_text(f"{readme.START}{readme.END}")
    readme.readme_section("smollm2-135m", readme=text, figures=tmp_path)
    assert f"| training samples | {EXECUTION} ↑ | {BITS} ↓ | {BERT} ↑ |" in text.read_text()


def test_pass_at_1_has_wilson_s_interval(own):
    (point,) = analyze(find_setups([executed(own, 0, [1.0] * 12 + [0.0] * 28)])[0], EXECUTION).points
    np.testing.assert_allclose((point.low, point.high), stats.wilson(0.3, 40))


def test_pass_at_k_stands_below_the_curve_of_execution_alone(own):
    drawn(own, [1, 1, 0, 0], [1, 0, 0, 0])
    presenter = Presenter(StoredRuns(own))
    shown = presenter.show("", EXECUTION)["passes"]
    assert "pass@2" in shown
    assert "pass@3" not in shown
    executed(own, 0, [1, 0, 0, 0], seed=5, chrf=[1, 2, 3, 4])
    with_chrf = next(setup for setup in presenter.runs.setups() if CHRF in setup.metrics)
    assert presenter.show(with_chrf.key, CHRF)["passes"] == ""


def test_flagged_passes_are_counted_with_what_they_change(own):
    run = executed(own, 0, [1.0, 1.0, 0.0, 0.0])
    for attempt in list(run.attempts.values())[1:3]:
        score = attempt.scores[EXECUTION]
        flagged = replace(score, details={"flags": ["imports the package"]})
        append_attempts(run.path, [replace(attempt, scores={EXECUTION: flagged})])
    said = sentences.caveats(analyze(find_setups([load_run(run.path)])[0], EXECUTION))
    assert (
        "1 pass is flagged, since the code may have reached the reference: "
        "1 of baseline · regular (.250 if they count as failures)."
    ) in said


def test_exports_hold_agreement_and_pass_at_k(own, rng):
    first, again = (rng.random(40) < 0.5 for _ in range(2))
    executed(own, 0, first, seed=1, chrf=following(rng, first, 1))
    executed(own, 0, again, seed=2, chrf=following(rng, again, 1))
    presenter = Presenter(StoredRuns(own))
    setup = presenter.runs.setup("")
    found = json.loads(report.json_export(presenter.runs, setup))
    assert found["against_tests"]["metrics"][0]["metric"] == CHRF
    assert found["against_tests"]["metrics"][0]["within"]["auc"]["value"] > 0.5
    assert list(found["pass_at_k"][0]["pass_at"]) == ["1", "2"]
    page = report.html(presenter.runs, setup, EXECUTION)
    assert "<h2>Metrics against tests</h2>" in page
    assert page.index(f"<h2>{EXECUTION}") < page.index(f"<h2>{CHRF}")


def with_votes(run, flipped):
    """The run as judged with three votes each, of which those of the given samples contradict each other."""
    for number, each in enumerate(run.attempts.values()):
        details = {"votes": [{}, {}, {}], "flipped": number in flipped}
        append_attempts(
            run.path, [replace(each, scores={JUDGE: replace(each.scores[JUDGE], details=details)})]
        )
    return load_run(run.path)


def test_a_judge_s_flips_stand_beside_its_verdicts_with_an_interval(own):
    run = executed(own, 0, [1.0] * 20 + [0.0] * 30, judge=[1.0] * 15 + [0.0] * 35)
    found = held(with_votes(run, range(5)))
    (judge,) = found.metrics
    assert judge.flips.value == pytest.approx(0.1)
    np.testing.assert_allclose([judge.flips.low, judge.flips.high], stats.wilson(0.1, 50))
    (setup,) = find_setups([load_run(run.path)])
    assert ".100 (" in against_tests.agreement(setup, found)


def test_a_judge_with_one_vote_has_no_flips(own):
    (judge,) = held(executed(own, 0, [1.0] * 20 + [0.0] * 30, judge=[1.0] * 15 + [0.0] * 35)).metrics
    assert judge.flips is None


def test_beside_a_judge_s_figures_stands_what_the_tests_say_of_it(own):
    executed(own, 0, [1.0] * 20 + [0.0] * 30, judge=[1.0] * 15 + [0.0] * 5 + [1.0] * 6 + [0.0] * 24)
    shown = Presenter(StoredRuns(own)).show("", JUDGE)["explanation"]
    assert "this judge is right on .780" in shown
    assert "of the failing ones correct" in shown
    assert "this judge" not in Presenter(StoredRuns(own)).show("", EXECUTION)["explanation"]
