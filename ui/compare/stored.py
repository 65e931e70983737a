"""The comparison that stored runs hold of a view: it needs no model and no dataset."""

from __future__ import annotations

from dataclasses import replace

from pipeline.evaluation.texts import digest_of, text_digest
from pipeline.models.checkpoints import columns
from pipeline.models.families import get_family
from pipeline.schema import Attempt, LabError, Task
from ui import panes
from ui.compare.comparison import Comparison
from ui.lab import Lab
from ui.labels import run_label
from ui.panes import Against
from ui.views import View


def stored_comparison(
    lab: Lab, view: View, show_reference: bool = False, against: Against = "nothing"
) -> Comparison | None:
    """The stored answers to a view's sample; None if no run has one of these columns and this sampling.

    A column that has none gets an attempt without a completion.
    """
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
    return Comparison(view, show_reference, against, attempts, running=False, runs=runs)


def _is_asked(lab: Lab, view: View, task: Task) -> bool:
    """Whether the sample of this machine is the stored one; before its dataset is loaded, its file tells."""
    data = lab.loaded_dataset(get_family(lab.settings, view.family))
    if data is None:
        return not task.problem
    try:
        sample = data.get(view.sample)
    except LabError:
        return False
    return text_digest(sample.prompt, sample.function) == digest_of(task)
