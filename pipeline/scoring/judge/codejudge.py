"""CodeJudge: a language model decides whether code does what its task asks for (arXiv 2410.02184).

There are three methods:

- ``naive``: one call compares the code with the reference step by step and gives a verdict.
- ``analyze``: one call analyzes the code, and a second call, which sees only this analysis, gives the
  verdict (the paper's "analyze then summarize").
- ``taxonomy``: one call lists inconsistencies by severity (its "taxonomy-guided fault localization").

These rules keep the numbers honest:

- Only the last bracketed verdict outside the judge's thinking counts. The judged code may contain a verdict,
  and the judge may repeat it. An answer that was cut off has no verdict.
- An answer that cannot be read is unscored with a reason, never 0. Empty code is judged like any other: if it
  were left out, a model that wrote nothing would look better.
- With several votes the score is their median (for verdicts: the majority). There is a score only if the
  missing votes could not change it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from pipeline.schema import Attempt, Price, Score, Task
from pipeline.scoring.judge.config import CostEstimate, JudgeConfig, Method
from pipeline.scoring.judge.prompts import first_prompt, summary_prompt
from pipeline.scoring.judge.questions import JudgeModel, Question, Reply, Unanswered

NO_REFERENCE = "there is no reference to judge it against"
SEVERITIES = {"Negligible": 0, "Small": 5, "Major": 50, "Fatal": 100}
CHARACTERS_PER_TOKEN = (
    4  # measured 4.0 to 4.1 on these prompts with a 49k vocabulary; only the estimate uses it
)
_VERDICT = re.compile(r"\[\[\s*(correct|incorrect)\s*\]\]", re.IGNORECASE)
_JSON_START = re.compile(r"\[(?=\s*[\]{\"])|\{(?=\s*[\"}])")


@dataclass(frozen=True, slots=True)
class Vote:
    """One vote of the judge.

    Attributes:
        value: from 0 to 1, None if there is none.
        reason: why there is no value.
        words: the judge's answer of each call.
        left_out: parameters that the judge's server refused.
    """

    value: float | None
    reason: str | None
    words: tuple[str, ...]
    left_out: tuple[str, ...] = ()


class CodeJudge:
    """Judges attempts. Its metric is named after the judge; values are 1 or 0, for ``taxonomy`` from 0 to 1.

    ``Score.details`` holds ``votes`` (each vote as a dict), ``agreement`` (share of the votes that equal the
    score), ``flipped`` (whether votes contradict each other) and ``left_out`` (parameters that the judge's
    server refused, if any).

    Args:
        model: answers the questions.
    """

    quick = False

    def __init__(self, model: JudgeModel) -> None:
        self.model = model
        self.config = model.config

    def applies_to(self, task: Task) -> bool:
        """See ``Scorer``."""
        return task.reference is not None

    def score(
        self, attempts: Sequence[Attempt], on_result: Callable[[int, Score], None] | None = None
    ) -> list[list[Score]]:
        """Judge each attempt's code; equal code for the same task is judged once.

        Args:
            attempts: what to judge.
            on_result: called in this thread with an attempt's index and score as soon as there is one.

        Raises:
            LabError: the judge can answer no question. Answers that it gave already are kept.
        """
        scores = [Score(self.config.name, None, NO_REFERENCE)] * len(attempts)
        rows: dict[str, list[int]] = {}
        for index, attempt in enumerate(attempts):
            if attempt.task.reference is not None:
                prompt = first_prompt(self.config, attempt.task, attempt.code)
                rows.setdefault(prompt, []).append(index)
            elif on_result:
                on_result(index, scores[index])
        with closing(self._judge(list(rows))) as judged:
            for prompt, score in judged:
                for index in rows[prompt]:
                    scores[index] = score
                    if on_result:
                        on_result(index, score)
        return [[score] for score in scores]

    def _judge(self, prompts: Sequence[str]) -> Generator[tuple[str, Score], None, None]:
        """Collect every vote on every prompt; yields each prompt's score after its last vote."""
        votes: dict[str, dict[int, Vote]] = {prompt: {} for prompt in prompts}
        with closing(self._votes(prompts)) as cast:
            for prompt, number, vote in cast:
                votes[prompt][number] = vote
                if len(votes[prompt]) == self.config.votes:
                    in_order = [vote for _, vote in sorted(votes[prompt].items())]
                    yield prompt, combine(self.config.name, in_order)

    def _votes(self, prompts: Sequence[str]) -> Generator[tuple[str, int, Vote], None, None]:
        """Yield each vote with its prompt and its number. ``analyze`` asks again, about every analysis."""
        method = self.config.method
        first = [
            Question(prompt, method, number, _READERS[method])
            for prompt in prompts
            for number in range(self.config.votes)
        ]
        analyses: list[tuple[Question, Reply]] = []
        with closing(self.model.replies(first)) as replies:
            for index, reply in replies:
                if method == "analyze" and reply.reason is None:
                    analyses.append((first[index], reply))
                else:
                    yield first[index].prompt, first[index].vote, _vote(reply)
        second = [
            Question(summary_prompt(analysis.value), "summarize", question.vote, verdict)
            for question, analysis in analyses
        ]
        with closing(self.model.replies(second)) as replies:
            for index, reply in replies:
                question, analysis = analyses[index]
                yield question.prompt, question.vote, _vote(analysis, reply)


