"""A run of an evaluation: its config, its attempts, and the command that repeats it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.command_line.commands import command_text, module_command
from pipeline.data.dataset import BUILT_IN
from pipeline.schema import (
    BASELINE,
    DEFAULT_SEED,
    SIZE_NAME,
    Attempt,
    Checkpoint,
    Column,
    PromptVariant,
    SamplingParams,
    Score,
)
from pipeline.scoring.execution.suites.suite import DATASETS
from pipeline.scoring.judge.config import OPENAI_URL, JudgeConfig


@dataclass(frozen=True)
class RunConfig:
    """All settings that a run's numbers depend on.

    Attributes:
        id: folder name, derived from what was evaluated: the same evaluation always has the same id.
        checkpoint: name, such as ``1000-regular``; ``column`` is the key that charts and the API use.
        subset_size: training samples, 0 for the baseline, None if unknown.
        sample_ids: the test samples, in order.
        recipe: what is known of how the checkpoint was trained (``Checkpoint.recipe``); older versions did
            not store it.
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
    subset_size: int | None
    variant: PromptVariant
    training_seed: int | None
    dataset: str
    dataset_fingerprint: str
    sample_ids: tuple[str, ...]
    decoding: SamplingParams
    judges: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    dataset_notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    engine: str = ""
    created: str = ""
    command: str = ""

    @property
    def is_baseline(self) -> bool:
        """Whether the base model was evaluated without an adapter."""
        return self.checkpoint == BASELINE

    @property
    def as_column(self) -> Column:
        """The checkpoint and prompt variant that were evaluated."""
        checkpoint = Checkpoint(
            self.family,
            self.checkpoint,
            self.subset_size,
            None if self.is_baseline or self.variant == "chat" else self.variant,
            self.training_seed,
            fingerprint=self.fingerprint,
            recipe=self.recipe,
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
    evaluation = evaluation_arguments(config) | {
        "suite": DATASETS.get(config.dataset),
        "samples": len(config.sample_ids),
        "temperature": config.decoding.temperature,
        "max_new_tokens": config.decoding.max_new_tokens,
        "seed": config.decoding.seed,
    }
    first, *others = list(config.judges.values()) or [{}]
    commands = [_judge_server(first) + evaluation_command(evaluation | _judge_arguments(first))]
    for judge in others:
        judging = {"resume": True, **_judge_arguments(judge)}
        commands.append(_judge_server(judge) + evaluation_command(evaluation | judging))
    return " && ".join(commands)


def evaluation_arguments(config: RunConfig) -> dict[str, Any]:
    """The arguments of ``training.evaluate`` that name the run's checkpoint and prompt variant."""
    named = {"family": config.family, "prompt": config.variant}
    if config.dataset not in DATASETS:
        named["dataset"] = config.dataset
    usual = SIZE_NAME.match(config.checkpoint) and config.dataset in (*BUILT_IN, *DATASETS)
    if not (config.is_baseline or usual):
        return {**named, "checkpoint": config.checkpoint}
    seed = None if config.training_seed == DEFAULT_SEED else config.training_seed
    return {**named, "subset_size": config.subset_size or BASELINE, "training_seed": seed}


def evaluation_command(arguments: Mapping[str, Any]) -> str:
    """The command of an evaluation with these arguments of ``training.evaluate``, as text."""
    return command_text(module_command("training.evaluate", arguments))


def _judge_server(judge: Mapping[str, Any]) -> str:
    """The setting of the judge's server, to put before the command; empty for OpenAI's and for a family."""
    url = judge.get("base_url", OPENAI_URL)
    return f"OPENAI_BASE_URL={shlex.quote(url)} " if url not in ("", OPENAI_URL) else ""


_JUDGE_ARGUMENTS = {"votes": "votes", "temperature": "judge_temperature", "max_tokens": "judge_max_tokens"}
"""Arguments of the evaluation by the judge's settings that have a default."""


def _judge_arguments(judge: Mapping[str, Any]) -> dict[str, Any]:
    if not judge:
        return {}
    default = asdict(JudgeConfig())
    changed = {
        argument: judge[name]
        for name, argument in _JUDGE_ARGUMENTS.items()
        if judge.get(name, default[name]) != default[name]
    }
    return {"judge": judge.get("method"), "judge_model": judge.get("model"), **changed}
