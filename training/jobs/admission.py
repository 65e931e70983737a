"""Who may see and launch jobs, and what a job needs before it is queued; the same for page and API."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.models.checkpoints import checkpoint_name, get_column
from pipeline.models.families import get_family
from pipeline.schema import Checkpoint, LabError
from pipeline.settings import Settings
from training.jobs.arguments import BASELINE, column_key, judge_config
from training.jobs.recipe import check_replace, existing_checkpoint, family_for

MAX_ACTIVE = 500
"""Jobs that wait or run at the same time; a sweep of 10 sizes, 2 variants and 3 seeds has 120."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks for something about jobs.

    Attributes:
        local: whether it is the user of this machine, or one who is trusted like that.
        token: the jobs token that was given with the call.
    """

    local: bool
    token: str = ""


def jobs_are_on(settings: Settings) -> bool:
    """Whether this app accepts jobs."""
    return settings.private or bool(settings.jobs_token)


def may_launch(settings: Settings, caller: Caller) -> bool:
    """Whether the caller may launch, cancel and delete jobs: a local one, others with ``RCL_JOBS_TOKEN``."""
    if caller.local or not settings.jobs_token:
        return caller.local
    return hmac.compare_digest(caller.token.encode("utf-8", "replace"), settings.jobs_token.encode())


def require_launch(settings: Settings, caller: Caller) -> None:
    """Raise ``LabError`` unless the caller may launch, cancel and delete jobs."""
    if may_launch(settings, caller):
        return
    if settings.jobs_token:
        raise LabError("Jobs on this server need its jobs token (RCL_JOBS_TOKEN), and this is not it.")
    if settings.private:
        raise LabError(
            "This app takes jobs from its own machine only, under a name such as 127.0.0.1 or localhost. "
            "Whoever runs it can name another host in RCL_TRUSTED_HOSTS, or set RCL_JOBS_TOKEN."
        )
    raise LabError(
        "Jobs are off on this server, because others can reach it. Whoever runs it can set RCL_JOBS_TOKEN "
        "and give that token to those who may launch jobs."
    )


def require_look(settings: Settings, caller: Caller) -> None:
    """Raise ``LabError`` unless the caller may see jobs and their logs."""
    if not settings.public_jobs and not may_launch(settings, caller):
        way = "Give the jobs token to see them" if settings.jobs_token else "They are shown to its owner"
        raise LabError(f"The jobs of this server are not public (RCL_PUBLIC_JOBS). {way}.")


def check(settings: Settings, kind: str, arguments: Mapping[str, Any], trained_before: bool = False) -> None:
    """Raise ``LabError`` for what cannot work, before anything is queued.

    Args:
        settings: of the app.
        kind: the verb.
        arguments: all of its arguments, validated.
        trained_before: whether an earlier job trains the checkpoint that this one evaluates.
    """
    judge_config(settings, arguments)
    if "family" not in arguments:
        return
    family = family_for(settings, arguments["family"], arguments.get("learning_rate"))
    if kind == "evaluate" and not trained_before:
        get_column(settings, family, evaluated_column(arguments))
    there = trained_checkpoint(settings, arguments) if kind == "finetune" else None
    if there and not arguments["replace"]:
        check_replace(there, family, arguments["epochs"], arguments["max_steps"])


def trained_checkpoint(settings: Settings, arguments: Mapping[str, Any]) -> Checkpoint | None:
    """The listed checkpoint that a fine-tune with these arguments would replace."""
    name = checkpoint_name(arguments["subset_size"], arguments["prompt"], arguments["seed"])
    return existing_checkpoint(settings, get_family(settings, arguments["family"]), name)


def evaluated_column(arguments: Mapping[str, Any]) -> str:
    """Key of the column that an evaluation with these arguments evaluates."""
    return column_key(arguments["subset_size"], arguments["prompt"], arguments["training_seed"])


def checkpoint_of(kind: str, arguments: Mapping[str, Any]) -> str | None:
    """Where the adapter that an evaluation evaluates lies below the data folder, if it was made here."""
    if kind != "evaluate" or arguments["subset_size"] == BASELINE:
        return None
    size = int(arguments["subset_size"])
    name = checkpoint_name(size, arguments["prompt"], arguments["training_seed"])
    return f"checkpoints/{arguments['family']}/{name}"
