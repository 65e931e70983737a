"""Who may see and launch jobs, and what a job needs before it is queued; the same for page and API."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.data.dataset import BUILT_IN
from pipeline.data.own.store import check_variant, find_own
from pipeline.evaluation.datasets import check_dataset
from pipeline.models.checkpoints import get_column
from pipeline.models.families import Family, check_new_family, get_family
from pipeline.models.hub import base_source
from pipeline.schema import BASELINE, Checkpoint, FieldError, LabError
from pipeline.settings import Settings
from pipeline.spending import require_price
from training.jobs.arguments import evaluated_column, evaluated_name, judge_config
from training.jobs.recipe import check_replace, existing_checkpoint, trained_name, training_recipe

MAX_ACTIVE = 500
"""Jobs that wait or run at the same time; a sweep of 10 sizes, 2 variants and 3 seeds has 120."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks for something about jobs.

    Attributes:
        local: whether it is the user of this machine, or one who is trusted like that: by the host name, or
            as the owner of this Space.
        token: the jobs token that was given with the call.
    """

    local: bool
    token: str = ""


def jobs_are_on(settings: Settings) -> bool:
    """Whether this app accepts jobs."""
    return settings.private or bool(settings.jobs_token or settings.space_owner)


def may_launch(settings: Settings, caller: Caller) -> bool:
    """Whether the caller may launch, cancel and delete jobs: a local one, others with ``RCL_JOBS_TOKEN``."""
    if caller.local or not settings.jobs_token:
        return caller.local
    return hmac.compare_digest(caller.token.encode("utf-8", "replace"), settings.jobs_token.encode())


def require_launch(settings: Settings, caller: Caller) -> None:
    """Raise ``LabError`` unless the caller may launch, cancel and delete jobs."""
    if may_launch(settings, caller):
        return
    if settings.space_owner:
        other = ", or give the jobs token (RCL_JOBS_TOKEN)" if settings.jobs_token else ""
        raise LabError(
            f"Jobs on this Space are its owner's: sign in as {settings.space_owner} in Jobs{other}."
        )
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


def require_spending(settings: Settings, caller: Caller, family: Family) -> None:
    """Raise ``LabError`` if the family's server has the owner's key, which the caller may not spend.

    Who may launch jobs may.
    """
    paid = settings.engine_url and settings.engine_key and not family.embedded
    if paid and not may_launch(settings, caller):
        raise LabError(
            f"The server of {family.title} is one that its owner pays for, so only those who may launch jobs "
            "have it write: on the owner's machine, or over the API with the jobs token (RCL_JOBS_TOKEN). "
            "Stored answers are free."
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
    judge = judge_config(settings, arguments)
    if judge and not judge.local and settings.has_budget:
        require_price(settings, judge.model, judge.base_url)
    if kind == "add_base_model":
        base_source(arguments["source"])
        check_new_family(settings, arguments["name"], arguments["replace"])
        check_dataset(settings, arguments["dataset"] or BUILT_IN[0])
    if "family" not in arguments:
        return
    family = get_family(settings, arguments["family"])
    _check_dataset(settings, kind, arguments, arguments.get("dataset") or family.dataset)
    if kind == "evaluate":
        key = evaluated_column(arguments)
        if not trained_before:
            get_column(settings, family, key)
    there = trained_checkpoint(settings, arguments) if kind == "finetune" else None
    if there and not arguments["replace"]:
        check_replace(there, training_recipe(family, arguments))


def _check_dataset(settings: Settings, kind: str, arguments: Mapping[str, Any], name: str) -> None:
    """Check that a dataset is there; one of the user's also tells its size and prompts without being read."""
    check_dataset(settings, name)
    own = find_own(settings, name)
    if own is None or kind == "sweep":
        return
    check_variant(own, arguments["prompt"])
    if kind == "finetune" and arguments["subset_size"] > own.train:
        raise FieldError(
            "subset_size", f"must be at most {own.train:,}: the dataset {name} has no more training samples."
        )


def trained_checkpoint(settings: Settings, arguments: Mapping[str, Any]) -> Checkpoint | None:
    """The listed checkpoint that a fine-tune with these arguments would replace."""
    family = get_family(settings, arguments["family"])
    return existing_checkpoint(settings, family, trained_name(family, arguments))


def checkpoint_of(kind: str, arguments: Mapping[str, Any]) -> str | None:
    """Where the adapter that an evaluation evaluates lies below the data folder, if it was made here."""
    if kind != "evaluate" or (name := evaluated_name(arguments)) == BASELINE:
        return None
    return f"checkpoints/{arguments['family']}/{name}"
