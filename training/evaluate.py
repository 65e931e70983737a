"""Evaluate one checkpoint on the fixed test samples: generate, score, judge, store."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pipeline.command_line.verbs import run_verb
from pipeline.evaluation.datasets import check_dataset
from pipeline.evaluation.evaluate_columns import EvaluationPlan, evaluate_columns, summarize
from pipeline.evaluation.runs import Run
from pipeline.evaluation.store import runs_dir
from pipeline.models.checkpoints import get_column
from pipeline.models.families import DEFAULT_FAMILY, Family, get_family
from pipeline.schema import BASELINE, DEFAULT_SEED, PromptVariant
from pipeline.scoring.judge.config import (
    DEFAULT_MAX_TOKENS,
    DEFAULT_TEMPERATURE,
    JudgeConfig,
    self_judging_warning,
)
from pipeline.scoring.judge.open_judge import check_judge
from pipeline.settings import Settings
from training.jobs.arguments import (
    CheckpointName,
    JudgeChoice,
    JudgeTokens,
    NewTokens,
    Samples,
    Seed,
    Size,
    Temperature,
    Votes,
    evaluated_column,
    evaluation_sampling,
    judge_config,
)
from training.jobs.progress import Reporter

SuiteChoice = Literal["none", "packages", "metrics", "humaneval"]


def evaluate(
    subset_size: Size = BASELINE,
    prompt: PromptVariant = "regular",
    family: str = DEFAULT_FAMILY,
    samples: Samples = 200,
    judge: JudgeChoice = "none",
    judge_model: str = "gpt-4o",
    votes: Votes = 1,
    temperature: Temperature | None = None,
    max_new_tokens: NewTokens | None = None,
    seed: Seed = DEFAULT_SEED,
    training_seed: Seed = DEFAULT_SEED,
    resume: bool = False,
    output: Path | None = None,
    *,
    suite: SuiteChoice = "none",
    judge_temperature: Temperature = DEFAULT_TEMPERATURE,
    judge_max_tokens: JudgeTokens = DEFAULT_MAX_TOKENS,
    checkpoint: CheckpointName | None = None,
    dataset: str | None = None,
) -> dict[str, Any]:
    """Generate for the test samples, score what was written, and store the run.

    Args:
        subset_size: baseline, or the number of samples that the checkpoint was trained on
        prompt: prompt variant
        family: model family
        samples: number of test samples; all of a suite, or of a dataset of yours, that has fewer
        judge: CodeJudge method; the key comes from OPENAI_API_KEY, another server from OPENAI_BASE_URL
        judge_model: model that judges; a family of ours, such as qwen2.5-coder-1.5b, needs no key
        votes: how often each answer is judged, an odd number
        temperature: of generation, instead of the family's own; 0 is greedy
        max_new_tokens: most tokens of an answer, instead of the family's own
        seed: of the sampling
        training_seed: which checkpoint, where a size was trained with several seeds
        resume: go on with a run that was interrupted, repeating nothing, or add scores that it lacks
        output: folder that gets the run's folder, instead of the app's own
        suite: take the samples of a test suite, and execute what is written for them
        judge_temperature: of the judge; some reasoning models take 1 only
        judge_max_tokens: most tokens of one answer of the judge; a reasoning model needs thousands
        checkpoint: its name, instead of its number of training samples and training seed
        dataset: one of yours, instead of the family's own; a number of samples is then of those that it has

    Returns:
        The run's id and folder, how many samples it has, and each metric's mean, count and unscored count.

    Raises:
        LabError: the checkpoint, the data, the model or the judge's key is missing.
    """
    arguments = dict(locals())
    settings = Settings.from_env()
    report = Reporter()
    chosen = get_family(settings, family)
    column = get_column(settings, chosen, evaluated_column(arguments))
    check_dataset(settings, dataset or chosen.dataset)
    chosen = get_family(settings, family, dataset)
    plan = EvaluationPlan(
        samples=samples,
        sampling=evaluation_sampling(chosen, arguments),
        judge=judge_config(settings, arguments),
        resume=resume,
        root=output or runs_dir(settings),
        suite=None if suite == "none" else suite,
    )
    if plan.judge:
        check_judge(settings, plan.judge, lambda fraction, message: report(0.0, message))
        warn_of_self_judging(plan.judge, chosen)
    run = evaluate_columns(settings, chosen, [column], plan, report)[0]
    result = summarize(run)
    for line in _closing_lines(result["scores"]):
        print(line)
    _say_unscored(run)
    return result


def warn_of_self_judging(config: JudgeConfig, family: Family) -> None:
    """Say so if the family's base model would judge its own output."""
    generator = family.base if isinstance(family.base, str) else family.base.hub_id
    if warning := self_judging_warning(config.model, generator):
        print(f"warning: {warning}", file=sys.stderr)


def _closing_lines(scores: dict[str, Any]) -> list[str]:
    """The two lines that the original project's evaluation ends with, and pass@1 where code was executed.

    A stand-in keeps its own name.
    """
    lines = []
    for metric, score in scores.items():
        if metric.startswith("execution"):
            lines.append(f"pass@1: {_shown(score)} [{metric}]")
        elif metric.startswith("CodeJudge"):
            lines.append(f"CodeJudge Score: {_shown(score)} [{metric}]")
        elif "BERTScore" in metric and "rescaled" in metric:
            name = "CodeBERTScore" if metric.startswith("CodeBERTScore") else "BERTScore"
            lines.append(f"{name}: {_shown(score)} [{metric}]")
    return lines


def _shown(score: dict[str, Any]) -> str:
    # Ordinary digits, as the original writes them: programs read these lines.
    value = "unscored" if score["mean"] is None else f"{score['mean']:.4f}"
    return f"{value} (n={score['n']}, unscored {score['unscored']})"


def _say_unscored(run: Run) -> None:
    reasons: dict[str, int] = {}
    for attempt in run.attempts.values():
        for score in attempt.scores.values():
            if score.value is None:
                key = f"{score.metric}: {score.reason}"
                reasons[key] = reasons.get(key, 0) + 1
    for reason, count in sorted(reasons.items(), key=lambda pair: -pair[1])[:10]:
        print(f"unscored {count} times: {reason}", file=sys.stderr)


def original_spelling(argv: Sequence[str]) -> list[str]:
    """Read the original project's options too: ``--api_key KEY --subset_size N [--augmented_prompt]``.

    That spelling always judged, so a key on the command line means the naive judge unless another is named.
    """
    words: list[str] = []
    rest = iter(argv)
    for word in rest:
        name, equals, value = word.partition("=")
        if name in ("--api_key", "--api-key"):
            key = value if equals else next(rest, "")
            if not key or key.startswith("--"):
                print("error: --api_key needs a key", file=sys.stderr)
                raise SystemExit(2)
            os.environ["OPENAI_API_KEY"] = key
            print(
                "warning: others on this machine can read a key on a command line; prefer OPENAI_API_KEY",
                file=sys.stderr,
            )
            words += ["--judge=naive"] if not any(w.startswith("--judge") for w in argv) else []
        elif name == "--augmented_prompt":
            words.append("--prompt=augmented")
        elif name == "--subset_size":
            words.append("--subset-size" + equals + value)
        else:
            words.append(word)
    return words


def main() -> int:
    """Run the verb from the command line."""
    return run_verb(evaluate, original_spelling(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