def _vote(*replies: Reply) -> Vote:
    """The vote that the last reply gives, with the words of all."""
    left_out = dict.fromkeys(name for reply in replies for name in reply.left_out)
    words = tuple(reply.text for reply in replies)
    return Vote(replies[-1].value, replies[-1].reason, words, tuple(left_out))


def verdict(text: str) -> float:
    """Return 1 or 0 from the last bracketed verdict; raises ``Unanswered`` if there is none."""
    verdicts = _VERDICT.findall(text)
    if not verdicts:
        raise Unanswered("the judge gave no verdict")
    return float(verdicts[-1].lower() == "correct")


def taxonomy_score(text: str) -> float:
    """Return ``max(0, 100 - sum of the severities) / 100``, the paper's formula, from the judge's JSON list.

    Raises:
        Unanswered: the answer holds no such list.
    """
    total = 0
    for fault in _last_list(text):
        if set(fault) != {"inconsistency", "severity"}:
            raise Unanswered("an entry of the judge's list is not an inconsistency with a severity")
        severity = str(fault["severity"]).capitalize()
        if severity not in SEVERITIES:
            raise Unanswered(f"the judge named an unknown severity: {severity[:40]!r}")
        total += SEVERITIES[severity]
    return max(0, 100 - total) / 100


def _last_list(text: str) -> list[dict[str, Any]]:
    """Return the last JSON list of objects in the text; there may be prose around it.

    Prose may mention ``[]``. So an empty list counts only if it is alone on its line, or if the text has no
    brace: every inconsistency has braces.
    """
    lists: list[list[dict[str, Any]]] = []
    for value, start, end in _json_values(text):
        if isinstance(value, dict) and len(value) == 1:
            [value] = value.values()  # such as {"inconsistencies": [...]}
        line = text[text.rfind("\n", 0, start) + 1 :].partition("\n")[0]
        alone = line.strip() == text[start:end]
        if not isinstance(value, list) or not all(isinstance(fault, dict) for fault in value):
            continue
        if value or alone or "{" not in text:
            lists.append(value)
    if not lists:
        raise Unanswered("the judge's answer holds no JSON list of inconsistencies")
    return lists[-1]


def _json_values(text: str) -> Iterator[tuple[Any, int, int]]:
    """Yield every outermost JSON list of objects or strings, and every object, with its start and end."""
    decoder, place = json.JSONDecoder(strict=False), 0
    while start := _JSON_START.search(text, place):
        try:
            value, place = decoder.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            place = start.end()
        else:
            yield value, start.start(), place


_READERS: dict[Method, Callable[[str], Any]] = {"naive": verdict, "analyze": str, "taxonomy": taxonomy_score}
"""What reads the answer to a method's first question."""


def combine(metric: str, votes: Sequence[Vote]) -> Score:
    """Return the median of an odd number of votes, unscored if a missing vote could change it."""
    values = [vote.value for vote in votes if vote.value is not None]
    missing = len(votes) - len(values)
    low, high = median(values + [0.0] * missing), median(values + [1.0] * missing)
    details: dict[str, Any] = {"votes": [asdict(vote) for vote in votes], "flipped": len(set(values)) > 1}
    if left_out := sorted({name for vote in votes for name in vote.left_out}):
        details["left_out"] = left_out
    if low == high:
        return Score(metric, low, None, {**details, "agreement": values.count(low) / len(votes)})
    reason = Counter(vote.reason for vote in votes if vote.reason).most_common(1)[0][0]
    if len(votes) > 1:
        reason = f"{missing} of {len(votes)} votes are missing, and the others give no majority: {reason}"
    return Score(metric, None, reason, details)


def estimate_cost(
    config: JudgeConfig, answers: Iterable[tuple[Task, str]], price: Price | None
) -> CostEstimate:
    """Estimate what judging costs.

    Args:
        config: the judge.
        answers: each task with the code to judge; before there is any, the reference is a good estimate.
        price: of the judge; None if it is not known.
    """
    prompts = {first_prompt(config, task, code) for task, code in answers if task.reference is not None}
    calls, sent = len(prompts), sum(map(len, prompts)) / CHARACTERS_PER_TOKEN
    if config.method == "analyze":  # a second call for each, which sends the first answer back
        sent += len(prompts) * (len(summary_prompt("")) / CHARACTERS_PER_TOKEN + config.max_tokens)
        calls *= 2
    prompt_tokens, output_tokens = round(sent * config.votes), calls * config.votes * config.max_tokens
    usd = 0.0 if config.local else price.usd(prompt_tokens, output_tokens) if price else None
    return CostEstimate(
        calls * config.votes, prompt_tokens, output_tokens, usd, price.source if price else ""
    )


def flip_rate(scores: Iterable[Score]) -> float | None:
    """Return the share of judged attempts whose votes contradict each other; None if none was judged."""
    flips = [
        bool(score.details.get("flipped")) for score in scores if score.value is not None and score.details
    ]
    return sum(flips) / len(flips) if flips else None
