"""What the figures say, in plain sentences."""

from __future__ import annotations

import math
from collections import Counter

from pipeline import stats
from pipeline.analysis.analyze import Analysis
from pipeline.analysis.pairs import Pair
from pipeline.schema import PromptVariant, counted
from pipeline.scoring import Metric
from pipeline.scoring.judge.codejudge import flip_rate
from ui.labels import condition_label, size_label, step_label
from ui.numbers import mean_score, p_value, places


def headlines(analysis: Analysis) -> list[str]:
    """Which steps are distinguishable, in one sentence for each prompt variant."""
    sentences = [headline(analysis, variant) for variant in analysis.variants if analysis.steps(variant)]
    return sentences or [
        "There is only one training-set size in this set-up, so there is no step to test yet."
    ]


def headline(analysis: Analysis, variant: PromptVariant) -> str:
    """Which steps of one prompt variant are distinguishable, and by what test."""
    steps = analysis.steps(variant)
    kinds = (
        ("these steps are distinguishable: ", [step for step in steps if step.distinguishable]),
        ("these cannot be told from noise: ", [step for step in steps if not step.distinguishable]),
    )
    parts = [says + listed([_step(step, analysis.metric) for step in kind]) for says, kind in kinds if kind]
    return (
        f"With the {variant} prompt {'; '.join(parts)} "
        f"({steps[0].test}, Holm's correction over {counted(len(analysis.pairs), 'pair')})."
    )


def _step(pair: Pair, metric: Metric) -> str:
    return f"{step_label(pair)} ({mean_score(pair.difference, metric, signed=True)})"


def step_sentence(pair: Pair, metric: Metric) -> str:
    """One pair in words, with the test, the corrected p and, for no difference, what could have been seen."""
    names = f"From {size_label(pair.first.size)} to {counted(pair.second.size, 'sample')}"
    size = mean_score(pair.difference, metric, signed=True)
    interval = f"95% interval {mean_score(pair.low, metric, True)} to {mean_score(pair.high, metric, True)}"
    tested = f"{pair.test}, {counted(pair.n, 'sample')}, {p_value(pair.p_holm)} after Holm"
    if pair.distinguishable:
        way = "improves" if (pair.difference > 0) == metric.higher_is_better else "gets worse"
        return f"{names} the score {way}: {size} ({interval}; {tested})."
    if pair.wins + pair.losses == 0:
        return f"{names} nothing changes: all {counted(pair.n, 'sample')} score the same."
    seen = (
        f"the smallest difference this test could see is {mean_score(pair.detectable, metric)}"
        if math.isfinite(pair.detectable)
        else "with so few samples this test could see no difference at all"
    )
    return f"{names} the difference of {size} cannot be told from noise ({interval}; {tested}); {seen}."


def fit_sentence(analysis: Analysis, variant: PromptVariant) -> str:
    """What the next doubling is expected to bring, and which noise the band holds."""
    fit, metric = analysis.fits.get(variant), analysis.metric
    if fit is None:
        return f"Fitting a curve to the {variant} prompt takes {stats.MIN_SIZES} sizes, baseline included."
    noise = (
        "The band holds the noise of evaluation and of training, for the sizes trained with several seeds."
        if fit.training_noise
        else "The band holds the noise of evaluation only, since each size was trained once."
    )
    return (
        f"Under the fitted power law, going from {fit.largest:,} to {2 * fit.largest:,} samples with the "
        f"{variant} prompt is expected to bring {mean_score(fit.gain, metric, True)} (95% band "
        f"{mean_score(fit.gain_low, metric, True)} to {mean_score(fit.gain_high, metric, True)}). {noise}"
    )


