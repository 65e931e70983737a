"""CodeJudge: a language model decides whether code does what was asked (arXiv 2410.02184).

Three methods: ``naive`` (one call, a verdict after a comparison step by step), ``analyze`` (one call reasons,
a second one that sees nothing but this reasoning gives the verdict: the paper's "analyze then summarize") and
``taxonomy`` (one call lists inconsistencies by severity: its "taxonomy-guided fault localization").

What keeps the numbers honest:

- Only the last bracketed verdict counts, so that one which the judged code plants and the judge repeats does
  not; an answer that was cut off has none.
- Whatever is not on the menu is unscored with a reason, never 0. An empty candidate is judged as any other,
  since leaving it out would flatter the model that wrote nothing.
- With several votes the score is their median (for verdicts: the majority), and only where votes that are
  missing could not have changed it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from statistics import median
from threading import Event

from pipeline.schema import Attempt, Score, Task
from pipeline.scoring.judge.client import Cancelled, JudgeClient, Unanswered
from pipeline.scoring.judge.config import CostEstimate, JudgeConfig, price
from pipeline.scoring.judge.prompts import opening, summary

CANCELLED = "cancelled before the judge answered"
NO_REFERENCE = "there is no reference to judge it against"
SEVERITIES = {"Negligible": 0, "Small": 5, "Major": 50, "Fatal": 100}
CHARACTERS_PER_TOKEN = (
    4  # measured 4.0 to 4.1 on these prompts with a 49k vocabulary; only the estimate uses it
)
_VERDICT = re.compile(r"\[\[\s*(correct|incorrect)\s*\]\]", re.IGNORECASE)
_FENCED = re.compile(r"^```[a-z]*[ \t]*\n(.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Vote:
    """One vote: its value from 0 to 1, or why it has none, and the judge's words, call by call."""

    value: float | None
    reason: str | None
    words: tuple[str, ...]


class CodeJudge:
    """The scorer. Its metric is named after the judge; values are 1 or 0, for ``taxonomy`` from 0 to 1.

    ``Score.details`` holds ``votes`` (each vote as a dict), ``agreement`` (share of the votes that equal the
    score) and ``flipped`` (whether votes contradict each other).

    Args:
        client: asks the judge.
        calls_in_flight: most questions that wait for an answer at the same time.
    """

    def __init__(self, client: JudgeClient, calls_in_flight: int = 8) -> None:
        self.client = client
        self.calls_in_flight = calls_in_flight
        self.config = client.config
        self.metrics: tuple[str, ...] = (self.config.name,)

    def applies_to(self, task: Task) -> bool:
        """See ``Scorer``."""
        return task.reference is not None

    def score(
        self,
        attempts: Sequence[Attempt],
        on_result: Callable[[int, Score], None] | None = None,
        cancel: Event | None = None,
    ) -> list[list[Score]]:
        """Judge each attempt's code; equal ones are asked about once.

        Args:
            attempts: what to judge.
            on_result: told each score with its attempt's index as soon as it stands, in this thread.
            cancel: set it to stop: calls in flight are finished and kept, the rest is unscored.

        Raises:
            LabError: the judge can answer nothing (key, model, credit, server). Calls in flight are finished
                and kept first.
        """
        asked: dict[str, list[int]] = {}
        scores = [Score(self.config.name, None, NO_REFERENCE)] * len(attempts)
        for index, attempt in enumerate(attempts):
            if attempt.task.reference is None:
                if on_result:
                    on_result(index, scores[index])
            else:
                asked.setdefault(opening(self.config, attempt.task, attempt.code), []).append(index)
        failed = Event()

        def stopped() -> bool:
            return failed.is_set() or (cancel is not None and cancel.is_set())

        def cast(prompt: str, number: int) -> Vote:
            try:
                return self._vote(prompt, number, stopped)
            except BaseException:
                failed.set()  # here, and not first where the result is read: each call more costs money
                raise

        votes: dict[str, dict[int, Vote]] = {prompt: {} for prompt in asked}
        with ThreadPoolExecutor(self.calls_in_flight, thread_name_prefix="judge") as pool:
            futures = {
                pool.submit(cast, prompt, vote): (prompt, vote)
                for prompt in asked
                for vote in range(self.config.votes)
            }
            try:
                for future in as_completed(futures):
                    prompt, vote = futures[future]
                    votes[prompt][vote] = future.result()
                    if len(votes[prompt]) == self.config.votes:
                        in_order = [votes[prompt][number] for number in range(self.config.votes)]
                        for index in asked[prompt]:
                            scores[index] = combine(self.config.name, in_order)
                            if on_result:
                                on_result(index, scores[index])
            except BaseException:
                failed.set()  # the pool waits for the calls in flight; those that wait their turn give up
                raise
        return [[score] for score in scores]

    def _vote(self, prompt: str, vote: int, stopped: Callable[[], bool]) -> Vote:
        words: list[str] = []

        def ask(question: str, step: str) -> str:
            answer = self.client.ask(question, step, vote, stopped)
            words.append(answer.text)
            if answer.finish_reason == "length":
                raise Unanswered(f"the judge's answer was cut off at {self.config.max_tokens} tokens")
            return answer.text

        try:
            text = ask(prompt, self.config.method)
            if self.config.method == "taxonomy":
                value = taxonomy_score(text)
            elif self.config.method == "analyze":
                value = verdict(ask(summary(text), "summarize"))
            else:
                value = verdict(text)
        except Unanswered as error:
            return Vote(None, str(error), tuple(words))
        except Cancelled:
            return Vote(None, CANCELLED, tuple(words))
        return Vote(value, None, tuple(words))


