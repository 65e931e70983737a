"""Metrics: one module each, behind one interface (``Scorer``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from pipeline.generation.engine import Engine
from pipeline.schema import Attempt, LabError, Score, Task
from pipeline.scoring.bertscore import BertScore, Matcher
from pipeline.scoring.encoder import CODEBERT, MINILM, EncoderKind, load_encoder
from pipeline.scoring.execution.spec import EXECUTION, Suite
from pipeline.scoring.extract import RULE, extract_code
from pipeline.scoring.likelihood import BITS_PER_BYTE, Likelihood
from pipeline.scoring.scorer import Scorer, score_all
from pipeline.scoring.text import CHRF, EDIT_SIMILARITY, PARSES, SAME_SIGNATURE, Parses, TextSimilarity

__all__ = [
    "METRICS",
    "RULE",
    "Metric",
    "Scorer",
    "extract_code",
    "in_order",
    "metric_of",
    "offline_scorers",
    "score_all",
    "shared_matcher",
]


@dataclass(frozen=True, slots=True)
class Metric:
    """What a reader needs to know of a metric: which way is better, its unit and range, what it means.

    Attributes:
        is_repeat: whether it repeats another metric, rescaled or on the raw text.
    """

    name: str
    higher_is_better: bool
    unit: str
    range: tuple[float, float]
    description: str
    is_repeat: bool = False

    @property
    def is_opinion(self) -> bool:
        """Whether a judge gives it, so that what it is worth depends on the judge."""
        return self.name.startswith("CodeJudge")

    @property
    def places(self) -> int:
        """Decimal places of its scores."""
        return 1 if self.range[1] == 100 else 3


def _similarity(kind: EncoderKind) -> Metric:
    encoder = f"the encoder {kind.model}, layer {kind.layer}"
    what = f"How similar the code's tokens are to the reference's in {encoder}"
    return Metric(kind.metric(), True, "", (0.0, 1.0), f"{what}; the prompt's tokens are left out.")


def _repeated(kind: EncoderKind, raw_text: str) -> list[Metric]:
    plain, rescaled, raw, raw_rescaled = kind.metrics
    whole = f"of the whole answer as it was written; {raw_text}."
    by_package = f"{plain}, rescaled as code-bert-score does it: 2·F1 − 1."
    return [
        Metric(rescaled, True, "", (-1.0, 1.0), by_package, is_repeat=True),
        Metric(raw, True, "", (0.0, 1.0), f"{plain} {whole}", is_repeat=True),
        Metric(raw_rescaled, True, "", (-1.0, 1.0), f"2·F1 − 1 {whole}", is_repeat=True),
    ]


_PASSES: dict[Suite, str] = {
    "packages": "does what the reference does, on generated calls of functions of the embedded dataset",
    "metrics": "does what the reference does, on calls of functions of torchmetrics",
    "humaneval": "passes the tests of its HumanEval problem",
}
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *(
            Metric(EXECUTION[suite], True, "", (0.0, 1.0), f"Whether the code {passes}. The mean is pass@1.")
            for suite, passes in _PASSES.items()
        ),
        Metric(
            BITS_PER_BYTE,
            False,
            "bits/byte",
            (0.0, float("inf")),
            "How surprised the model is by the reference: bits for each byte of it, given the prompt.",
        ),
        _similarity(CODEBERT),
        _similarity(MINILM),
        Metric(
            CHRF,
            True,
            "",
            (0.0, 100.0),
            "How many short runs of characters the code shares with the reference (F-score; sacrebleu).",
        ),
        Metric(
            EDIT_SIMILARITY,
            True,
            "",
            (0.0, 1.0),
            "1 minus the share of characters to change to get the reference (Levenshtein distance).",
        ),
        Metric(PARSES, True, "", (0.0, 1.0), "Whether the code is valid Python."),
        Metric(
            SAME_SIGNATURE,
            True,
            "",
            (0.0, 1.0),
            "Whether the name and the parameters are those of the reference.",
        ),
        *_repeated(CODEBERT, "as code-bert-score computes it, for comparison with published figures"),
        *_repeated(MINILM, "there are no published figures with this encoder"),
    )
}
"""The metrics that need no judge, by name, those that lead first. A CodeJudge's is named after the judge."""


def in_order(names: Iterable[str]) -> list[str]:
    """Return metric names in the order of every page and table: as in ``METRICS``, then judges, then others.

    What is measured stands before an opinion: what a judge's is worth depends on the judge.
    """
    known = list(METRICS)

    def rank(name: str) -> tuple[int, int, str]:
        if name in METRICS:
            return 0, known.index(name), name
        return 1 if metric_of(name).is_opinion else 2, 0, name

    return sorted(names, key=rank)


def metric_of(name: str) -> Metric:
    """Return a metric's facts by name; a CodeJudge is named after its judge, so no list holds it."""
    if name in METRICS:
        return METRICS[name]
    if name.startswith("CodeJudge taxonomy"):
        return Metric(name, True, "", (0.0, 1.0), "1 minus the weight of the faults that the judge found.")
    if name.startswith("CodeJudge"):
        return Metric(name, True, "", (0.0, 1.0), "Whether the judge finds the code correct.")
    return Metric(name, True, "", (float("-inf"), float("inf")), "")


@dataclass(frozen=True)
class _Unavailable:
    """Takes the place of a metric that is not available here, so that attempts are counted as unscored."""

    metrics: tuple[str, ...]
    reason: str

    quick = True

    def applies_to(self, task: Task) -> bool:
        """See ``Scorer``."""
        return task.reference is not None

    def score(self, attempts: Sequence[Attempt]) -> list[list[Score]]:
        return [[Score(metric, None, self.reason) for metric in self.metrics] for _ in attempts]


@cache
def shared_matcher() -> Matcher:
    """Return the process's one encoder with its embedded references; raises ``LabError`` if there is none."""
    return Matcher(load_encoder())


def offline_scorers(*, engine: Engine | None = None, reference: bool = True) -> list[Scorer]:
    """Return every metric that needs no judge, the quickest first.

    Args:
        engine: with it, the reference's likelihood is a metric too.
        reference: False for a task without a reference: only the metrics that need none, and no encoder.
    """
    if not reference:
        return [Parses()]
    bert: Scorer
    try:
        bert = BertScore(shared_matcher())
    except LabError as error:
        bert = _Unavailable(CODEBERT.metrics[:1], str(error))
    return [TextSimilarity(), Parses(), bert, *([Likelihood(engine)] if engine else [])]
