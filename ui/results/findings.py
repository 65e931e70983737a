"""The effect of fine-tuning: does it help, and how much data does that take?

Along another axis than the training-set size: what changes from its first to its last value, or to the best
checkpoint of a list.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.analysis.metric_analysis import Analysis
from pipeline.analysis.pairs import Pair
from pipeline.analysis.points import Point
from pipeline.schema import PromptVariant, listed
from pipeline.scoring.execution.spec import EXECUTION
from ui.labels import change_label, place_name, step_label
from ui.numbers import mean_score, p_value
from ui.results.sentences import step_sentence


@dataclass(frozen=True)
class Effect:
    """One metric under one prompt variant, the first point of the axis against the last.

    Of sizes, the baseline (or the smallest) against the largest; of a list, against the best checkpoint.

    Attributes:
        whole: that pair.
        share: the smallest training set and its share of the difference; None without a distinguishable
            difference, and with a single size.
        enough: the smallest size from which on no two sizes are distinguishable.
        last: the last step, None with a single one.
    """

    variant: PromptVariant
    first: Point
    largest: Point
    whole: Pair
    share: tuple[Point, float] | None
    enough: Point
    last: Pair | None

    @property
    def apart(self) -> bool:
        """Whether the difference is of fewer samples than the two points: these do not subtract to it."""
        return self.whole.n < max(self.first.n, self.largest.n)


def effect_of(analysis: Analysis, variant: PromptVariant) -> Effect | None:
    """The effect under one prompt variant; None unless two points have the same samples."""
    points = [point for point in analysis.curve(variant) if math.isfinite(point.value)]
    if analysis.axis == "checkpoint":
        sign = 1 if analysis.metric.higher_is_better else -1
        points = points[:1] + sorted(points[1:], key=lambda point: sign * point.value)[-1:]
    elif analysis.axis != "subset_size":
        points = [point for point in points if point.x]
    pairs = {
        (pair.first.x, pair.second.x): pair
        for pair in analysis.pairs
        if pair.first.variant == pair.second.variant == variant
    }
    if len(points) < 2 or (points[0].x, points[-1].x) not in pairs:
        return None
    first, largest = points[0], points[-1]
    whole = pairs[first.x, largest.x]
    start = pairs.get((first.x, points[1].x))
    gained = whole.distinguishable and start is not None and len(points) > 2
    share = (points[1], start.difference / whole.difference) if gained and start else None
    enough = largest
    for at in reversed(range(len(points) - 1)):
        later = [pairs.get((points[at].x, point.x)) for point in points[at + 1 :]]
        if any(pair is None or pair.distinguishable for pair in later):
            break
        enough = points[at]
    last = pairs.get((points[-2].x, largest.x)) if len(points) > 2 else None
    return Effect(variant, first, largest, whole, share, enough, last)


def effect_sentences(analysis: Analysis, effect: Effect) -> list[str]:
    """The effect in sentences: the finding, how much is format, and what more data is expected to do."""
    return [*finding(analysis, effect), *beyond_finding(analysis, effect)]


def in_one_sentence(analysis: Analysis) -> str:
    """How much data a change takes, over all prompt variants; empty without a baseline to start from."""
    found = [effect_of(analysis, variant) for variant in analysis.trained_variants]
    effects = [effect for effect in found if effect and effect.first.x == 0]
    if analysis.axis != "subset_size" or not effects:
        return ""
    if len({effect.largest.x for effect in effects}) > 1:
        return " ".join(_in_one_sentence(analysis, [effect]) for effect in effects)
    return _in_one_sentence(analysis, effects)


def _in_one_sentence(analysis: Analysis, effects: Sequence[Effect]) -> str:
    """The same of effects with the same largest size."""
    changed = [effect for effect in effects if effect.whole.distinguishable]
    same = " and ".join(_change(analysis, effect) for effect in effects if effect not in changed)
    data, name = f"{place_name(effects[0].largest)} training samples", _measured(analysis)
    if not changed:
        return f"{data} make no difference to {name} that can be distinguished from noise: {same}."
    sentence = f"{data} change {name} by {listed([_change(analysis, effect) for effect in changed])}"
    shares = [effect.share for effect in changed if effect.share and 0 < effect.share[1] < 1]
    if len(shares) == len(changed) and len({point.x for point, _ in shares}) == 1:
        brought = listed([f"{share:.0%}" for _, share in shares])
        sentence += f"; the first {place_name(shares[0][0])} already bring {brought} of that"
    return f"{sentence}. {f'Not distinguishable from noise: {same}.' if same else ''}".strip()


def _measured(analysis: Analysis) -> str:
    """What the mean of a metric is, within a sentence."""
    executed = analysis.metric.name in EXECUTION.values()
    return "the share of answers that pass the tests" if executed else short_name(analysis)


def _change(analysis: Analysis, effect: Effect) -> str:
    """``+.211 (augmented prompt, 95% interval +.154 to +.269)``."""
    metric, whole = analysis.metric, effect.whole
    size, low, high = (mean_score(each, metric, True) for each in (whole.difference, whole.low, whole.high))
    return f"{size} ({effect.variant} prompt, 95% interval {low} to {high})"


def finding(analysis: Analysis, effect: Effect) -> list[str]:
    """What fine-tuning changes, and how much data that takes."""
    metric, whole = analysis.metric, effect.whole
    if analysis.axis != "subset_size":
        return [step_sentence(whole, metric)]
    size = mean_score(whole.difference, metric, signed=True)
    limits = f"95% interval {mean_score(whole.low, metric, True)} to {mean_score(whole.high, metric, True)}"
    on = f" on the {whole.n:,} samples that both have scored" if effect.apart else ""
    figures = f"{size}{on}, {limits}, {p_value(whole.p_holm)} after Holm"
    data = f"{place_name(effect.largest)} training samples"
    if not whole.distinguishable:
        sentences = [f"{data} make no difference that can be distinguished from noise ({figures})."]
    elif (whole.difference > 0) == metric.higher_is_better:
        sentences = [f"{data} improve the score: {figures}."]
    else:
        sentences = [f"{data} make the score worse: {figures}."]
    return sentences + data_sentences(analysis, effect)


def beyond_finding(analysis: Analysis, effect: Effect) -> list[str]:
    """How much of the change is format, and what more data is expected to do."""
    if analysis.axis != "subset_size":
        return []
    sentences, metric = _format(analysis, effect), analysis.metric
    fit = analysis.fits.get(effect.variant)
    if fit and effect.whole.distinguishable:
        sentences.append(
            f"Doubling to {2 * fit.largest:,} is expected to change the score by "
            f"{mean_score(fit.gain, metric, True)} "
            f"({mean_score(fit.gain_low, metric, True)} to {mean_score(fit.gain_high, metric, True)})."
        )
    return sentences


def data_sentences(analysis: Analysis, effect: Effect) -> list[str]:
    """How much data the change takes."""
    sentences = []
    if effect.share and 0 < effect.share[1] < 1:
        point, share = effect.share
        sentences.append(f"The first {place_name(point)} bring {share:.0%} of this change.")
    if (
        effect.whole.distinguishable
        and effect.last
        and effect.enough.x not in (effect.first.x, effect.largest.x)
    ):
        enough = place_name(effect.enough)
        sentences.append(f"From {enough} on, no two sizes can be distinguished from each other.")
    elif effect.whole.distinguishable and effect.last and effect.last.distinguishable:
        step = mean_score(effect.last.difference, analysis.metric, signed=True)
        sentences.append(f"The last step, {step_label(effect.last)}, still makes a difference ({step}).")
    return sentences


def _format(analysis: Analysis, effect: Effect) -> list[str]:
    """Compare training with the baseline under its own chat template, which needs no training."""
    control = {
        pair.first.x: pair
        for pair in analysis.pairs
        if pair.second.variant == "chat" and pair.first.variant == effect.variant
    }
    start, end = control.get(effect.whole.first.x), control.get(effect.whole.second.x)
    if effect.first.x or not start or not end:
        return []
    metric = analysis.metric

    def figures(pair: Pair, difference: float, low: float, high: float) -> str:
        return (
            f"{mean_score(difference, metric, True)}, 95% interval {mean_score(low, metric, True)} to "
            f"{mean_score(high, metric, True)}, {p_value(pair.p_holm)} after Holm"
        )

    format_alone = f"({figures(start, start.difference, start.low, start.high)})"
    rest = figures(end, -end.difference, -end.high, -end.low)
    return [
        f"The baseline with its own chat template instead of this prompt already makes a difference "
        f"{format_alone}: that much can be format."
        if start.distinguishable
        else "The baseline with its own chat template instead of this prompt makes no difference that can be "
        f"distinguished from noise {format_alone}.",
        f"Against the chat template, {place_name(effect.largest)} training samples change the score by "
        f"{rest}."
        if end.distinguishable
        else f"Against the chat template, {place_name(effect.largest)} training samples make no "
        f"difference that can be distinguished from noise ({rest}).",
    ]


def effect_paragraph(analyses: Sequence[Analysis], variant: PromptVariant) -> str:
    """Several metrics of one prompt variant in one short paragraph, for a reader who has their table."""
    effects = [(each, got) for each in analyses if (got := effect_of(each, variant))]
    if not effects:
        return f"With the {variant} prompt there is only one training-set size so far."
    sentences = [f"{_moves([(each, got.whole) for each, got in effects])}."]
    shares = [(place_name(got.share[0]), f"{got.share[1]:.0%}") for _, got in effects if got.share]
    if shares:
        parts = listed([share for _, share in shares])
        sentences.append(f"The first {shares[0][0]} samples bring {parts} of this change.")
    last = [(each, got.last) for each, got in effects if got.last]
    if last:
        sentences.append(f"{_moves(last)}.")
    tests = listed(list(dict.fromkeys(got.whole.test for _, got in effects)))
    most = max(len(each.pairs) for each, _ in effects)
    sentences.append(f"(At the 5% level; {tests}, Holm's correction over {most} pairs.)")
    return " ".join(sentences)


def _moves(moves: Sequence[tuple[Analysis, Pair]]) -> str:
    """``From 1,000 to 5,000 samples chrF improves (+1.4), …``, by what the tests say."""
    pair = moves[0][1]
    kinds: dict[str, list[str]] = {"improve": [], "get worse": [], "cannot be distinguished from noise": []}
    improve, worse, same = kinds
    for analysis, each in moves:
        better = (each.difference > 0) == analysis.metric.higher_is_better
        kind = same if not each.distinguishable else improve if better else worse
        size = mean_score(each.difference, analysis.metric, signed=True)
        kinds[kind].append(f"{short_name(analysis)} ({size})")
    one = {improve: "improves", worse: "gets worse", same: same}
    clauses = [
        f"{listed(names)} {kind if len(names) > 1 else one[kind]}" for kind, names in kinds.items() if names
    ]
    return f"From {change_label(pair)} {', while '.join(clauses)}"


def short_name(analysis: Analysis) -> str:
    """The metric's name without its encoder or judge, for a text that has named these."""
    return analysis.metric.name.partition(" (")[0]
