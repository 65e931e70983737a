"""From stored runs to figures and sentences: what is compared, what counts, what is said."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest

from pipeline import stats
from pipeline.analysis import analyze, find_setups
from pipeline.analysis.contamination import find_contaminated
from pipeline.analysis.noise import estimate_training_noise
from pipeline.analysis.reported import load_reported
from pipeline.analysis.run_cache import RunCache
from pipeline.analysis.samples import agreement, disagreement, sample_matrix
from pipeline.data import dataset as datasets
from pipeline.evaluation.store import append_attempts, load_run
from pipeline.evaluation.stored_runs import StoredRuns
from pipeline.models.families import load_families
from pipeline.schema import LabError, Sample, SamplingParams, Score
from pipeline.scoring import metric_of
from pipeline.settings import Settings
from tests.made_up_runs import BERT, BITS, CHRF, JUDGE, SIZES, bare_settings, make_ladder, make_run
from ui import numbers
from ui.labels import condition_label, setup_label, setup_title, setup_titles
from ui.results import sentences, tables
from ui.results.export import as_json, curve_table, long_table
from ui.results.findings import effect_of, effect_sentences


@pytest.fixture
def own(tmp_path):
    return bare_settings(tmp_path)


def judged(settings, size, *verdicts, **more):
    return make_run(settings, size, values={JUDGE: verdicts}, **more)


def only(runs):
    (setup,) = find_setups(runs)
    return setup


# What is compared


def test_runs_of_other_samples_data_or_decoding_are_never_compared(own):
    runs = [
        make_run(own, 0),
        make_run(own, 200, samples=40),
        in_other_words(make_run(own, 200, fingerprint="0123456789ab"), 31),
        make_run(own, 200, decoding=SamplingParams(0.0, 0.0, 128, 42)),
    ]
    assert [len(setup.runs) for setup in find_setups(runs)] == [1, 1, 1, 1]


def in_other_words(run, count):
    """The run, as if the first samples had another text in the version of the packages that it is from."""
    changed = {
        sample: replace(attempt, task=replace(attempt.task, instruction="Something else."))
        for sample, attempt in list(run.attempts.items())[:count]
    }
    return replace(run, attempts={**run.attempts, **changed})


def test_runs_of_several_versions_of_a_dataset_are_compared_on_the_samples_that_are_the_same(own):
    runs = [make_run(own, 0), make_run(own, 200), make_run(own, 500, fingerprint="0123456789ab")]
    first, second, matched = find_setups([*runs[:2], in_other_words(runs[2], 10)])
    assert [len(first.runs), len(second.runs), len(matched.runs)] == [2, 1, 3]
    assert [setup.matched for setup in (first, second, matched)] == [False, False, True]
    assert [setup.samples for setup in (first, second, matched)] == [60, 60, 50]
    assert setup_label(matched).startswith("smollm2-135m · dataset packages · 50 samples · greedy")
    scored = runs[2].attempts[matched.runs[0].config.sample_ids[0]].scores[CHRF].value
    assert scored in [score.value for score in matched.runs[2].scores(CHRF)]
    assert len(analyze(matched, CHRF).pairs) == 3


def test_datasets_that_are_not_made_of_packages_are_never_matched(own):
    runs = [make_run(own, size, dataset="arxivdl", fingerprint=f"{size:012}") for size in (0, 200)]
    assert [len(setup.runs) for setup in find_setups(runs)] == [1, 1]


def test_a_greedy_run_s_seed_and_min_p_do_not_matter(own):
    runs = [make_run(own, 0), make_run(own, 200, decoding=SamplingParams(0.0, 0.1, 256, 7))]
    assert len(analyze(only(runs), CHRF).pairs) == 1


def test_set_ups_of_other_samples_have_other_keys(own):
    runs = [make_run(own, 0, samples=30), make_run(own, 0, samples=30, repos=3)]
    (one, other) = find_setups(
        [runs[0], replace(runs[1], config=replace(runs[1].config, sample_ids=("a",) * 30))]
    )
    assert setup_label(one) == setup_label(other)
    assert one.key != other.key


def test_variants_with_other_test_samples_are_shown_together_but_not_paired(own):
    regular = [make_run(own, size, dataset="arxivdl") for size in (0, 200)]
    augmented = [
        make_run(own, size, "augmented", dataset="arxivdl", fingerprint="0123456789ab") for size in (0, 200)
    ]
    analysis = analyze(only(regular + augmented), CHRF)
    assert analysis.variants == ["regular", "augmented"]
    assert [(condition_label(p.first), condition_label(p.second)) for p in analysis.pairs] == [
        ("baseline · regular", "200 · regular"),
        ("baseline · augmented", "200 · augmented"),
    ]


def test_pairs_differ_in_one_thing_only(own):
    pairs = analyze(only(make_ladder(own)), BERT).pairs
    assert len(pairs) == 10 + 10 + len(SIZES)
    assert all((p.first.size == p.second.size) != (p.first.variant == p.second.variant) for p in pairs)


def test_of_two_runs_of_one_checkpoint_the_newer_counts_and_the_older_is_told(own):
    old = judged(own, 200, 0, 0, 0, created="2026-01-01T00:00:00+00:00")
    new = judged(own, 200, 1, 1, 1, created="2026-02-01T00:00:00+00:00")
    setup = only([new, old])
    analysis = analyze(setup, JUDGE)
    assert [point.value for point in analysis.points] == [1.0]
    assert "Not shown: 1 older or unfinished run of the same checkpoints." in sentences.caveats(analysis)


def test_a_whole_run_is_not_replaced_by_a_newer_one_that_is_not_finished(own):
    whole = make_run(own, 200, samples=30, created="2026-01-01T00:00:00+00:00")
    begun = make_run(own, 200, samples=30, items=4, created="2026-02-01T00:00:00+00:00")
    (point,) = analyze(only([whole, begun]), CHRF).points
    assert (point.n, point.missing) == (30, 0)


# What counts


def test_unscored_outputs_are_left_out_pairwise_and_counted(own):
    runs = [judged(own, 0, 1, 0, None, 0, 0), judged(own, 200, 1, None, 1, 1, 0)]
    analysis = analyze(only(runs), JUDGE)
    assert [(p.value, p.n, p.unscored) for p in analysis.points] == [(0.25, 4, 1), (0.75, 4, 1)]
    (pair,) = analysis.pairs
    assert (pair.n, pair.wins, pair.ties, pair.losses) == (3, 1, 2, 0)
    assert pair.difference == pytest.approx(1 / 3)


def test_what_is_unscored_and_why_is_said_with_what_it_does_to_the_mean(own):
    analysis = analyze(only([judged(own, 0, 1, None, None, 0), judged(own, 200, 1, 0, 1, 1)]), JUDGE)
    (said,) = [caveat for caveat in sentences.caveats(analysis) if "could not be scored" in caveat]
    assert said.startswith(
        "2 outputs could not be scored, most often because made up (2 of baseline · regular)."
    )


@pytest.mark.parametrize(
    ("metric", "reason", "said", "unsaid"),
    [
        (JUDGE, "the judge's answer was cut off at 512 tokens", "too high or too low", "looks better"),
        (BERT, "the code is empty", "looks better than it is", "too low"),
        (CHRF, "there is no reference", "no score whatever the answer", "looks better"),
        (CHRF, "something else", "not counted as 0.", "looks better"),
    ],
)
def test_what_leaving_answers_out_does_to_the_figures_depends_on_why(own, metric, reason, said, unsaid):
    run = make_run(own, 0, values={metric: [0.5, 0.25, None]})
    attempt = run.attempts[run.config.sample_ids[2]]
    append_attempts(run.path, [replace(attempt, scores={metric: Score(metric, None, reason)})])
    (note,) = [
        each
        for each in sentences.caveats(analyze(only([load_run(run.path)]), metric))
        if "not counted" in each
    ]
    assert said in note
    assert unsaid not in note


def test_an_unfinished_run_is_shown_with_what_it_lacks(own):
    (point,) = analyze(only([make_run(own, 200, samples=30, items=12)]), CHRF).points
    assert (point.n, point.missing, point.unscored) == (12, 18, 0)


def test_a_run_without_any_score_of_the_metric_is_passed_over(own):
    setup = only([judged(own, 0, 1, 0), make_run(own, 200, samples=2, values={CHRF: [3.0, 4.0]})])
    assert [point.size for point in analyze(setup, JUDGE).points] == [0]


def test_a_metric_that_scored_nothing_has_no_value_and_breaks_nothing(own):
    analysis = analyze(only([judged(own, 0, None, None), judged(own, 200, 1, 0)]), JUDGE)
    assert np.isnan(analysis.points[0].value)
    assert analysis.pairs == ()
    assert curve_table(analysis)["Score"].tolist() == ["–", ".500"]


def test_lower_is_better_turns_wins_around(own):
    runs = [
        make_run(own, 0, values={BITS: [0.9, 0.9, 0.9, 0.5]}),
        make_run(own, 200, values={BITS: [0.6, 0.6, 0.9, 0.6]}),
    ]
    (pair,) = analyze(only(runs), BITS).pairs
    assert (pair.wins, pair.ties, pair.losses) == (2, 1, 1)
    assert pair.difference < 0


def test_p_values_are_corrected_over_the_whole_table(own):
    pairs = analyze(only(make_ladder(own)), BERT).pairs
    np.testing.assert_allclose([p.p_holm for p in pairs], stats.holm([p.p for p in pairs]))


def test_samples_left_out_change_every_figure(own):
    setup = only([judged(own, 0, 1, 0, 0, 0), judged(own, 200, 1, 1, 0, 0)])
    analysis = analyze(setup, JUDGE, excluded=[setup.runs[0].config.sample_ids[0]])
    assert [(p.value, p.n) for p in analysis.points] == [(0.0, 3), (pytest.approx(1 / 3), 3)]
    assert analysis.excluded == 1
    assert analysis.pairs[0].n == 3


def seeds_of(shift, samples=400, seeds=5, sizes=6):
    """Scores of several sizes with several seeds each, whose true means differ by ``shift`` between seeds."""
    rng = np.random.default_rng(5)
    return [
        rng.normal(0.5, 0.1, samples)
        + rng.normal(0, shift, (seeds, 1))
        + rng.normal(0, 0.2, (seeds, samples))
        for _ in range(sizes)
    ]


def test_equally_good_seeds_spread_no_more_than_evaluation_explains():
    noise = estimate_training_noise(seeds_of(0), np.arange(400))
    assert (noise.freedom, noise.sizes) == (24, 6)
    assert noise.evaluation == pytest.approx(0.2 / 20, rel=0.05)
    assert noise.spread == pytest.approx(0.01, rel=0.3)
    assert not noise.seen


def test_the_noise_of_training_is_told_from_that_of_evaluation():
    noise = estimate_training_noise(seeds_of(0.03), np.arange(400))
    assert noise.seen
    assert noise.training == pytest.approx(0.03, rel=0.3)
    assert noise.reach(0, 5) < noise.reach(5, 5) < noise.reach(1, 1)


def test_few_seeds_that_happen_to_agree_do_not_count_as_no_noise():
    scores = np.random.default_rng(5).normal(0.5, 0.2, (2, 400))
    scores -= scores.mean(1, keepdims=True)
    noise = estimate_training_noise([scores], np.arange(400))
    assert noise.spread == pytest.approx(0)
    assert noise.reach(1, 1) > noise.evaluation > 0.005


def test_without_several_seeds_nothing_is_said_of_training_noise(own):
    analysis = analyze(only(make_ladder(own, ["regular"])), BERT)
    assert analysis.noise is None
    assert sentences.noise_sentences(analysis) == []
    assert analysis.beyond_seeds(analysis.pairs[0]) is None


def test_a_difference_that_other_seeds_could_undo_is_said_to_be(own):
    rng = np.random.default_rng(0)
    level = {(0, 42): 0.1, (200, 42): 0.3, (200, 43): 0.6, (500, 42): 0.55}
    runs = [
        make_run(own, size, seed=seed, repos=60, values={CHRF: list(100 * mean + rng.normal(0, 2, 60))})
        for (size, seed), mean in level.items()
    ]
    said = " ".join(sentences.noise_sentences(analyze(only(runs), CHRF)))
    assert "is training noise" in said
    assert "200 to 500" in said.partition("could change the result of")[2]


def test_a_spread_that_chance_can_explain_is_not_said_to_be_explained_whole(own):
    rng = np.random.default_rng(0)
    runs = [
        make_run(own, 200, seed=seed, repos=60, values={CHRF: list(50 + rng.normal(0, 2, 60))})
        for seed in (42, 43)
    ]
    said = " ".join(sentences.noise_sentences(analyze(only(runs), CHRF)))
    assert "with so few seeds the two cannot be told apart" in said
    assert "explains" not in said


# What it answers


def test_the_answer_says_what_it_helps_and_how_much_data_that_takes(own):
    steps = {0: 0.2, 200: 0.6, 500: 0.7, 1000: 0.7}
    rng = np.random.default_rng(0)
    base = rng.normal(0, 5, 60)
    runs = [
        make_run(own, size, repos=60, values={CHRF: list(100 * mean + base + rng.normal(0, 1, 60))})
        for size, mean in steps.items()
    ]
    analysis = analyze(only(runs), CHRF)
    found = effect_of(analysis, "regular")
    assert (found.enough.x, found.share[0].x, round(found.share[1], 1)) == (500, 200, 0.8)
    said = " ".join(effect_sentences(analysis, found))
    assert said.startswith("1,000 training samples improve the score: +")
    assert "The first 200 bring 80% of this change." in said
    assert "From 500 on, no two sizes can be distinguished from each other." in said


def test_small_steps_that_add_up_are_said_beside_those_that_are_indistinguishable_one_by_one(own):
    noise = np.random.default_rng(0).permuted(np.tile(np.linspace(-20, 20, 60), (4, 1)), axis=1)
    runs = [
        make_run(own, size, repos=60, values={CHRF: list(mean + each)})
        for size, mean, each in zip((0, 200, 500, 1000), (20, 50, 53.5, 57), noise, strict=True)
    ]
    analysis = analyze(only(runs), CHRF)
    assert [step.distinguishable for step in analysis.steps("regular")] == [True, False, False, True]
    assert effect_of(analysis, "regular").enough.x == 500
    assert "Small steps add up: 200 to 1,000 (+" in sentences.headline(analysis, "regular")


def test_a_set_up_is_called_by_the_titles_of_its_family_and_its_suite(own):
    make_run(own, 0)
    families = load_families(own)
    setup = only(StoredRuns(own).runs())
    assert setup_title(setup, families).startswith("SmolLM2-135M-Instruct · dataset packages · ")
    suite = replace(setup, dataset="packages-exec")
    assert setup_title(suite, families).startswith("SmolLM2-135M-Instruct · execution (packages) · ")
    assert setup_title(suite, {}).startswith("smollm2-135m · execution (packages) · ")


def test_a_version_of_the_data_is_named_only_beside_a_set_up_that_has_another_one(own):
    make_run(own, 0)
    families, setup = load_families(own), only(StoredRuns(own).runs())
    run = setup.runs[0]
    other = replace(setup, runs=(replace(run, config=replace(run.config, dataset_fingerprint="another")),))
    (alone,) = setup_titles([setup], families)
    assert setup_titles([setup, other], families) == [
        f"{alone} · version {run.config.dataset_fingerprint}",
        f"{alone} · version another",
    ]


def test_no_further_change_is_said_only_where_no_two_later_sizes_differ(own):
    # 500 cannot be distinguished from 2,000, but from 1,000 between them.
    steps = {0: 0.2, 200: 0.4, 500: 0.6, 1000: 0.7, 2000: 0.65}
    rng = np.random.default_rng(0)
    base = rng.normal(0, 5, 60)
    noise = {size: 20 if size == 2000 else 1 for size in steps}
    runs = [
        make_run(
            own,
            size,
            repos=60,
            values={CHRF: list(50 * mean + 10 + (base + rng.normal(0, noise[size], 60)) / 2)},
        )
        for size, mean in steps.items()
    ]
    analysis = analyze(only(runs), CHRF)
    pairs = {(pair.first.size, pair.second.size): pair.distinguishable for pair in analysis.pairs}
    assert (pairs[500, 1000], pairs[500, 2000], pairs[1000, 2000]) == (True, False, False)
    found = effect_of(analysis, "regular")
    assert found.enough.x == 1000
    assert "still makes a difference" not in " ".join(effect_sentences(analysis, found))


@pytest.mark.parametrize(("gain", "said"), [(30, "that much can be format"), (0, "chat template instead of")])
def test_the_answer_says_how_much_of_a_gain_can_be_format(own, gain, said):
    rng = np.random.default_rng(0)
    base = rng.normal(0, 5, 60)
    runs = [
        make_run(
            own, size, variant=variant, repos=60, values={CHRF: list(mean + base + rng.normal(0, 1, 60))}
        )
        for size, variant, mean in ((0, "regular", 20), (200, "regular", 60), (0, "chat", 20 + gain))
    ]
    analysis = analyze(only(runs), CHRF)
    text = " ".join(effect_sentences(analysis, effect_of(analysis, "regular")))
    assert said in text
    assert ("no difference that can be distinguished" in text) == (gain == 0)
    assert "Against the chat template, 200 training samples change the score by +" in text


def test_no_gain_and_a_loss_are_called_what_they_are(own):
    same = analyze(only([judged(own, 0, 1, 0, 1, 0), judged(own, 200, 1, 0, 0, 1)]), JUDGE)
    assert (
        "make no difference that can be distinguished from noise"
        in effect_sentences(same, effect_of(same, "regular"))[0]
    )
    values = list(np.random.default_rng(0).normal(0.8, 0.01, 40))
    runs = [
        make_run(own, 0, repos=40, values={BERT: values}),
        make_run(own, 500, repos=40, values={BERT: [v - 0.2 for v in values]}),
    ]
    worse = analyze(only(runs), BERT)
    assert (
        "500 training samples make the score worse: −"
        in effect_sentences(worse, effect_of(worse, "regular"))[0]
    )


def test_with_one_size_there_is_no_answer(own):
    assert effect_of(analyze(only([make_run(own, 200)]), CHRF), "regular") is None


def test_training_seeds_are_averaged_sample_by_sample_and_listed(own):
    runs = [judged(own, 0, 0, 0, 0), judged(own, 200, 1, 0, 0), judged(own, 200, 1, 1, 0, seed=43)]
    analysis = analyze(only(runs), JUDGE)
    point = analysis.points[1]
    assert point.value == pytest.approx(0.5)
    assert point.by_seed == ((42, pytest.approx(1 / 3)), (43, pytest.approx(2 / 3)))
    assert analysis.pairs[0].test == "paired permutation"


def test_shared_repositories_are_kept_together_where_there_are_enough(own):
    many = analyze(only(make_ladder(own, ["regular"], samples=90, repos=40)), JUDGE)
    assert {pair.test for pair in many.pairs} == {"paired permutation by repository"}
    assert any("one repository are kept together" in c and "40 repos" in c for c in sentences.caveats(many))


def test_few_repositories_are_said_to_stand_for_themselves_only(own):
    few = analyze(only(make_ladder(own, ["regular"], repos=5)), JUDGE)
    assert {pair.test for pair in few.pairs} == {"exact McNemar"}
    assert any("5 repositories, too few" in caveat for caveat in sentences.caveats(few))


def test_samples_of_one_file_are_kept_together_where_repositories_are_too_few(own):
    runs = [make_run(own, size, samples=120, repos=5, per_file=2) for size in (0, 200)]
    analysis = analyze(only(runs), JUDGE)
    assert [pair.test for pair in analysis.pairs] == ["paired permutation by file"]
    assert any(
        "one file are kept together" in caveat and "60 files" in caveat
        for caveat in sentences.caveats(analysis)
    )


def test_how_often_the_judge_s_votes_contradict_each_other_is_said(own):
    run = judged(own, 0, 1, 0, 1, 0)
    for number, attempt in enumerate(run.attempts.values()):
        details = {"votes": [{}, {}, {}], "flipped": number == 0}
        append_attempts(
            run.path, [replace(attempt, scores={JUDGE: replace(attempt.scores[JUDGE], details=details)})]
        )
    said = sentences.caveats(analyze(only([load_run(run.path)]), JUDGE))
    assert "The judge's votes contradict each other on 25% of the outputs." in said


def test_cut_off_and_long_outputs_are_counted(own):
    run = make_run(own, 0, samples=70)
    (point,) = analyze(only([run]), BERT).points
    cut = sum(attempt.completion.finish_reason == "length" for attempt in run.attempts.values())
    assert point.truncated == cut / 70 > 0
    assert point.windowed == pytest.approx(10 / 70)


# What is said


def test_a_difference_that_is_none_comes_with_the_smallest_that_could_be_seen(own):
    runs = [judged(own, 0, *[1, 0] * 20), judged(own, 200, *[1, 0] * 19, 0, 1)]
    analysis = analyze(only(runs), JUDGE)
    sentence = sentences.step_sentence(analysis.pairs[0], analysis.metric)
    assert sentence.startswith(
        "From baseline to 200 samples the difference of +.000 cannot be distinguished from noise"
    )
    assert "exact McNemar, 40 samples, p 1.00 after Holm" in sentence
    least = numbers.mean_score(analysis.pairs[0].detectable, analysis.metric)
    assert sentence.endswith(f"the smallest difference that this test could detect is {least}.")


def test_a_difference_is_said_to_be_for_better_or_worse_by_the_metric_s_own_direction(own):
    rng = np.random.default_rng(3)
    base = rng.uniform(0.6, 0.9, 50)
    runs = [make_run(own, 0, values={BITS: list(base)}), make_run(own, 200, values={BITS: list(base - 0.1)})]
    analysis = analyze(only(runs), BITS)
    assert sentences.step_sentence(analysis.pairs[0], analysis.metric).startswith(
        "From baseline to 200 samples the score improves: −.100"
    )
    assert sentences.headlines(analysis)[0].startswith(
        "With the regular prompt these steps are distinguishable: baseline to 200 (−.100)"
    )


def test_identical_outputs_are_said_to_be_identical(own):
    analysis = analyze(only([judged(own, 0, 1, 0, 1), judged(own, 200, 1, 0, 1)]), JUDGE)
    assert "nothing changes: all 3 samples score the same" in sentences.step_sentence(
        analysis.pairs[0], analysis.metric
    )


def test_a_single_size_has_no_step(own):
    assert "Evaluate the baseline" in sentences.headlines(analyze(only([make_run(own, 0)]), CHRF))[0]


def test_the_next_doubling_is_marked_as_evaluation_noise_only_with_one_seed_a_size(own):
    ladder = make_ladder(own, ["regular"])
    one = analyze(only(ladder), BERT)
    assert "from 5,000 to 10,000" in sentences.fit_sentence(one, "regular")
    assert "evaluation noise only" in sentences.fit_sentence(one, "regular")
    several = analyze(only([*ladder, make_run(own, 200, seed=43)]), BERT)
    assert "evaluation noise, and training noise" in sentences.fit_sentence(several, "regular")


@pytest.mark.parametrize(
    ("value", "metric", "signed", "text"),
    [
        (0.0849, JUDGE, False, ".085"),
        (-0.007, JUDGE, True, "−.007"),
        (26.14, CHRF, False, "26.1"),
        (-0.12, CHRF, True, "−0.1"),
        (1.0, JUDGE, False, "1.000"),
        (float("nan"), JUDGE, False, "–"),
        (-0.0001, JUDGE, True, "+.000"),
        (9.96, CHRF, False, "10.0"),
        (0.04, CHRF, False, "0.0"),
    ],
)
def test_numbers_are_written_in_their_metric_s_scale(value, metric, signed, text):
    assert numbers.mean_score(value, metric_of(metric), signed) == text


# Sample by sample


def test_flips_regressions_and_the_never_solved_are_found(own):
    runs = [
        judged(own, 0, 0, 1, 0, 1, None),
        judged(own, 200, 1, 0, 0, 1, 0),
        judged(own, 500, 1, 1, 0, 1, 1),
    ]
    matrix = sample_matrix(only(runs), JUDGE)
    names = [sample.rpartition("_")[2] for sample in matrix.scores.index]
    found = {
        kind: [n for n, hit in zip(names, matrix.kinds[kind], strict=True) if hit] for kind in matrix.kinds
    }
    assert found == {
        "never solved": ["2"],
        "flips": ["0", "1", "4"],
        "always solved": ["3"],
        "regressions": ["1"],
    }


def test_each_scored_sample_is_solved_by_none_some_or_all_and_of_one_kind(own):
    runs = [
        make_run(own, 0, values={BITS: [0.8, 0.8, 0.8, 0.8, None]}),
        make_run(own, 200, values={BITS: [0.5, 0.8, 1.1, 0.5, None]}),
        make_run(own, 500, values={BITS: [0.4, 0.5, 0.8, None, None]}),
    ]
    matrix = sample_matrix(only(runs), BITS, threshold=0.1)
    solved = {kind: matrix.of_kind(kind) for kind in ("never solved", "flips", "always solved")}
    names = list(matrix.scores.index)
    assert solved == {
        "never solved": [names[2]],
        "flips": [names[1]],
        "always solved": [names[0], names[3]],
    }
    shown = tables.sample_matrix(only(runs), matrix, BITS, names, "all")
    said = "1 never solved, 1 flip, 2 always solved, 1 not scored; among them 1 regression"
    assert said in shown


def test_continuous_scores_are_held_against_the_baseline_by_a_threshold(own):
    runs = [
        make_run(own, 0, values={BITS: [0.8, 0.8, 0.8]}),
        make_run(own, 200, values={BITS: [0.5, 0.75, 1.1]}),
    ]
    matrix = sample_matrix(only(runs), BITS, threshold=0.1)
    assert matrix.states.iloc[:, 1].tolist() == [1, 0, -1]
    assert [matrix.of_kind(kind) for kind in ("regressions", "never solved")] == [
        [matrix.scores.index[2]],
        list(matrix.scores.index[1:]),
    ]


def test_metrics_disagree_most_where_one_praises_what_the_other_rejects(own):
    run = make_run(own, 0, values={CHRF: [10.0, 90.0, 50.0, 60.0], JUDGE: [1.0, 0.0, 0.0, 1.0]})
    table = disagreement(only([run]), CHRF, JUDGE)
    assert [sample.rpartition("_")[2] for sample in table["sample"]][:2] == ["0", "1"]
    assert table["gap"].tolist()[:2] == [-1.0, 1.0]
    assert agreement(table) < 0


def test_rank_by_a_metric_where_lower_is_better_starts_from_its_highest_score(own):
    run = make_run(own, 0, values={CHRF: [10.0, 20.0, 30.0], BITS: [0.9, 0.8, 0.7]})
    table = disagreement(only([run]), CHRF, BITS)
    assert table["gap"].abs().max() == 0
    assert agreement(table) == pytest.approx(1)


# To take away


def test_an_analysis_is_strict_json(own):
    setup = only([judged(own, 0, None, None), judged(own, 200, 1, 0), judged(own, 500, 1, 0)])
    found = json.loads(json.dumps(as_json(analyze(setup, JUDGE)), allow_nan=False))
    assert found["points"][0]["value"] is None
    assert found["pairs"][0]["second"] == "500 · regular"


def test_the_long_table_has_every_score_with_its_reason(own):
    table = long_table([only([judged(own, 0, 1, None), judged(own, 200, 0, 0)])])
    assert len(table) == 4
    assert table.loc[table["value"].isna(), "unscored_because"].tolist() == ["made up"]


def test_published_figures_are_held_against_their_own_metric_only(own):
    judge, bert = load_reported(own)
    assert dict(judge.points) == {0: 0.085, 200: 0.15, 500: 0.16, 1000: 0.18, 5000: 0.20, 10000: 0.21}
    assert dict(bert.points)[10000] == 0.725
    assert JUDGE.startswith(judge.like)
    assert not BERT.startswith(bert.like)


# The library


def test_the_library_reads_what_was_written_since(own):
    library = RunCache(StoredRuns(own))
    assert library.setups() == []
    run = make_run(own, 0, samples=20, items=5)
    assert len(library.setups()[0].runs[0].attempts) == 5
    before = library.analysis(library.setup(""), CHRF)
    assert library.analysis(library.setup(""), CHRF) is before
    whole = make_run(bare_settings(own.data_dir / "elsewhere"), 0, samples=20)
    append_attempts(run.path, list(whole.attempts.values())[5:])
    assert library.analysis(library.setup(""), CHRF).points[0].n == 20


def test_a_run_replaced_at_the_same_size_and_time_is_read_again(own):
    library, run = RunCache(StoredRuns(own)), make_run(own, 0)
    items = run.path / "items.jsonl"
    text, times = items.read_text(), items.stat()
    assert library.stored.runs()[0].attempts
    items.write_text("x" * (len(text.encode()) - 1) + "\n")
    os.utime(items, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert items.stat().st_size == times.st_size
    assert not library.stored.runs()[0].attempts


def test_a_damaged_run_is_named_and_hides_no_other(own):
    good, bad = make_run(own, 0), make_run(own, 200)
    (bad.path / "run.json").write_text("{")
    cache = RunCache(StoredRuns(own))
    runs, unreadable = cache.stored.runs(), cache.stored.problems()
    assert [run.config.id for run in runs] == [good.config.id]
    assert bad.config.id in unreadable[0]


def test_an_unknown_set_up_or_metric_is_answered_with_those_there_are(own):
    library = RunCache(StoredRuns(own))
    with pytest.raises(LabError, match="No run is stored yet"):
        library.setup("")
    make_run(own, 0)
    with pytest.raises(LabError, match="smollm2-135m-"):
        library.setup("nonsense")
    with pytest.raises(LabError, match="chrF"):
        library.analysis(library.setup(""), "nonsense")


# Contamination


def made_up_dataset(fingerprint):
    def sample(sample_id, function):
        return Sample(sample_id, "", function, "f", function, len(function), "pkg", "file.py")

    # The training subset of 200 holds sample 0's reference word for word, and nothing of the others.
    body = "\n".join(f"    total += values[{j}]" for j in range(2))
    train = [sample("t0", f"def function_0(values):\n    total = 0\n{body}\n    return total")]
    train += [sample(f"t{i}", f"def other_{i}(a):\n    return a.b_{i}(c_{i}) ** {i}") for i in range(1, 200)]
    test = [
        sample(
            f"pkg{i % 6}/module_{i}.py::function_{i}", train[0].function if i == 0 else f"x_{i} = y_{i} - {i}"
        )
        for i in range(12)
    ]
    parts = [
        datasets.LazySamples([each.id for each in part], part.__getitem__, lambda i, part=part: part[i].id)
        for part in (train, test)
    ]
    return datasets.Dataset("packages", fingerprint, *parts)


def test_samples_that_the_training_data_holds_are_found(own, monkeypatch):
    setup = only([make_run(own, 0, samples=12), make_run(own, 200, samples=12)])
    made = made_up_dataset("feedc0ffee00")
    monkeypatch.setattr("pipeline.analysis.contamination.load_dataset", lambda *_: made)
    assert find_contaminated(own, setup) == ["pkg0/module_0.py::function_0"]


def test_with_the_augmented_prompt_samples_that_their_own_file_repeats_are_found_too(own, monkeypatch):
    setup = only([make_run(own, size, "augmented", samples=12) for size in (0, 200)])
    made = made_up_dataset("feedc0ffee00")
    body = "".join(f"    total += values[{j}] * weights[{j}]\n" for j in range(9))
    ours, twin = f"def ours(values):\n{body}", f"def twin(values):\n{body}"
    repeated = replace(made.test[4], function=ours, full_code=f"{ours}\n\n{twin}")
    test = [repeated if i == 4 else made.test[i] for i in range(12)]
    lazy = datasets.LazySamples([each.id for each in test], test.__getitem__, lambda i: test[i].id)
    repeats = datasets.Dataset("packages", made.fingerprint, made.train, lazy)
    monkeypatch.setattr("pipeline.analysis.contamination.load_dataset", lambda *_: repeats)
    assert find_contaminated(own, setup) == [made.test[0].id, repeated.id]


def test_a_suite_is_held_against_what_the_family_was_trained_on(own, monkeypatch):
    runs = [make_run(own, size, samples=12) for size in (0, 200)]
    setup = only([replace(run, config=replace(run.config, dataset="metrics-exec")) for run in runs])
    made = made_up_dataset("feedc0ffee00")
    loaded = {"packages": made, "metrics-exec": replace(made, train=made.train[:0])}
    monkeypatch.setattr(
        "pipeline.analysis.contamination.load_dataset", lambda settings, name, variant: loaded[name]
    )
    assert find_contaminated(own, setup) == ["pkg0/module_0.py::function_0"]


def test_another_dataset_than_the_runs_own_is_not_searched(own, monkeypatch):
    setup = only([make_run(own, 0, samples=12)])
    made = made_up_dataset("another")
    monkeypatch.setattr("pipeline.analysis.contamination.load_dataset", lambda *_: made)
    with pytest.raises(LabError, match="the runs were made from feedc0ffee00"):
        find_contaminated(own, setup)


USUAL = {"learning_rate": 2e-3, "lora_r": 8, "epochs": 3, "dataset": "packages"}


def test_checkpoints_that_differ_in_more_than_the_seed_are_never_averaged(own):
    low = {**USUAL, "learning_rate": 1e-4}
    runs = [
        make_run(own, 0),
        make_run(own, 200, recipe=USUAL),
        make_run(own, 200, seed=43, recipe=USUAL),
        make_run(own, 200, seed=44, name="200-regular-seed44-lr1e-4", recipe=low),
        make_run(own, 200, seed=42, name="same-seed", recipe=USUAL),
        make_run(own, 200, seed=45, name="unknown", recipe={"lora_r": 8}),
        make_run(own, 1000, recipe=USUAL),
    ]
    along = only(runs).along("subset_size")
    found = {(each.checkpoint, each.x, len(each.runs)) for each in along.conditions}
    assert found == {("baseline", 0, 1), ("200-regular", 200, 2), ("1000-regular", 1000, 1)}
    assert set(along.left_out) == {"200-regular-seed44-lr1e-4", "same-seed", "unknown"}
    analysis = analyze(only(runs), CHRF)
    point = next(point for point in analysis.points if point.x == 200)
    assert [seed for seed, _ in point.by_seed] == [42, 43]
    assert "200-regular-seed44-lr1e-4" in " ".join(sentences.caveats(analysis))
    listed = only(runs).along("checkpoint")
    assert len(listed.conditions) == 6
    assert listed.left_out == ()


def test_a_curve_runs_along_the_attribute_that_differs(own):
    rates = (1e-4, 5e-4, 2e-3)
    recipes = [{**USUAL, "learning_rate": rate} for rate in rates]
    runs = [make_run(own, size, recipe=recipes[-1] if size else None) for size in (0, 200, 1000)]
    runs += [
        make_run(own, 1000, name=f"lr{rate}", recipe=each)
        for rate, each in zip(rates[:2], recipes[:2], strict=True)
    ]
    setup = only(runs)
    assert setup.axes == ["subset_size", "learning_rate", "checkpoint"]
    analysis = analyze(setup, CHRF, axis="learning_rate")
    assert [(point.x, point.size) for point in analysis.curve("regular")] == [
        (0, 0), (1e-4, 1000), (5e-4, 1000), (2e-3, 1000),
    ]  # fmt: skip
    assert analysis.left_out == ("200-regular",)
    assert analysis.fits == {}
    said = " ".join(sentences.headlines(analysis))
    assert "1e-4 to 5e-4" in said
    [sentence] = effect_sentences(analysis, effect_of(analysis, "regular"))
    assert sentence.startswith("From learning rate 1e-4 to learning rate 0.002 ")


def test_shipped_seeds_are_still_averaged_though_their_runs_store_no_recipe(tmp_path):
    for setup in find_setups(StoredRuns(Settings(data_dir=tmp_path)).runs()):
        assert setup.along("subset_size").left_out == ()
        assert setup.axes == ["subset_size"]
