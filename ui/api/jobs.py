"""The HTTP API of the jobs: typed functions. Their signatures are the API page.

No ``from __future__ import annotations`` here: Gradio reads the types as they stand.
"""

import inspect
from collections.abc import Callable
from typing import Any, Literal, TypedDict

import gradio as gr

from pipeline.command_line.commands import command_text
from pipeline.command_line.signature import Parameter, job_parameters, summary
from pipeline.schema import FieldError
from training.jobs import Job, JobState, Runner
from training.jobs.admission import require_launch, require_look
from ui.api.endpoint import convert, endpoint, publish
from ui.callers import caller

_SUBMISSIONS = {
    "finetune": "submit_finetune",
    "evaluate": "submit_evaluation",
    "sweep": "submit_sweep",
    "add_base_model": "submit_base_model",
}
"""The endpoint that submits each kind of job."""
_EITHER = inspect.Parameter.POSITIONAL_OR_KEYWORD
_TOKEN = inspect.Parameter("token", _EITHER, default="", annotation=str)


class JobRow(TypedDict):
    """A job as it stands; times in seconds since 1970, null where not yet."""

    id: str
    kind: str
    state: JobState
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
    return JobRow(command=command_text(job.command), **values)  # type: ignore[typeddict-item]


class JobsApi:
    """The endpoints' functions."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    @endpoint
    def jobs(self, state: JobState | Literal[""] = "", limit: int = 100, token: str = "") -> list[JobRow]:
        """The queue and what has ended, newest first.

        Args:
            state: only jobs in this state; empty for all
            limit: at most this many
            token: the server's jobs token, where it asks for one
        """
        require_look(self.runner.settings, caller(self.runner.settings, token))
        if limit < 0:
            raise FieldError("limit", "must be 0 or more.")
        jobs = [job for job in self.runner.list() if state in ("", job.state)]
        return [row(job) for job in jobs[:limit]]

    @endpoint
    def job(self, job_id: str, token: str = "") -> JobDetail:
        """One job with its log and curve.

        Args:
            job_id: as /jobs and the submissions give it
            token: the server's jobs token, where it asks for one
        """
        require_look(self.runner.settings, caller(self.runner.settings, token))
        job = self.runner.status(job_id)
        return {
            "job": row(job),
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
        require_launch(self.runner.settings, caller(self.runner.settings, token))
        return row(self.runner.cancel(job_id))


def submission(runner: Runner, kind: str) -> Callable[..., JobRow]:
    """The function that submits a kind of job; its parameters are the verb's, and a token.

    A field in Gradio's API page always has a value, so where the verb takes None the endpoint takes 0, or an
    empty text, or −1 where 0 is a value of its own.
    """
    verb = runner.verb(kind)
    parameters = job_parameters(verb)
    by_position, by_name = (
        [_api_parameter(parameter) for parameter in parameters if parameter.by_name is apart]
        for apart in (False, True)
    )
    signature = inspect.Signature([*by_position, _TOKEN, *by_name], return_annotation=JobRow)

    def submit(*values: Any, **named: Any) -> JobRow:
        call = signature.bind(*values, **named)
        call.apply_defaults()
        arguments = dict(call.arguments)
        token = convert(_TOKEN.name, arguments.pop(_TOKEN.name), str)
        require_launch(runner.settings, caller(runner.settings, token))
        for parameter in parameters:
            value = arguments[parameter.name]
            if parameter.optional and not isinstance(value, bool) and value == _unset(parameter):
                arguments[parameter.name] = None
        return row(runner.submit(kind, arguments, owner="API"))

    lines = [f"    {one.name}: {one.help}{_not_set(one)}" for one in parameters]
    lines.append(f"    {_TOKEN.name}: the server's jobs token, where it asks for one")
    submit.__name__ = _SUBMISSIONS[kind]
    submit.__doc__ = "\n".join([f"Queue a job. {summary(verb)}", "", "Args:", *lines])
    submit.__signature__ = signature  # type: ignore[attr-defined]
    submit.__annotations__ = {name: one.annotation for name, one in signature.parameters.items()}
    return submit


def _api_parameter(parameter: Parameter) -> inspect.Parameter:
    default = parameter.default
    if parameter.required:
        default = inspect.Parameter.empty
    elif default is None:
        default = _unset(parameter)
    hint = Literal[parameter.choices] if parameter.choices else parameter.kind
    return inspect.Parameter(parameter.name, _EITHER, default=default, annotation=hint)


def _not_set(parameter: Parameter) -> str:
    if not parameter.optional:
        return ""
    return f"; {'empty' if parameter.kind is str else _unset(parameter)} if not set"


def _unset(parameter: Parameter) -> Any:
    """What stands for "not set": 0 or an empty text; −1 where 0 is a value of its own."""
    return -1 if parameter.bounds and parameter.bounds[0] <= 0 else parameter.kind()


def add(runner: Runner, page: gr.Blocks) -> None:
    """Publish the endpoints; before any other event of the page, see ``publish``."""
    api = JobsApi(runner)
    for kind in _SUBMISSIONS.keys() & runner.verbs.keys():
        publish(page, submission(runner, kind))
    for function in (api.jobs, api.job, api.cancel_job):
        publish(page, function)
