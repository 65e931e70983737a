"""Sentences about the figures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from pipeline import stats
from pipeline.analysis.metric_analysis import Analysis
from pipeline.analysis.pairs import Pair
from pipeline.evaluation.runs import RunConfig
from pipeline.schema import PromptVariant, counted, listed
from pipeline.scoring import Metric
from pipeline.scoring.judge.codejudge import flip_rate
from pipeline.scoring.judge.config import self_judging_warning
from ui.judged import why_unscored
from ui.labels import AXIS_WORDS, change_label, column_label, condition_label, step_label
from ui.numbers import mean_score, p_value

MANY = 30
"""Samples; with fewer a note says that they are few."""
ON_HOLM = (
    "An interval is of one difference alone, and p is corrected for all pairs that are tested (Holm): so an "
    "interval can exclude 0 where p is above .05."
)
ONE_SIZE = (
    "There is only one training-set size so far, so there is nothing to compare yet. Evaluate the baseline, "
    "or a checkpoint of another size, on the same samples too: Jobs, Evaluate."
)

_OF_THE_SAMPLE = ("the reference ", "there is no reference")
_OF_THE_ANSWER = ("the code ", "the answer ", "the candidate ", "it is nested ")
"""How reasons begin for which an answer has no score; earlier versions said candidate for code or answer."""


def headlines(analysis: Analysis) -> list[str]:
    """Which steps are distinguishable, in one sentence for each prompt variant."""
    sentences = [headline(analysis, variant) for variant in analysis.variants if analysis.steps(variant)]
    return sentences or [ONE_SIZE]


def headline(analysis: Analysis, variant: PromptVariant) -> str:
    """Which steps of one prompt variant are distinguishable, and by what test."""
    steps = analysis.steps(variant)
    kinds = (
        ("these steps are distinguishable: ", [step for step in steps if step.distinguishable]),
        ("these cannot be distinguished from noise: ", [step for step in steps if not step.distinguishable]),
    )
    parts = [text + listed([_step(step, analysis.metric) for step in kind]) for text, kind in kinds if kind]
    return (
        f"With the {variant} prompt {'; '.join(parts)} "
        f"({steps[0].test}, Holm's correction over {counted(len(analysis.pairs), 'pair')})."
        f"{_together(analysis, variant, steps)}"
    )


def _together(analysis: Analysis, variant: PromptVariant, steps: Sequence[Pair]) -> str:
    """The pair of the fewest steps that is distinguishable though none of its steps is; empty without one."""
    found: list[tuple[int, Pair]] = []
    for pair in analysis.pairs:
        inside = [each for each in steps if pair.first.x <= each.first.x and each.second.x <= pair.second.x]
        same = pair.first.variant == pair.second.variant == variant
        if same and pair.distinguishable and not any(each.distinguishable for each in inside):
            found.append((len(inside), pair))
    if not found:
        return ""
    _, pair = min(found, key=lambda each: each[0])
    return f" Small steps add up: {_step(pair, analysis.metric)} is distinguishable."


def _step(pair: Pair, metric: Metric) -> str:
    return f"{step_label(pair)} ({mean_score(pair.difference, metric, signed=True)})"


def step_sentence(pair: Pair, metric: Metric) -> str:
    """One pair in words, with the test, the corrected p and, for no difference, what could be detected."""
    if pair.first.variant == pair.second.variant:
        names = f"From {change_label(pair)}"
    else:
        names = f"From {condition_label(pair.first)} to {condition_label(pair.second)}"
    size = mean_score(pair.difference, metric, signed=True)
    interval = f"95% interval {mean_score(pair.low, metric, True)} to {mean_score(pair.high, metric, True)}"
    tested = f"{pair.test}, {counted(pair.n, 'sample')}, {p_value(pair.p_holm)} after Holm"
    if pair.distinguishable:
        way = "improves" if (pair.difference > 0) == metric.higher_is_better else "gets worse"
        return f"{names} the score {way}: {size} ({interval}; {tested})."
    if pair.wins + pair.losses == 0:
        return f"{names} nothing changes: all {counted(pair.n, 'sample')} score the same."
    seen = (
        f"the smallest difference that this test could detect is {mean_score(pair.detectable, metric)}"
        if math.isfinite(pair.detectable)
        else "with so few samples this test could not detect any difference"
    )
    return (
        f"{names} the difference of {size} cannot be distinguished from noise ({interval}; {tested}); {seen}."
    )


def fit_sentence(analysis: Analysis, variant: PromptVariant) -> str:
    """The change that the next doubling is expected to make, and the noise that its band includes."""
    fit, metric = analysis.fits.get(variant), analysis.metric
    if fit is None:
        return (
            f"A fitted curve for the {variant} prompt needs at least {stats.MIN_SIZES} training-set sizes, "
            "including the baseline."
        )
    change, low, high = (mean_score(x, metric, True) for x in (fit.gain, fit.gain_low, fit.gain_high))
    if low == high:
        return (
            f"The power law that fits the {variant} prompt is flat at {fit.largest:,} samples: more of them "
            "change nothing, if the form of the law is right."
        )
    noise = (
        "The band includes evaluation noise, and training noise for the sizes trained with several seeds."
        if fit.training_noise
        else "The band includes evaluation noise only, since each size was trained once."
    )
    return (
        f"By the fitted power law, going from {fit.largest:,} to {2 * fit.largest:,} samples with the "
        f"{variant} prompt is expected to change the score by {change} (95% band {low} to {high}). {noise}"
    )


def noise_sentences(analysis: Analysis) -> list[str]:
    """Training noise, separated from evaluation noise, and the steps that exceed both."""
    noise, metric = analysis.noise, analysis.metric
    if noise is None:
        return []
    spread, evaluation, training = (
        f"under {mean_score(10**-metric.places, metric)}" if shown == mean_score(0, metric) else shown
        for shown in (mean_score(x, metric) for x in (noise.spread, noise.evaluation, noise.training))
    )
    seeds = (
        "Scores of checkpoints that differ only in their training seed have a standard deviation of "
        f"{spread} ({counted(noise.sizes, 'size')} with several seeds)."
    )
    sentences = [
        f"{seeds} The finite test set alone explains {evaluation}, so about {training} is training noise."
        if noise.seen
        else f"{seeds} The finite test set alone would give {evaluation}; with so few seeds the two cannot "
        "be told apart, so no training noise is measurable. Only large training noise would be."
    ]
    for variant in analysis.variants:
        steps = [step for step in analysis.steps(variant) if step.distinguishable]
        beyond = [step_label(s) for s in steps if analysis.beyond_seeds(s)]
        rest = [step_label(s) for s in steps if not analysis.beyond_seeds(s)]
        if beyond:
            sentences.append(
                f"With the {variant} prompt, the differences of {listed(beyond)} are larger than what other "
                "training seeds would change."
            )
        if rest:
            sentences.append(
                f"With the {variant} prompt, other training seeds could change the result of {listed(rest)}: "
                "the difference holds for these checkpoints, not for these sizes in general."
            )
    return sentences


def caveats(analysis: Analysis) -> list[str]:
    """Notes that a reader needs beside the figures."""
    notes = []
    if analysis.together != "repository" and analysis.repos < min(stats.MIN_CLUSTERS, analysis.clusters):
        notes.append(
            f"The samples come from {counted(analysis.repos, 'repository', 'repositories')}, too few to "
            "generalize to others: intervals and tests apply to code of these repositories only."
        )
    if analysis.together:
        many = {"repository": "repositories", "file": "files"}[analysis.together]
        notes.append(
            f"Samples of one {analysis.together} are kept together in intervals and tests "
            f"({analysis.clusters:,} {many})."
        )
    if any(len(point.by_seed) == 1 and point.x for point in analysis.points):
        notes.append(
            "Tests compare these checkpoints. Another training seed would give another checkpoint"
            + (
                ": see training noise."
                if analysis.noise
                else ", and no size was trained with several seeds to show how much that changes."
            )
        )
    few = min((point.n for point in analysis.points if point.n), default=MANY)
    if few < MANY:
        notes.append(f"Few samples: {counted(few, 'scored sample')}. Only very large differences show.")
    if any(not pair.distinguishable and pair.low * pair.high > 0 for pair in analysis.pairs):
        notes.append(ON_HOLM)
    notes += _on_the_unscored(analysis)
    missing = sum(point.missing for point in analysis.points)
    if missing:
        outputs = counted(missing, "output")
        notes.append(f"Missing: {outputs}, as an evaluation is running or was stopped.")
    if analysis.excluded:
        notes.append(f"Left out as chosen: {counted(analysis.excluded, 'sample')}.")
    if analysis.left_out:
        notes.append(
            f"Not on this axis, as they differ in more than {AXIS_WORDS[analysis.axis]}: "
            f"{listed(list(analysis.left_out))}. Another axis or the list of checkpoints has them."
        )
    if analysis.never_scored:
        names = listed([column_label(column) for column in analysis.never_scored])
        notes.append(f"Never scored by this metric, so not part of these figures: {names}.")
    if analysis.setup.set_aside:
        aside = counted(analysis.setup.set_aside, "older or unfinished run")
        notes.append(f"Not shown: {aside} of the same checkpoints.")
    return notes + _on_execution(analysis) + _on_the_judge(analysis)


def _on_the_unscored(analysis: Analysis) -> list[str]:
    points = [point for point in analysis.points if point.unscored]
    if not points:
        return []
    scores = (
        attempt.scores.get(analysis.metric.name)
        for run in analysis.setup.runs
        for attempt in run.attempts.values()
    )
    reasons = Counter(why_unscored(score.reason) for score in scores if score and score.value is None)
    most = f", most often because {reasons.most_common(1)[0][0]}" if reasons else ""
    where = listed([f"{point.unscored:,} of {condition_label(point)}" for point in points])
    outputs = counted(sum(point.unscored for point in points), "output")
    effects = dict.fromkeys(_effect_of(reason, analysis.metric) for reason, _ in reasons.most_common())
    left_out = " ".join(filter(None, ("They are left out, not counted as 0.", *effects)))
    return [f"{outputs} could not be scored{most} ({where}). {left_out}"]


def _effect_of(reason: str, metric: Metric) -> str:
    """What it does to the figures that answers are left out for this reason; empty if that is not known."""
    if metric.is_opinion:
        return (
            "The judge could have called each of them right or wrong, so the score of a checkpoint with many "
            "of them can be too high or too low."
        )
    if reason.lower().startswith(_OF_THE_SAMPLE):
        return "Where the reference is at fault, the sample has no score whatever the answer."
    if reason.startswith(_OF_THE_ANSWER):
        return "Where the answer is at fault, a checkpoint with many such answers looks better than it is."
    return ""


def _on_execution(analysis: Analysis) -> list[str]:
    """How many passes may be no evidence, and what the rates would be if they counted as failures."""
    points = [point for point in analysis.points if point.flagged]
    if analysis.metric.name != analysis.setup.execution or not points:
        return []
    total = sum(point.flagged for point in points)
    where = [
        f"{point.flagged:,} of {condition_label(point)} "
        f"({mean_score(point.value - point.flagged / point.n / len(point.by_seed), analysis.metric)} if they "
        "count as failures)"
        for point in points
    ]
    flagged = f"{counted(total, 'pass', 'passes')} {'is' if total == 1 else 'are'} flagged"
    return [f"{flagged}, since the code may have reached the reference: {listed(where)}."]


def _on_the_judge(analysis: Analysis) -> list[str]:
    metric, runs = analysis.metric.name, analysis.setup.runs
    if not analysis.metric.is_opinion:
        return []
    notes = []
    if len({str(run.config.judges[metric]) for run in runs if metric in run.config.judges}) > 1:
        notes.append("The runs were judged with different settings: see Runs and export.")
    scores = [
        attempt.scores[metric]
        for run in runs
        for attempt in run.attempts.values()
        if metric in attempt.scores
    ]
    if any(_judges_itself(run.config, metric) for run in runs):
        notes.append("The judge is the base model of these checkpoints. Models prefer their own answers.")
    rate = flip_rate(score for score in scores if len(score.details.get("votes", ())) > 1)
    if rate is not None:
        notes.append(f"The judge's votes contradict each other on {rate:.0%} of the outputs.")
    return notes


def _judges_itself(config: RunConfig, metric: str) -> bool:
    judge = config.judges.get(metric, {}).get("model")
    return isinstance(judge, str) and self_judging_warning(judge, config.family) is not None
