"""``rcl compare``: checkpoints side by side on one task, in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from typing import Annotated, Any

import tyro
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from pipeline.command_line.progress import ProgressBar
from pipeline.decimals import NONE, decimal
from pipeline.evaluation import attempts as path
from pipeline.evaluation.answers import as_answer
from pipeline.evaluation.limits import choose_columns, choose_sampling
from pipeline.evaluation.tasks import task_from_instruction, task_from_sample
from pipeline.generation import open_engine
from pipeline.models.families import DEFAULT_FAMILY, Family, get_family
from pipeline.schema import Attempt, LabError, PromptVariant, Task
from pipeline.scoring import in_order, metric_of, offline_scorers
from pipeline.scoring.execution.suites.metric import executions
from pipeline.settings import Settings

_NARROWEST = 48  # characters of a pane; a terminal that is too narrow shows the answers one below the other


def compare(
    instruction: Annotated[str | None, tyro.conf.Positional] = None,
    columns: str = "baseline/regular,1000/regular,10000/regular",
    sample_id: str | None = None,
    family: str = DEFAULT_FAMILY,
    temperature: float | None = None,
    min_p: float | None = None,
    max_new_tokens: int | None = None,
    seed: int | None = None,
    dataset: str | None = None,
) -> dict[str, Any]:
    """Let checkpoints write code for one task, side by side in the terminal.

    The answers are drawn on stderr while they are written. If stdout is no terminal, they are printed there
    as JSON at the end.

    Args:
        instruction: what the code should do; or give a sample_id
        columns: checkpoints and prompt variants, such as baseline/regular,1000/regular
        sample_id: a test sample of the dataset, instead of an instruction
        family: model family
        temperature: 0 for greedy, at most 2; if not set, the family's own, as in the page
        min_p: drops tokens less likely than this share of the likeliest one; if not set, the family's own
        max_new_tokens: an answer is cut off after this many tokens; if not set, the family's own
        seed: fixes the random draws of every column
        dataset: of the sample, where it is not the family's own

    Raises:
        LabError: an argument is refused, or the family cannot run here.
    """
    settings = Settings.from_env()
    chosen = get_family(settings, family, dataset)
    sampling = choose_sampling(
        chosen, temperature=temperature, min_p=min_p, max_new_tokens=max_new_tokens, seed=seed
    )
    chosen_columns = choose_columns(settings, chosen, [key.strip() for key in columns.split(",")])
    if (instruction is None) == (sample_id is None):
        raise LabError("Give an instruction or a --sample-id, one of the two.")
    if sample_id:
        task = _sample(settings, chosen, [column.variant for column in chosen_columns], sample_id)
    else:
        task = task_from_instruction(instruction or "")
    console = Console(stderr=True)
    with closing(ProgressBar()) as progress:
        progress(0.0, "Loading the model")
        from transformers.utils import logging

        logging.disable_progress_bar()
        engine = open_engine(settings, chosen, progress)
        progress(0.95, "Loading the metrics")
        scorers = [*offline_scorers(engine=engine), *executions(settings, chosen.dataset)]
    written: Sequence[Attempt] = ()
    with Live(console=console, vertical_overflow="visible", refresh_per_second=8) as live:
        for written in path.compare(engine, scorers, chosen_columns, task, sampling):
            live.update(_panes(written, console.width))
        live.update(Group(_panes(written, console.width), _scores(written)))
    return {} if sys.stdout.isatty() else {"answers": [as_answer(attempt) for attempt in written]}


def _sample(settings: Settings, family: Family, variants: Sequence[PromptVariant], sample_id: str) -> Task:
    from pipeline.evaluation.datasets import load_dataset  # pyarrow takes a second

    variant: PromptVariant = "augmented" if "augmented" in variants else "regular"
    return task_from_sample(load_dataset(settings, family.dataset, variant).get(sample_id))


def _panes(attempts: Sequence[Attempt], width: int) -> Table:
    """The answers so far, as many in a row as are readable."""
    grid = Table.grid(expand=True)
    in_a_row = max(1, min(len(attempts), width // _NARROWEST))
    for _ in range(in_a_row):
        grid.add_column(ratio=1)
    panes = [_pane(attempt) for attempt in attempts]
    for start in range(0, len(panes), in_a_row):
        grid.add_row(*panes[start : start + in_a_row])
    return grid


def _pane(attempt: Attempt) -> Panel:
    done = attempt.completion
    if attempt.error:
        return Panel(Text(attempt.error, style="red"), title=attempt.column.key)
    text = Syntax(done.text.strip("\n") if done else "", "python", word_wrap=True, background_color="default")
    written = f"{done.tokens if done else 0} tokens"
    cut_off = ", cut off at the token limit" if done and done.finish_reason == "length" else ""
    return Panel(text, title=attempt.column.key, subtitle=written + cut_off)


def _scores(attempts: Sequence[Attempt]) -> Table:
    """Metric by column; what is unscored has a dash, and its reason below.

    Without rescaled scores and those of the raw text, which the page folds away.
    """
    table = Table("Metric", *(attempt.column.key for attempt in attempts))
    for name in in_order({name for attempt in attempts for name in attempt.scores}):
        if metric_of(name).is_repeat:
            continue
        scores = [attempt.scores.get(name) for attempt in attempts]
        values = [score.value if score else None for score in scores]
        table.add_row(name, *map(decimal, values))
    reasons = dict.fromkeys(
        score.reason for attempt in attempts for score in attempt.scores.values() if score.reason
    )
    table.caption = " ".join(f"{NONE} {reason}" for reason in reasons) or None
    return table