def verdict(text: str) -> float:
    """1 or 0 from the last bracketed verdict; raises ``Unanswered`` where there is none."""
    found = _VERDICT.findall(text)
    if not found:
        raise Unanswered("the judge gave no verdict")
    return float(found[-1].lower() == "correct")


def taxonomy_score(text: str) -> float:
    """``max(0, 100 - sum of the severities) / 100``, the paper's formula, from the judge's JSON list.

    Raises:
        Unanswered: the answer is not exactly such a list, fenced or bare.
    """
    fenced = _FENCED.findall(text)
    try:
        faults = json.loads(fenced[-1] if fenced else text)
    except ValueError:
        raise Unanswered("the judge's answer is no JSON list") from None
    if not isinstance(faults, list):
        raise Unanswered("the judge's answer is no JSON list")
    total = 0
    for fault in faults:
        if not isinstance(fault, dict) or set(fault) != {"inconsistency", "severity"}:
            raise Unanswered("the judge's list holds something else than inconsistencies with a severity")
        severity = str(fault["severity"]).capitalize()
        if severity not in SEVERITIES:
            raise Unanswered(f"the judge named a severity that there is not: {severity[:40]!r}")
        total += SEVERITIES[severity]
    return max(0, 100 - total) / 100


def combine(metric: str, votes: Sequence[Vote]) -> Score:
    """The median of an odd number of votes, if no missing vote could have moved it."""
    values = [vote.value for vote in votes if vote.value is not None]
    missing = len(votes) - len(values)
    low, high = median(values + [0.0] * missing), median(values + [1.0] * missing)
    details = {"votes": [asdict(vote) for vote in votes], "flipped": len(set(values)) > 1}
    if low == high:
        return Score(metric, low, None, {**details, "agreement": values.count(low) / len(votes)})
    reasons = Counter(vote.reason for vote in votes if vote.reason)
    reason = CANCELLED if CANCELLED in reasons else reasons.most_common(1)[0][0]
    if len(votes) > 1 and reason != CANCELLED:
        reason = f"{missing} of {len(votes)} votes are missing and the others do not settle it: {reason}"
    return Score(metric, None, reason, details)


def estimate(config: JudgeConfig, answers: Iterable[tuple[Task, str]]) -> CostEstimate:
    """Estimate what judging takes, from each task and the code that answers it.

    Before there is any code, the references can stand for it.
    """
    prompts = {opening(config, task, code) for task, code in answers if task.reference is not None}
    calls, sent = len(prompts), sum(map(len, prompts)) / CHARACTERS_PER_TOKEN
    if config.method == "analyze":  # a second call for each, that sends the first one's answer back
        sent += len(prompts) * (len(summary("")) / CHARACTERS_PER_TOKEN + config.max_tokens)
        calls *= 2
    prompt_tokens, output_tokens = round(sent * config.votes), calls * config.votes * config.max_tokens
    usd, date = price(config, prompt_tokens, output_tokens)
    return CostEstimate(calls * config.votes, prompt_tokens, output_tokens, usd, date)


def flip_rate(scores: Iterable[Score]) -> float | None:
    """Share of the judged attempts whose votes contradict each other; None where none was judged."""
    flips = [bool(score.details["flipped"]) for score in scores if score.value is not None and score.details]
    return sum(flips) / len(flips) if flips else None
