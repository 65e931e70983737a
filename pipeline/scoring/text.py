"""Metrics of the extracted code's text: fast and deterministic."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from pipeline.schema import Attempt, Score, Task
from pipeline.scoring.extract import normalize_line_ends
from pipeline.scoring.syntax import parse

CHRF, EDIT_SIMILARITY, PARSES, SAME_SIGNATURE = "chrF", "edit similarity", "parses", "same signature"
_HEADER = re.compile(r"^[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+\w", re.MULTILINE)
_MAX_HEADER_LINES, _MAX_HEADER = 60, 5_000
"""Lines and characters of a header: each line is tried as its last."""


class TextSimilarity:
    """How close the code is to the reference: chrF, edit similarity, same signature."""

    metrics = (CHRF, EDIT_SIMILARITY, SAME_SIGNATURE)
    quick = True

    def applies_to(self, task: Task) -> bool:
        """See ``Scorer``."""
        return task.reference is not None

    def score(self, attempts: Sequence[Attempt]) -> list[list[Score]]:
        """See ``Scorer``."""
        return [self._score(attempt.code, attempt.task.reference) for attempt in attempts]

    def _score(self, code: str, reference: str | None) -> list[Score]:
        if reference is None:
            return [Score(metric, None, "there is no reference") for metric in self.metrics]
        reference = normalize_line_ends(reference).strip()
        return [
            Score(CHRF, chrf(code, reference)),
            Score(EDIT_SIMILARITY, edit_similarity(code, reference)),
            same_signature(code, reference),
        ]


class Parses:
    """Whether the code is Python."""

    metrics = (PARSES,)
    quick = True

    def applies_to(self, task: Task) -> bool:
        """See ``Scorer``."""
        return True

    def score(self, attempts: Sequence[Attempt]) -> list[list[Score]]:
        """See ``Scorer``."""
        return [[parses(attempt.code)] for attempt in attempts]


def chrf(code: str, reference: str) -> float:
    """Character n-gram F-score, 0 to 100 (Popović 2015; sacrebleu's defaults: order 6, beta 2)."""
    import sacrebleu

    return float(sacrebleu.sentence_chrf(code, [reference]).score)


def edit_similarity(code: str, reference: str) -> float:
    """1 minus the Levenshtein distance over the longer length: 0 to 1."""
    from rapidfuzz.distance import Levenshtein

    return float(Levenshtein.normalized_similarity(code.strip(), reference))


def parses(code: str) -> Score:
    """Return 1 if Python's parser accepts the code and finds a statement in it, else 0."""
    try:
        tree = parse(code)
    except (RecursionError, MemoryError):
        return Score(PARSES, None, "it is nested too deeply for Python's parser")
    except (SyntaxError, ValueError) as error:
        return Score(PARSES, 0.0, details={"error": str(error)})
    return Score(PARSES, 1.0) if tree.body else Score(PARSES, 0.0, details={"error": "no statement"})


def same_signature(code: str, reference: str) -> Score:
    """Return 1 if the first def or class has the reference's name and parameters (of a class: bases), else 0.

    Only the header is read, so that code which the token limit cut off is still measured.
    """
    wanted, written = signature(reference), signature(code)
    if wanted is None:
        return Score(SAME_SIGNATURE, None, "the reference defines no function or class")
    return Score(
        SAME_SIGNATURE, float(written == wanted), details={"signature": written, "reference": wanted}
    )


def signature(code: str) -> str | None:
    """Return the first def or class as ``name(a, *rest, key)``, without annotations and defaults, or None."""
    start = _HEADER.search(code)
    if start is None:
        return None
    head = code[start.start() :].lstrip()[:_MAX_HEADER]
    lines = head.split("\n", _MAX_HEADER_LINES)[:_MAX_HEADER_LINES]
    for end in range(1, len(lines) + 1):
        header = "\n".join(lines[:end])
        for whole in (f"{header}\n pass", header):  # the body follows, or stands on the same line
            try:
                node = parse(whole).body[0]
            except (SyntaxError, ValueError, RecursionError, MemoryError, IndexError):
                continue
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                return f"{node.name}({', '.join(_parameters(node.args))})"
            if isinstance(node, ast.ClassDef):
                return f"{node.name}({', '.join(map(ast.unparse, node.bases))})"
    return None


def _parameters(arguments: ast.arguments) -> list[str]:
    star = ["*" + arguments.vararg.arg] if arguments.vararg else ["*"] if arguments.kwonlyargs else []
    double_star = ["**" + arguments.kwarg.arg] if arguments.kwarg else []
    positional = [a.arg for a in [*arguments.posonlyargs, *arguments.args]]
    return [*positional, *star, *(a.arg for a in arguments.kwonlyargs), *double_star]
