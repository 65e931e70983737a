"""The HTTP API of the jobs: typed functions. Their signatures are the API page.

No ``from __future__ import annotations`` here: Gradio reads the types as they stand.
"""

from typing import Any, Literal, TypedDict

import gradio as gr

from pipeline.models.families import DEFAULT_FAMILY
from pipeline.schema import PromptVariant
from training.jobs import Job, Runner
from training.jobs.limits import require_launch
from ui.api.endpoint import endpoint, publish
from ui.jobs.html import command_line

State = Literal["queued", "running", "succeeded", "failed", "cancelled", "interrupted"]
Wanted = Literal["", "queued", "running", "succeeded", "failed", "cancelled", "interrupted"]
Backend = Literal["auto", "unsloth", "peft"]
Judge = Literal["none", "naive", "analyze", "taxonomy"]
Suite = Literal["none", "packages", "metrics", "humaneval"]


class JobRow(TypedDict):
    """A job as it stands; times in seconds since 1970, null where not yet."""

    id: str
    kind: str
    state: State
    arguments: dict[str, Any]
    command: str
    progress: float
    message: str
    seconds_left: float | None
    reason: str | None
    exit_code: int | None
    result: dict[str, Any] | None
    owner: str
    sweep: str | None
    attempt: int
    created: float
    started: float | None
    finished: float | None


class JobDetail(TypedDict):
    """A job with its reports (loss or score by step), the end of its log, and a sweep's members."""

    job: JobRow
    reports: list[dict[str, Any]]
    log: str
    members: list[JobRow]


def row(job: Job) -> JobRow:
    """The public part of a record; without the server's paths, which a client would try to fetch."""
    values = {name: getattr(job, name) for name in JobRow.__annotations__ if name != "command"}
    if job.result:
        values["result"] = {name: value for name, value in job.result.items() if name != "path"}
    return JobRow(command=command_line(job.command), **values)  # type: ignore[typeddict-item]


_LEFT_OUT = ("max_steps", "learning_rate", "max_new_tokens")
"""Numbers that may be left out: 0 stands for that, since a number's field in Gradio is never empty."""


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """A verb's arguments, out of an endpoint's."""
    given = {name: value for name, value in values.items() if name not in ("self", "token")}
    return {name: (value or None) if name in _LEFT_OUT else value for name, value in given.items()}


class Api:
    """The endpoints' functions."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    def _submit(self, token: str, kind: str, arguments: dict[str, Any]) -> JobRow:
        require_launch(self.runner.settings, token)
        return row(self.runner.submit(kind, arguments, owner="API"))

    @endpoint
    def submit_finetune(
        self,
        subset_size: int,
        prompt: PromptVariant = "regular",
        family: str = DEFAULT_FAMILY,
        epochs: int = 3,
        seed: int = 42,
        max_steps: int = 0,
        learning_rate: float = 0,
        backend: Backend = "auto",
        token: str = "",
    ) -> JobRow:
        """Queue a fine-tune; the same one that already waits or runs is returned instead.

        Args:
            subset_size: number of training samples
            prompt: prompt variant to train under
            family: model family
            epochs: passes over the subset
            seed: training seed
            max_steps: stop after this many optimizer steps, 0 for none
            learning_rate: peak learning rate, 0 for the family's own
            backend: auto takes Unsloth on a GPU for large models, else PEFT
            token: the server's jobs token, where it asks for one
        """
        return self._submit(token, "finetune", _given(locals()))

    @endpoint
    def submit_evaluation(
        self,
        subset_size: str = "baseline",
        prompt: PromptVariant = "regular",
        family: str = DEFAULT_FAMILY,
        samples: int = 200,
        judge: Judge = "none",
        judge_model: str = "gpt-4o",
        votes: int = 1,
        temperature: float = 0.1,
        max_new_tokens: int = 0,
        seed: int = 42,
        training_seed: int = 42,
        suite: Suite = "none",
        token: str = "",
    ) -> JobRow:
        """Queue an evaluation. A judge's key comes from the server's own environment.

        Args:
            subset_size: baseline, or the number of samples that the checkpoint was trained on
            prompt: prompt variant
            family: model family
            samples: number of test samples
            judge: CodeJudge method
            judge_model: model that judges
            votes: how often each answer is judged, an odd number
            temperature: of generation; 0 is greedy
            max_new_tokens: most tokens of an answer, 0 for the family's own
            seed: of the sampling
            training_seed: which checkpoint, where a size was trained with several seeds
            suite: take the samples of a test suite, and execute what is written for them
            token: the server's jobs token, where it asks for one
        """
        return self._submit(token, "evaluate", _given(locals()))

    @endpoint
    def submit_sweep(
        self,
        sizes: str,
        prompts: str = "regular,augmented",
        seeds: str = "42",
        family: str = DEFAULT_FAMILY,
        epochs: int = 3,
        max_steps: int = 0,
        samples: int = 200,
        judge: Judge = "none",
        judge_model: str = "gpt-4o",
        token: str = "",
    ) -> JobRow:
        """Queue every fine-tune and evaluation of sizes, prompt variants and seeds that is still missing.

        Args:
            sizes: training-set sizes with commas between them; baseline evaluates the base model too
            prompts: prompt variants with commas between them
            seeds: training seeds with commas between them
            family: model family
            epochs: passes over each subset
            max_steps: stop each training after this many optimizer steps, 0 for none
            samples: number of test samples of each evaluation
            judge: CodeJudge method
            judge_model: model that judges
            token: the server's jobs token, where it asks for one
        """
        return self._submit(token, "sweep", _given(locals()))

    @endpoint
    def jobs(self, state: Wanted = "", limit: int = 100) -> list[JobRow]:
        """The queue and what has ended, newest first.

        Args:
            state: only jobs in this state; empty for all
            limit: at most this many
        """
        found = [job for job in self.runner.list() if state in ("", job.state)]
        return [row(job) for job in found[: max(0, limit)]]

    @endpoint
    def job(self, job_id: str) -> JobDetail:
        """One job with its log and curve.

        Args:
            job_id: as /jobs and the submissions give it
        """
        found = self.runner.status(job_id)
        return {
            "job": row(found),
            "reports": self.runner.progress(job_id),
            "log": self.runner.logs(job_id),
            "members": [row(member) for member in self.runner.list(sweep=job_id)],
        }

    @endpoint
    def cancel_job(self, job_id: str, token: str = "") -> JobRow:
        """Ask a job, or a whole sweep, to stop; one that has ended is left as it is.

        Args:
            job_id: as /jobs and the submissions give it
            token: the server's jobs token, where it asks for one
        """
        require_launch(self.runner.settings, token)
        return row(self.runner.cancel(job_id))


def add(runner: Runner, page: gr.Blocks) -> None:
    """Publish the endpoints; before any other event of the page, see ``publish``."""
    api = Api(runner)
    for function in (api.submit_finetune, api.submit_evaluation, api.submit_sweep):
        publish(page, function)
    for function in (api.jobs, api.job, api.cancel_job):
        publish(page, function)
