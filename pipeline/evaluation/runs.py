"""A run of an evaluation: its config, its attempts, and the command that repeats it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.schema import (
    DEFAULT_SEED,
    Attempt,
    Checkpoint,
    Column,
    PromptVariant,
    SamplingParams,
    Score,
)
from pipeline.scoring.execution.suite import DATASETS
from pipeline.scoring.judge.config import OPENAI_URL, JudgeConfig


@dataclass(frozen=True)
class RunConfig:
    """All settings that a run's numbers depend on.

    Attributes:
        id: folder name, derived from what was evaluated: the same evaluation always has the same id.
        checkpoint: name, such as ``1000-regular``; ``column`` is the key that charts and the API use.
        sample_ids: the test samples, in order.
        decoding: the sampling parameters; stored runs have this name for them.
        dataset_notes: what a reader should know of the dataset, such as copies on both sides of its split.
        judges: settings of each CodeJudge that judged it, by metric name, without keys.
        versions: of the main packages, by name.
        created: UTC, ISO 8601.
        command: the command that repeats it.
    """

    id: str
    family: str
    checkpoint: str
    column: str
    fingerprint: str
    subset_size: int
    variant: PromptVariant
    training_seed: int | None
    dataset: str
    dataset_fingerprint: str
    sample_ids: tuple[str, ...]
    decoding: SamplingParams
    judges: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    dataset_notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    engine: str = ""
    created: str = ""
    command: str = ""

    @property
    def as_column(self) -> Column:
        """The checkpoint and prompt variant that were evaluated."""
        checkpoint = Checkpoint(
            self.family,
            self.checkpoint,
            self.subset_size,
            self.variant if self.subset_size and self.variant != "chat" else None,
            self.training_seed,
            fingerprint=self.fingerprint,
        )
        return Column(checkpoint, self.variant)


@dataclass(frozen=True)
class Run:
    """A run and its attempts by sample id.

    Attributes:
        unreadable: how many lines of its files cannot be read and why, as a sentence; empty if none.
    """

    config: RunConfig
    attempts: Mapping[str, Attempt]
    path: Path
    unreadable: str = ""

    @property
    def complete(self) -> bool:
        """Whether all samples were attempted."""
        return all(sample in self.attempts for sample in self.config.sample_ids)

    @property
    def judges(self) -> list[str]:
        """Names of the judges that judged it; version 0.1 stored their scores and not their settings."""
        scored = {name for attempt in self.attempts.values() for name in attempt.scores}
        return list(self.config.judges) + sorted(
            name for name in scored - set(self.config.judges) if name.startswith("CodeJudge")
        )

    def scores(self, metric: str) -> list[Score]:
        """The scores of one metric; attempts that were not scored with it are left out."""
        return [attempt.scores[metric] for attempt in self.attempts.values() if metric in attempt.scores]


def repeat_command(config: RunConfig) -> str:
    """Return the command that repeats the run, and one more for each judge after the first."""
    sampling = config.decoding
    suite = f"--suite {DATASETS[config.dataset]} " if config.dataset in DATASETS else ""
    evaluate = (
        f"python -m training.evaluate --family {config.family} "
        f"--subset-size {config.subset_size or 'baseline'} --prompt {config.variant} "
        f"{suite}--samples {len(config.sample_ids)} --temperature {sampling.temperature:g} "
        f"--max-new-tokens {sampling.max_new_tokens} --seed {sampling.seed}"
    )
    if config.training_seed not in (None, DEFAULT_SEED):
        evaluate += f" --training-seed {config.training_seed}"
    first, *others = [_judge_flags(judge) for judge in config.judges.values()] or [("", "")]
    return " && ".join(
        [first[0] + evaluate + first[1], *(f"{server}{evaluate} --resume{flags}" for server, flags in others)]
    )


_JUDGE_FLAGS = {"votes": "--votes", "temperature": "--judge-temperature", "max_tokens": "--judge-max-tokens"}
"""Flags of a judge's settings that have a default."""


def _judge_flags(judge: Mapping[str, Any]) -> tuple[str, str]:
    """Return the judge's server, to put before the command, and its flags, to put after it."""
    default = asdict(JudgeConfig())
    url = judge.get("base_url", OPENAI_URL)
    server = f"OPENAI_BASE_URL={shlex.quote(url)} " if url != OPENAI_URL else ""
    flags = f" --judge {judge.get('method')} --judge-model {shlex.quote(str(judge.get('model')))}"
    for name, flag in _JUDGE_FLAGS.items():
        value = judge.get(name, default[name])
        if value != default[name]:
            flags += f" {flag} {value:g}" if isinstance(value, float) else f" {flag} {value}"
    return server, flags
