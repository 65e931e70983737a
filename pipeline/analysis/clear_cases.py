"""Samples that show what more training data does: where it helps, changes nothing, or harms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

from scipy import stats as scipy_stats

from pipeline.analysis.samples import attempts_at
from pipeline.analysis.setups import Setup
from pipeline.schema import TRAINED_VARIANTS, Attempt, PromptVariant, TrainedVariant
from pipeline.scoring.text import CHRF

DataEffect = Literal["helps", "changes nothing", "harms"]
DATA_EFFECTS: tuple[DataEffect, ...] = get_args(DataEffect)
_MOST_LINES = 16  # of a reference: its answers can be read side by side
_PRINTS = "extra_repr"  # tests compare its text, which no instruction gives: a right answer can fail


@dataclass(frozen=True)
class ClearCase:
    """One sample under a ladder of checkpoints.

    Attributes:
        effect: of more training data.
        sample: its id.
        sizes: numbers of training samples, ascending, 0 for the baseline.
        passed: for each size whether the answer passes its tests.
        chrf: for each size.
    """

    effect: DataEffect
    sample: str
    sizes: tuple[int, ...]
    passed: tuple[bool, ...]
    chrf: tuple[float, ...]

    @property
    def trend(self) -> float:
        """Kendall's tau-b between size and chrF: 1 where every larger size is better; 0 for equal scores."""
        tau = float(scipy_stats.kendalltau(self.sizes, self.chrf).statistic)
        return 0.0 if math.isnan(tau) else tau

    @property
    def gain(self) -> float:
        """ChrF of the largest size minus that of the baseline."""
        return self.chrf[-1] - self.chrf[0]


def strongest_variant(setup: Setup) -> TrainedVariant:
    """Return the prompt variant under which the share of passed tests grows most."""
    return max(TRAINED_VARIANTS, key=lambda variant: _growth(setup, variant))


def _growth(setup: Setup, variant: PromptVariant) -> float:
    runs = setup.ladder(variant)
    if len(runs) < 2:
        return -math.inf
    rates = []
    for size in (min(runs), max(runs)):
        values = [score.value or 0 for score in runs[size].scores(setup.execution or "")]
        rates.append(sum(values) / max(1, len(values)))
    return rates[1] - rates[0]


def find_examples(setup: Setup, variant: PromptVariant, each: int) -> list[ClearCase]:
    """Return the clearest samples of each effect.

    Candidates are functions and classes that stand on their own, since a method can rarely be judged without
    its class, with short references and all scores. Classes that write a text about themselves are left out:
    the tests compare it and the instruction does not give it.

    The verdict of the tests changes at one size at most. Training helps where only the larger sizes pass,
    with the steepest rise of chrF; it harms where only the smaller ones do, with the steepest fall; it
    changes nothing if none passes and chrF hardly moves.

    Args:
        setup: executed runs, the baseline among them.
        variant: the prompt variant of the ladder.
        each: how many of each effect.
    """
    examples = [example for sample in _samples(setup) if (example := _example(setup, variant, sample))]
    order = {
        "helps": lambda example: (-example.trend, -example.gain),
        "changes nothing": lambda example: max(example.chrf) - min(example.chrf),
        "harms": lambda example: (example.trend, example.gain),
    }
    found = []
    for effect, key in order.items():
        found += sorted((example for example in examples if example.effect == effect), key=key)[:each]
    return found


def _samples(setup: Setup) -> Sequence[str]:
    return setup.runs[0].config.sample_ids


def _example(setup: Setup, variant: PromptVariant, sample: str) -> ClearCase | None:
    """The sample's example; None if it is no clear one."""
    sizes = {run.config.id: size for size, run in setup.ladder(variant).items()}
    ladder = {
        sizes[run.config.id]: attempt for run, attempt in attempts_at(setup, sample) if run.config.id in sizes
    }
    name = sample.rpartition("::")[2]
    if "." in name or 0 not in ladder or len(ladder) < 3:
        return None
    reference = ladder[0].task.reference or ""
    if len(reference.splitlines()) > _MOST_LINES or _PRINTS in reference:
        return None
    grown = sorted(ladder)
    passed = [_value(ladder[size], setup.execution or "") for size in grown]
    chrf = [_value(ladder[size], CHRF) for size in grown]
    if None in passed or None in chrf:
        return None
    verdicts = tuple(value == 1 for value in passed)
    effect = _effect(verdicts)
    if effect is None:
        return None
    return ClearCase(effect, sample, tuple(grown), verdicts, tuple(round(value or 0, 1) for value in chrf))


def _effect(passed: Sequence[bool]) -> DataEffect | None:
    changes = sum(before != after for before, after in pairwise(passed))
    if changes == 0 and not passed[0]:
        return "changes nothing"
    if changes == 1:
        return "harms" if passed[0] else "helps"
    return None


def _value(attempt: Attempt, metric: str) -> float | None:
    return attempt.scores[metric].value if metric in attempt.scores else None
