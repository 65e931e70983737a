"""Made-up rows of a dataset of one's own, and files of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from pipeline.data.own.prepare import Choices, Prepared, prepare
from pipeline.data.own.rows import guess_columns
from pipeline.data.own.source import read_source

Row = dict[str, str]
_WORDS = ("tensor", "angle", "price", "length", "score", "weight", "query", "token", "image", "graph")


def rows(number: int) -> list[Row]:
    """Rows with different code, of repositories with three rows each."""
    return [
        {
            "instruction": f"Write a function that scales the {_WORDS[index % 10]} number {index}.",
            "code": f"def scale_{index}(x):\n    {_WORDS[index % 10]}_{index} = x * {index}\n    return "
            + " + ".join(f"{_WORDS[(index * 7 + k) % 10]}_{index * k}" for k in range(1, 9)),
            "repo": f"repo{index // 3}",
        }
        for index in range(number)
    ]


def write_csv(file: Path, content: Sequence[Row], encoding: str = "utf-8") -> Path:
    """A CSV file with the columns of the first row."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(content[0]), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(content)
    file.write_bytes(out.getvalue().encode(encoding))
    return file


def prepared(file: Path, name: str = "mine") -> Prepared:
    """The file's dataset with guessed columns, not kept yet."""
    table = read_source(str(file))
    return prepare(table, name, Choices(guess_columns(table.columns)))