def noise_sentences(analysis: Analysis) -> list[str]:
    """The noise of training told from that of evaluation, and which steps are more than both."""
    noise, metric = analysis.noise, analysis.metric
    if noise is None:
        return []
    spread, evaluation, training = (
        f"under {mean_score(10 ** -places(metric), metric)}" if shown == mean_score(0, metric) else shown
        for shown in (mean_score(x, metric) for x in (noise.spread, noise.evaluation, noise.training))
    )
    seeds = (
        f"Checkpoints that differ in nothing but their training seed lie {spread} apart (standard deviation, "
    )
    seeds += f"{counted(noise.sizes, 'size')} with several seeds)"
    said = [
        f"{seeds}; the finite test set alone would make it {evaluation}, so about {training} is the noise of "
        "training."
        if noise.seen
        else f"{seeds}, no more than the finite test set explains ({evaluation}): no noise of training can "
        "be told from that of evaluation, though with few seeds only a large one could."
    ]
    for variant in analysis.variants:
        found = [step for step in analysis.steps(variant) if step.distinguishable]
        beyond = [step_label(s) for s in found if analysis.beyond_seeds(s)]
        rest = [step_label(s) for s in found if not analysis.beyond_seeds(s)]
        if beyond:
            said.append(f"With the {variant} prompt other seeds would not undo {listed(beyond)}.")
        if rest:
            said.append(
                f"With the {variant} prompt {listed(rest)} could come out otherwise with other seeds: "
                "distinguishable for these checkpoints, not for these sizes."
            )
    return said


def caveats(analysis: Analysis) -> list[str]:
    """What a reader must know beside the figures; empty where there is nothing."""
    found = []
    if analysis.together != "repository" and analysis.repos < min(stats.MIN_CLUSTERS, analysis.clusters):
        found.append(
            f"The samples come from {counted(analysis.repos, 'repository', 'repositories')}, too few to "
            "stand for others: intervals and tests speak about code of these alone."
        )
    if analysis.together:
        many = {"repository": "repositories", "file": "files"}[analysis.together]
        found.append(
            f"Samples of one {analysis.together} are kept together in intervals and tests "
            f"({analysis.clusters:,} {many})."
        )
    if any(len(point.by_seed) == 1 and point.size for point in analysis.points):
        found.append(
            "Tests compare these checkpoints. Another training seed would give another checkpoint"
            + (
                ": see the noise of training."
                if analysis.noise
                else ", and no size shows how different a one."
            )
        )
    found += _on_the_unscored(analysis)
    missing = sum(point.missing for point in analysis.points)
    if missing:
        outputs = counted(missing, "output")
        found.append(f"{outputs} not there yet: an evaluation is under way or was stopped.")
    if analysis.excluded:
        found.append(f"{counted(analysis.excluded, 'flagged sample')} left out.")
    if analysis.setup.set_aside:
        aside = counted(analysis.setup.set_aside, "older or unfinished run")
        found.append(f"{aside} of the same checkpoints left aside.")
    return found + _on_the_judge(analysis)


def _on_the_unscored(analysis: Analysis) -> list[str]:
    points = [point for point in analysis.points if point.unscored]
    if not points:
        return []
    scores = (
        attempt.scores.get(analysis.metric.name)
        for run in analysis.setup.runs
        for attempt in run.attempts.values()
    )
    reasons = Counter(score.reason for score in scores if score and score.value is None)
    most = f", most often because {reasons.most_common(1)[0][0]}" if reasons else ""
    where = listed([f"{point.unscored:,} of {condition_label(point)}" for point in points])
    outputs = counted(sum(point.unscored for point in points), "output")
    return [
        f"{outputs} could not be scored{most} ({where}). They are left out, not counted as 0, "
        "so a checkpoint that has many of them looks better than it is."
    ]


def _on_the_judge(analysis: Analysis) -> list[str]:
    metric, runs = analysis.metric.name, analysis.setup.runs
    if not metric.startswith("CodeJudge"):
        return []
    found = []
    if len({str(run.config.judges[metric]) for run in runs if metric in run.config.judges}) > 1:
        found.append("The runs were judged under different settings: see the runs.")
    scores = [
        attempt.scores[metric]
        for run in runs
        for attempt in run.attempts.values()
        if metric in attempt.scores
    ]
    rate = flip_rate(score for score in scores if len(score.details.get("votes", ())) > 1)
    if rate is not None:
        found.append(f"The judge's votes contradict each other on {rate:.0%} of the outputs.")
    return found


def listed(words: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
