"""Who judges and how, what it will cost, and whether a model would judge itself."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import urlsplit

from pipeline.openai_server import check_address
from pipeline.schema import LabError
from pipeline.settings import ASSETS

Method = Literal["naive", "analyze", "taxonomy"]
METHODS: tuple[Method, ...] = get_args(Method)
OPENAI_URL = "https://api.openai.com/v1"
DEFAULT_TEMPERATURE = 0.5
DEFAULT_MAX_TOKENS = 512
_NOT_THE_MODEL = re.compile(r"bnb|[48][-_]?bit|gguf|awq|gptq|q\d(_\w+)?|fp8|bf16|meta|instruct|chat|latest")


@dataclass(frozen=True)
class JudgeConfig:
    """Who judges and how; stored with every run. It has no key, and its address may hold none.

    Attributes:
        method: ``naive``, ``analyze`` or ``taxonomy`` (see ``pipeline.scoring.judge.codejudge``).
        model: the judge's name at its server.
        base_url: of any OpenAI-compatible server, usually ending in ``/v1``.
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
        check_address(self.base_url)
        for wrong, words in (
            (self.method not in METHODS, f"The judge's method is one of {', '.join(METHODS)}."),
            (not self.model.strip(), "Say which model judges."),
            (self.votes < 1 or self.votes % 2 == 0, f"The votes must be an odd number, not {self.votes}."),
            (not 0 <= self.temperature <= 2, "The judge's temperature goes from 0 to 2."),
            (self.max_tokens < 1, "The judge needs at least one token for its answer."),
        ):
            if wrong:
                raise LabError(words)

    @property
    def name(self) -> str:
        """The metric's name: ``CodeJudge naive (gpt-4o)``, or ``… (gpt-4o, 3 votes, temperature 1)``.

        It tells judges of different settings apart, so that their scores are never taken for each other's.
        """
        parts = [self.model]
        parts += [f"{self.votes} votes"] if self.votes > 1 else []
        parts += [f"temperature {self.temperature:g}"] if self.temperature != DEFAULT_TEMPERATURE else []
        parts += [f"{self.max_tokens:,} tokens"] if self.max_tokens != DEFAULT_MAX_TOKENS else []
        return f"CodeJudge {self.method} ({', '.join(parts)})"

    @property
    def at_openai(self) -> bool:
        """Whether the judge is OpenAI's own service."""
        return urlsplit(self.base_url).hostname == urlsplit(OPENAI_URL).hostname


@dataclass(frozen=True)
class CostEstimate:
    """What judging will take when nothing of it is cached yet.

    Attributes:
        calls: requests to the judge, exact; fewer where answers are cached, more where a call is retried.
        prompt_tokens: sent, at the stated number of characters a token.
        output_tokens: the most that may come back.
        usd: the most it may cost; None where the price is not known.
        prices_date: of the prices, ISO.
    """

    calls: int
    prompt_tokens: int
    output_tokens: int
    usd: float | None
    prices_date: str

    def __str__(self) -> str:
        """One line for people."""
        money = (
            f"at most ${self.usd:.2f} (prices of {self.prices_date})"
            if self.usd is not None
            else "price of this judge not known"
        )
        return (
            f"{self.calls:,} calls, about {self.prompt_tokens:,} tokens sent, "
            f"at most {self.output_tokens:,} received, {money}"
        )


def price(config: JudgeConfig, prompt_tokens: int, output_tokens: int) -> tuple[float | None, str]:
    """US dollars for that many tokens (None for a judge without a known price), and the prices' date."""
    table = tomllib.loads((ASSETS / "judge_prices.toml").read_text(encoding="utf-8"))
    row = table["usd_per_million_tokens"].get(config.model) if config.at_openai else None
    usd = (prompt_tokens * row["input"] + output_tokens * row["output"]) / 1e6 if row else None
    return usd, table["date"].isoformat()


def self_judging_warning(judge: str, generator: str) -> str | None:
    """A warning where judge and generator are the same model, whoever publishes or quantized it."""
    if _name_parts(judge) != _name_parts(generator):
        return None
    return (
        f"{judge} would judge its own output: models prefer what they wrote themselves, "
        "so use another judge if you can."
    )


def _name_parts(name: str) -> frozenset[str]:
    """What is left of a model's name without publisher, format and tuning: size, version, family."""
    bare = _NOT_THE_MODEL.sub(" ", name.lower().split("/")[-1])
    return frozenset(re.findall(r"\d+(?:\.\d+)?|[a-z]+", bare))
