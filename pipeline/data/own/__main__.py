"""``python -m pipeline.data.own FILE --name NAME``: import a dataset of one's own."""

from __future__ import annotations

import dataclasses
import sys
from typing import Annotated, Any

import tyro
from annotated_types import Interval

from pipeline.command_line.verbs import run_verb
from pipeline.data.dataset import TEST_SHARE
from pipeline.data.own.prepare import LONGEST_CODE, Choices, prepare
from pipeline.data.own.rows import guess_columns
from pipeline.data.own.source import read_source
from pipeline.data.own.store import check_name, keep, own_dir
from pipeline.schema import DEFAULT_SEED
from pipeline.settings import Settings

Share = Annotated[float, Interval(ge=0.01, le=0.9)]
Characters = Annotated[int, Interval(ge=1, le=20_000)]


def import_data(
    source: Annotated[str, tyro.conf.Positional],
    name: str,
    instruction: str | None = None,
    code: str | None = None,
    context: str | None = None,
    function_name: str | None = None,
    group: str | None = None,
    title: str | None = None,
    test_share: Share = TEST_SHARE,
    longest: Characters = LONGEST_CODE,
    seed: Annotated[int, Interval(ge=0, le=2**32 - 1)] = DEFAULT_SEED,
    split: str = "train",
    *,
    check: bool = False,
    replace: bool = False,
) -> dict[str, Any]:
    """Import a dataset of your own: clean it, split it, and keep it in the data folder.

    Columns that are not named are guessed by their names. What is left out is counted, with the reason.

    Args:
        source: a file (JSON lines, CSV, TSV, parquet), or a dataset's id on the Hugging Face Hub
        name: what commands and pages call it: lower-case letters, digits and hyphens
        instruction: column with what the code should do
        code: column with the code
        context: column with the whole file around the code; without one there is no augmented prompt
        function_name: column with the name of the function
        group: column whose equal values stay on one side of the split, such as the repository
        title: what pages show, instead of the name
        test_share: share of the rows that are tested on
        longest: most characters of code; longer rows are left out
        seed: of the split
        split: of a hub dataset
        check: only say what would be imported and what would be left out
        replace: replace a dataset of the same name

    Returns:
        The dataset's name, fingerprint and sizes, the columns, and what a reader should know.

    Raises:
        LabError: the source cannot be read, a column is not there, or the name is taken.
    """
    settings = Settings.from_env()
    check_name(name)
    print(f"reading {source}", file=sys.stderr, flush=True)
    table = read_source(source, split)
    given = {"instruction": instruction, "code": code, "context": context}
    given |= {"function_name": function_name, "group": group}
    guess = guess_columns(table.columns)
    columns = dataclasses.replace(guess, **{part: each for part, each in given.items() if each})
    prepared = prepare(table, name, Choices(columns, test_share, longest, seed))
    for note in prepared.notes:
        print(note, file=sys.stderr)
    if not check:
        keep(settings, prepared, title or "", replace)
    return {
        "dataset": name,
        "path": None if check else str(own_dir(settings) / name),
        "fingerprint": prepared.fingerprint,
        "rows": len(table.rows),
        "train": len(prepared.train),
        "test": len(prepared.test),
        "contaminated": prepared.contaminated,
        "columns": dataclasses.asdict(columns),
        "notes": list(prepared.notes),
    }


if __name__ == "__main__":
    sys.exit(run_verb(import_data))
