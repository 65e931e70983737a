"""Which model judges and how, what that costs, and whether a model would judge its own output."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import urlsplit

from pipeline.openai_server import check_address
from pipeline.schema import LabError

Method = Literal["naive", "analyze", "taxonomy"]
METHODS: tuple[Method, ...] = get_args(Method)
OPENAI_URL = "https://api.openai.com/v1"
DEFAULT_TEMPERATURE = 0.5
DEFAULT_MAX_TOKENS = 512
_NOT_THE_MODEL = re.compile(r"bnb|[48][-_]?bit|gguf|awq|gptq|q\d(_\w+)?|fp8|bf16|meta|instruct|chat|latest")


@dataclass(frozen=True)
class JudgeConfig:
    """Which model judges and how; stored with every run. It has no key, and its address may hold none.

    Attributes:
        method: ``naive``, ``analyze`` or ``taxonomy`` (see ``codejudge``).
        model: the judge's name on its server, or the family of ours that judges.
        base_url: of any OpenAI-compatible server, usually ending in ``/v1``; empty for a family of ours,
            which judges in our own engine.
        votes: how often each candidate is judged, an odd number.
        temperature: of the judge.
        max_tokens: most tokens in one answer of the judge, its thinking included.

    Raises:
        LabError: a value makes no sense.
    """

    method: Method = "naive"
    model: str = "gpt-4o"
    base_url: str = OPENAI_URL
    votes: int = 1
    temperature: float = DEFAULT_TEMPERATURE
    max_tokens: int = DEFAULT_MAX_TOKENS

    def __post_init__(self) -> None:
        """Check every value."""
        if not self.local:
            check_address(self.base_url)
        for wrong, message in (
            (self.method not in METHODS, f"The judge's method must be one of {', '.join(METHODS)}."),
            (not self.model.strip(), "The name of the judge's model is missing."),
            (
                self.votes < 1 or self.votes % 2 == 0,
                f"The number of votes must be odd, not {self.votes}, so that a majority is certain.",
            ),
            (not 0 <= self.temperature <= 2, "The judge's temperature must be from 0 to 2."),
            (self.max_tokens < 1, "The judge's token limit must be 1 or more."),
        ):
            if wrong:
                raise LabError(message)

    @property
    def name(self) -> str:
        """The metric's name: ``CodeJudge naive (gpt-4o)``, or ``… (gpt-4o, 3 votes, temperature 1)``.

        Judges of different settings have different names, so that their scores are never mixed.
        """
        parts = [self.model]
        parts += [f"{self.votes} votes"] if self.votes > 1 else []
        parts += [f"temperature {self.temperature:g}"] if self.temperature != DEFAULT_TEMPERATURE else []
        parts += [f"{self.max_tokens:,} tokens"] if self.max_tokens != DEFAULT_MAX_TOKENS else []
        return f"CodeJudge {self.method} ({', '.join(parts)})"

    @property
    def local(self) -> bool:
        """Whether a family of ours judges, in our own engine."""
        return not self.base_url

    @property
    def at_openai(self) -> bool:
        """Whether the judge is OpenAI's own service."""
        return urlsplit(self.base_url).hostname == urlsplit(OPENAI_URL).hostname


@dataclass(frozen=True)
class CostEstimate:
    """What judging costs if no answer is in the cache yet.

    Attributes:
        calls: number of requests to the judge, without retries.
        prompt_tokens: tokens sent, estimated from the number of characters.
        output_tokens: most tokens that may be received.
        usd: most US dollars; None if the price is not known, 0 if the judge is a family of ours.
        prices: where the price is from, empty if it is not known.
    """

    calls: int
    prompt_tokens: int
    output_tokens: int
    usd: float | None
    prices: str

    def __str__(self) -> str:
        """The estimate in one line."""
        if self.usd == 0:
            money = "no cost, as it runs here"
        elif self.usd is None:
            money = "the price of this judge is not known"
        else:
            money = f"at most ${self.usd:.2f} (prices of {self.prices})"
        return (
            f"{self.calls:,} calls, about {self.prompt_tokens:,} tokens sent, "
            f"at most {self.output_tokens:,} received, {money}"
        )


def self_judging_warning(judge: str, generator: str) -> str | None:
    """Return a warning if judge and generator are the same model, in any quantization; else None."""
    if _name_parts(judge) != _name_parts(generator):
        return None
    return f"{judge} would judge its own output. Models prefer their own: use another judge if you can."


def _name_parts(name: str) -> frozenset[str]:
    """The parts of a model's name that tell family, version and size, without publisher and format."""
    bare = _NOT_THE_MODEL.sub(" ", name.lower().split("/")[-1])
    return frozenset(re.findall(r"\d+(?:\.\d+)?|[a-z]+", bare))
