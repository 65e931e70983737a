"""Who may launch jobs, and how much may be asked for. The one place that decides it, for page and API."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from pipeline.models.checkpoints import checkpoint_name, get_column
from pipeline.models.families import get_family
from pipeline.schema import LabError
from pipeline.scoring.judge.config import JudgeConfig
from pipeline.settings import Settings

MOST_ACTIVE = 500
"""Jobs that wait or run at the same time; a sweep of 10 sizes, 2 variants and 3 seeds has 120."""
_RANGES = {
    "subset_size": (1, 20_000),
    "epochs": (1, 20),
    "max_steps": (1, 100_000),
    "samples": (1, 2_000),
    "votes": (1, 15),
    "max_new_tokens": (1, 4_096),
    "temperature": (0, 2),
    "learning_rate": (1e-7, 1e-1),
    "seed": (0, 2**31 - 1),
    "training_seed": (0, 2**31 - 1),
}


def jobs_are_on(settings: Settings) -> bool:
    """Whether there is anybody who may launch jobs here."""
    return settings.private or bool(settings.jobs_token)


def may_launch(settings: Settings, token: str | None) -> bool:
    """On a machine that only its user reaches, everyone; elsewhere who knows ``RCL_JOBS_TOKEN``."""
    if settings.private:
        return True
    return bool(settings.jobs_token) and hmac.compare_digest(
        (token or "").encode(), str(settings.jobs_token).encode()
    )


def require_launch(settings: Settings, token: str | None) -> None:
    """Raise ``LabError`` that says what is missing, unless the caller may launch, cancel and delete jobs."""
    if may_launch(settings, token):
        return
    if settings.jobs_token:
        raise LabError(
            "Jobs on this server need its jobs token (RCL_JOBS_TOKEN), and the one given is not it."
        )
    raise LabError(
        "Jobs are off on this server, since others can reach it. Whoever runs it can set RCL_JOBS_TOKEN "
        "and give that token to those who may launch jobs."
    )


def check(settings: Settings, kind: str, arguments: Mapping[str, Any], trained_before: bool = False) -> None:
    """Raise ``LabError`` for what cannot work, before anything is queued.

    Args:
        settings: of the app.
        kind: the verb.
        arguments: all of its arguments.
        trained_before: whether a job that comes before it makes the checkpoint that it evaluates.
    """
    for name, (low, high) in _RANGES.items():
        value = arguments.get(name)
        if isinstance(value, int | float) and not low <= value <= high:
            raise LabError(
                f"{name.replace('_', ' ').capitalize()} must be from {low:,} to {high:,}, not {value:,}."
            )
    if arguments.get("judge", "none") != "none":
        JudgeConfig(arguments["judge"], arguments["judge_model"], votes=arguments.get("votes", 1))
    if "family" not in arguments:
        return
    family = get_family(settings, arguments["family"])
    if kind == "evaluate" and not trained_before:
        get_column(settings, family, column_key(arguments))


def column_key(arguments: Mapping[str, Any]) -> str:
    """Key of the column that an evaluation evaluates, such as ``1000-seed43/augmented``."""
    size = str(arguments["subset_size"])
    if size == "baseline":
        return f"baseline/{arguments['prompt']}"
    name = checkpoint_name(_number(size), arguments["prompt"], arguments.get("training_seed", 42))
    return f"{name.replace('-' + arguments['prompt'], '', 1)}/{arguments['prompt']}"


def checkpoint_of(kind: str, arguments: Mapping[str, Any]) -> str | None:
    """Where the adapter that an evaluation evaluates lies below the data folder, if it was made here."""
    if kind != "evaluate" or arguments.get("subset_size") == "baseline":
        return None
    size = _number(str(arguments["subset_size"]))
    name = checkpoint_name(size, arguments["prompt"], arguments.get("training_seed", 42))
    return f"checkpoints/{arguments['family']}/{name}"


def _number(size: str) -> int:
    digits = size.replace(",", "").replace("_", "")
    if not (digits.isascii() and digits.isdigit()):
        raise LabError(f"The subset size is 'baseline' or a number such as 1000, not {size!r}.")
    return int(digits)
