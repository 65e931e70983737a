"""Types of the verbs' arguments with their bounds: the limits are set here only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from annotated_types import Interval
from pydantic import AfterValidator

from pipeline.data.own.store import find_own
from pipeline.evaluation.limits import MAX_NEW_TOKENS, MAX_SEED, MAX_TEMPERATURE, choose_sampling
from pipeline.models.checkpoints import check_name, checkpoint_name
from pipeline.models.families import Family, load_families
from pipeline.schema import (
    BASELINE,
    VARIANTS,
    Checkpoint,
    Column,
    PromptVariant,
    SamplingParams,
)
from pipeline.scoring.execution.suites.suite import DATASETS, suite_size
from pipeline.scoring.judge.config import OPENAI_URL, JudgeConfig
from pipeline.settings import Settings

MAX_SUBSET = 100_000

SubsetSize = Annotated[int, Interval(ge=1, le=MAX_SUBSET)]
Epochs = Annotated[int, Interval(ge=1, le=100)]
Steps = Annotated[int, Interval(ge=1, le=1_000_000)]
LearningRate = Annotated[float, Interval(ge=1e-7, le=0.1)]
Rank = Annotated[int, Interval(ge=1, le=1024)]
Alpha = Annotated[int, Interval(ge=1, le=4096)]
BatchSize = Annotated[int, Interval(ge=1, le=1024)]
Warmup = Annotated[int, Interval(ge=0, le=100_000)]
Name = Annotated[str, AfterValidator(check_name)]
"""Of a checkpoint."""
Seed = Annotated[int, Interval(ge=0, le=MAX_SEED)]
Samples = Annotated[int, Interval(ge=1, le=10_000)]
Votes = Annotated[int, Interval(ge=1, le=15)]
Temperature = Annotated[float, Interval(ge=0, le=MAX_TEMPERATURE), AfterValidator(lambda value: value + 0.0)]
"""-0.0 becomes 0.0: the same work has the same key, and the same run the same id."""
NewTokens = Annotated[int, Interval(ge=1, le=MAX_NEW_TOKENS)]
JudgeTokens = Annotated[int, Interval(ge=1, le=131_072)]
JudgeChoice = Literal["none", "naive", "analyze", "taxonomy"]


def parse_size(text: str) -> int:
    """Number of training samples in ``1000``, ``10,000`` or ``10_000``; 0 for ``baseline``.

    Raises:
        ValueError: it is neither, or out of bounds.
    """
    if text == BASELINE:
        return 0
    return _number(text.replace(",", "").replace("_", ""), text, "'baseline' or a number", 1, MAX_SUBSET)


def parse_sizes(text: str) -> list[int]:
    """Each size once, in order; 0 for ``baseline``. Raises ``ValueError`` as ``parse_size`` does."""
    words = _words(text, "a size")
    what = "sizes with commas between them, such as baseline,200,1000; each 'baseline' or a number"
    return [0 if word == BASELINE else _number(word, word, what, 1, MAX_SUBSET) for word in words]


def parse_prompts(text: str) -> list[PromptVariant]:
    """Each prompt variant once, in order; raises ``ValueError`` for an unknown one."""
    words = _words(text, "a prompt variant")
    for word in words:
        if word not in VARIANTS:
            raise ValueError(f"must be some of {', '.join(VARIANTS)}, with commas between them, not {word!r}")
    return [variant for word in words for variant in VARIANTS if variant == word]


def parse_seeds(text: str) -> list[int]:
    """Each seed once, in order; raises ``ValueError`` if one is not a seed."""
    what = "seeds with commas between them, such as 42,43; each a number"
    return [_number(word, word, what, 0, MAX_SEED) for word in _words(text, "a seed")]


def _words(text: str, what: str) -> list[str]:
    words = list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not words:
        raise ValueError(f"must name at least {what}")
    return words


def _number(digits: str, text: str, what: str, low: int, high: int) -> int:
    # isdigit alone also takes digits such as ², which int does not read.
    if not (digits.isascii() and digits.isdigit() and len(digits) < 12 and low <= int(digits) <= high):
        raise ValueError(f"must be {what} from {low:,} to {high:,}, not {text!r}")
    return int(digits)


def _list(numbers: list[int]) -> str:
    return ",".join(str(number or BASELINE) for number in numbers)


CheckpointName = Annotated[str, AfterValidator(lambda text: text if text == BASELINE else check_name(text))]
"""Of an adapter, or ``baseline``."""
Size = Annotated[str, AfterValidator(lambda text: str(parse_size(text) or BASELINE))]
"""``baseline``, or a number of training samples."""
Sizes = Annotated[str, AfterValidator(lambda text: _list(parse_sizes(text)))]
Prompts = Annotated[str, AfterValidator(lambda text: ",".join(parse_prompts(text)))]
Seeds = Annotated[str, AfterValidator(lambda text: ",".join(map(str, parse_seeds(text))))]


def evaluated_column(arguments: Mapping[str, Any]) -> str:
    """Key of the column that an evaluation with these arguments evaluates: ``1000-seed43/augmented``."""
    return Column(Checkpoint("", evaluated_name(arguments)), arguments["prompt"]).key


def evaluated_name(arguments: Mapping[str, Any]) -> str:
    """Name of the checkpoint that an evaluation with these arguments evaluates."""
    if name := arguments.get("checkpoint"):
        return str(name)
    size = parse_size(str(arguments["subset_size"]))
    if not size:
        return BASELINE
    seed, dataset = arguments["training_seed"], arguments.get("dataset")
    return checkpoint_name(size, arguments["prompt"], seed, dataset=dataset)


def evaluated_dataset(family: Family, arguments: Mapping[str, Any]) -> str:
    """Name of the dataset that an evaluation with these arguments takes its samples from."""
    suite = arguments.get("suite", "none")
    of_suite = next((dataset for dataset, name in DATASETS.items() if name == suite), None)
    return str(of_suite or arguments.get("dataset") or family.dataset)


def evaluated_samples(settings: Settings, dataset: str, arguments: Mapping[str, Any]) -> int:
    """How many samples an evaluation has: a suite or a dataset of one's own that has fewer is taken whole."""
    asked = int(arguments["samples"])
    if dataset in DATASETS:
        return min(asked, suite_size(settings, DATASETS[dataset]))
    own = find_own(settings, dataset)
    return min(asked, own.test) if own else asked


def evaluation_sampling(family: Family, arguments: Mapping[str, Any]) -> SamplingParams:
    """The sampling of an evaluation: its arguments, and the family's own parameters for the others."""
    # A run's id depends on the types, too: 0 and 0.0 are one temperature.
    types = {"temperature": float, "max_new_tokens": int, "seed": int}
    given = {name: kind(arguments[name]) for name, kind in types.items() if arguments.get(name) is not None}
    return choose_sampling(family, **given)


def judge_config(settings: Settings, arguments: Mapping[str, Any]) -> JudgeConfig | None:
    """The judge that a verb's arguments ask for, None for no judge. A family's name means that family.

    Raises:
        LabError: an argument makes no sense, such as an even number of votes.
    """
    if arguments.get("judge", "none") == "none":
        return None
    local = arguments["judge_model"] in load_families(settings)
    return JudgeConfig(
        method=arguments["judge"],
        model=arguments["judge_model"],
        base_url="" if local else settings.judge_url or OPENAI_URL,
        votes=arguments["votes"],
        temperature=float(arguments["judge_temperature"]),
        max_tokens=arguments["judge_max_tokens"],
    )
