"""From the rows of a source to samples: which column is what, and which rows cannot be used."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

from pipeline.data.duplicates import copy_key
from pipeline.data.own.table import Table, named, numbered
from pipeline.schema import FieldError, LabError, Sample, counted, quoted
from pipeline.sendable import is_sendable

LONGEST_INSTRUCTION = 4_000
LONGEST_CONTEXT = 500_000
"""Characters."""
_USUAL: Mapping[str, tuple[str, ...]] = {
    "instruction": (
        "instruction", "prompt", "question", "task", "text", "docstring", "query", "description", "problem",
        "input",
    ),
    "code": (
        "code", "function", "output", "response", "completion", "solution", "canonical_solution", "answer",
        "target", "reference",
    ),
    "context": ("full_code", "context", "file_content", "file_code", "whole_file"),
    "function_name": ("function_name", "func_name", "entry_point", "name"),
    "group": ("repo", "repository", "repo_name", "file", "path", "file_path", "author", "project", "group"),
}  # fmt: skip
"""Names that columns usually have, the likeliest first."""
_NAME = re.compile(r"^[ \t]*(?:async[ \t]+def|def|class)[ \t]+(\w+)", re.MULTILINE)
_FENCED = re.compile(r"\s*```[\w+-]*[ \t]*\n(.*?)\n?```\s*", re.DOTALL)


@dataclass(frozen=True)
class Columns:
    """Which column of a source is what; empty for none.

    Attributes:
        instruction: what the code should do.
        code: the code that is asked for.
        context: the whole file around it, for the augmented prompt.
        function_name: its name.
        group: what rows that belong together share, such as their repository, file or author; they stay on
            one side of the split.
    """

    instruction: str
    code: str
    context: str = ""
    function_name: str = ""
    group: str = ""


@dataclass(frozen=True)
class LeftOut:
    """Rows that cannot be used for one reason.

    Attributes:
        reason: the end of the sentence ``3 rows …``.
        rows: their numbers among the rows that were read, from 1; a header does not count.
    """

    reason: str
    rows: tuple[int, ...]

    @property
    def sentence(self) -> str:
        """How many there are, why, and the first of them."""
        rows = numbered("data row", self.rows)
        return f"Left out: {counted(len(self.rows), 'row')} {self.reason} ({rows})."


def guess_columns(names: Sequence[str]) -> Columns:
    """Guess by their names which column is what; an empty guess where none has a usual name.

    The instruction and the code, which must be there, can also have a name that ends in a usual one.
    """
    by_lower = {name.lower().replace(" ", "_").replace("-", "_"): name for name in names}
    by_end = {name.rpartition("_")[2]: own for name, own in by_lower.items()}
    guesses = dict.fromkeys(_USUAL, "")
    for known, parts in ((by_lower, tuple(_USUAL)), (by_end, ("instruction", "code"))):
        for part in parts:
            free = (
                known[name] for name in _USUAL[part] if known.get(name, "") not in ("", *guesses.values())
            )
            guesses[part] = guesses[part] or next(free, "")
    return Columns(**guesses)


def check_columns(columns: Columns, names: Sequence[str]) -> None:
    """Raise ``FieldError`` if a column is missing, or the same is named for instruction and code."""
    there = f"The columns are: {named(names)}." if names else "No column holds a text."
    for field in fields(columns):
        name = getattr(columns, field.name)
        if not name and field.name in ("instruction", "code"):
            raise FieldError(field.name, f"must name a column. {there}")
        if name and name not in names:
            raise FieldError(field.name, f"names the column {quoted(name)}, which is not there. {there}")
    if columns.instruction == columns.code:
        raise FieldError("code", f"must be another column than the instruction. {there}")


def make_samples(
    table: Table, columns: Columns, dataset: str, longest: int
) -> tuple[list[Sample], list[LeftOut]]:
    """Make a sample of each row that can be used.

    Args:
        table: the source.
        columns: which column is what.
        dataset: the dataset's name, with which the ids of its samples start.
        longest: the most characters of code; longer rows are left out.

    Raises:
        LabError: a column is not there, or no row can be used.
    """
    check_columns(columns, table.columns)
    samples: list[Sample] = []
    left_out: dict[str, list[int]] = {}
    seen: set[tuple[int, int]] = set()
    for number, row in enumerate(table.rows, start=1):
        sample = _sample(f"{dataset}/{number}", row, columns)
        key = copy_key(sample.prompt, sample.function)
        reason = _unusable(sample, longest) or ("equal to an earlier row" if key in seen else "")
        if reason:
            left_out.setdefault(reason, []).append(number)
        else:
            seen.add(key)
            samples.append(sample)
    out = [LeftOut(reason, tuple(numbers)) for reason, numbers in left_out.items()]
    if not samples:
        raise LabError(
            f"No row of {table.source} can be used. {' '.join(each.sentence for each in out)} Choose other "
            "columns."
        )
    return samples, out


def _sample(sample_id: str, row: Mapping[str, str], columns: Columns) -> Sample:
    """The sample of a row; its code is dedented, and without a Markdown fence around it."""
    texts = {part: row.get(name, "") if name else "" for part, name in asdict(columns).items()}
    fenced = _FENCED.fullmatch(texts["code"])
    code = textwrap.dedent(fenced[1] if fenced else texts["code"]).strip("\n").rstrip()
    named = _NAME.search(code)
    return Sample(
        id=sample_id,
        prompt=texts["instruction"].strip(),
        function=code,
        function_name=texts["function_name"].strip()
        or (named[1] if named else f"row {sample_id.rpartition('/')[2]}"),
        full_code=texts["context"] or code,
        file_length=len(texts["context"] or code),
        repo=texts["group"].strip(),
        file="",
    )


def _unusable(sample: Sample, longest: int) -> str:
    """Why a row cannot be used; empty if it can."""
    if not sample.prompt:
        return "without an instruction"
    if not sample.function:
        return "without code"
    if len(sample.function) > longest:
        return f"with more than {longest:,} characters of code"
    if len(sample.prompt) > LONGEST_INSTRUCTION:
        return f"with more than {LONGEST_INSTRUCTION:,} characters of instruction"
    if len(sample.full_code) > LONGEST_CONTEXT:
        return f"with a file of more than {LONGEST_CONTEXT:,} characters"
    texts = f"{sample.prompt}{sample.function}{sample.function_name}{sample.full_code}{sample.repo}"
    if "\0" in texts:
        return "with a NUL character"
    return "" if is_sendable(texts) else "with half of a character (a lone surrogate)"
