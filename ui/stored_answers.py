"""The answers that stored runs hold to the sample of a view: they need no model and no dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pipeline.evaluation.texts import digest_of, text_digest
from pipeline.models.checkpoints import columns
from pipeline.models.families import get_family
from pipeline.schema import Attempt, Column, LabError, Task
from ui import panes
from ui.lab import Lab
from ui.labels import run_label
from ui.views import View


@dataclass(frozen=True)
class StoredAnswers:
    """The stored answers to one sample.

    Attributes:
        attempts: one for each column; without a completion where none is stored.
        runs: a sentence on the run of each stored answer.
    """

    attempts: tuple[Attempt, ...]
    runs: Mapping[Column, str]


def find_stored(lab: Lab, view: View) -> StoredAnswers | None:
    """The stored answers to a view's sample; None if no run has one of its columns with its sampling."""
    family = get_family(lab.settings, view.family)
    known = columns(lab.settings, family)
    chosen = [known[key] for key in view.columns if key in known]
    answers = lab.stored.answers(chosen, view.sample, view.sampling or family.sampling)
    if not answers:
        return None
    task = next(iter(answers.values())).attempt.task
    if not _is_asked(lab, view, task):
        return None
    attempts = tuple(
        panes.untimed(replace(answers[column].attempt, column=column))
        if column in answers
        else Attempt(task, column)
        for column in chosen
    )
    runs = {column: run_label(answer.config) for column, answer in answers.items()}
    return StoredAnswers(attempts, runs)


def _is_asked(lab: Lab, view: View, task: Task) -> bool:
    """Whether the sample of this machine is the stored one; before its dataset is loaded, its file tells."""
    data = lab.loaded_dataset(get_family(lab.settings, view.family, view.dataset))
    if data is None:
        return not task.problem
    try:
        sample = data.get(view.sample)
    except LabError:
        return False
    return text_digest(sample.prompt, sample.function) == digest_of(task)
