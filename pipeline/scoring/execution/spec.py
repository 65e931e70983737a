"""How one sample is tested, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Suite = Literal["packages", "metrics", "humaneval"]

EXECUTION: dict[Suite, str] = {
    "packages": "execution (packages)",
    "metrics": "execution (metrics)",
    "humaneval": "execution (HumanEval)",
}
"""The metric that each suite gives; suites are never pooled."""

RTOL, ATOL = 1e-4, 1e-6
"""Relative and absolute tolerance for floating point values."""

_PLACING = ("pipeline.scoring.execution.suites.place", "pipeline.scoring.execution.suites.recipes")

PRELOADED: dict[Suite, tuple[str, ...]] = {
    "packages": ("numpy", "torch", *_PLACING),
    "metrics": ("numpy", "torch", "torchmetrics", *_PLACING),
    "humaneval": ("numpy",),
}
"""Modules that a suite's sandbox imports once, before it forks a process for each candidate.

What a spec imports beyond these is imported for each candidate again, in that candidate's time.
"""


@dataclass(frozen=True, slots=True)
class Call:
    """One use of the code under test.

    It runs in a copy of the namespace, with all random number generators seeded, so calls do not see each
    other's names.

    Attributes:
        inputs: statements that bind the inputs, such as ``x = torch.randn(2, 3)``; may be empty.
        expression: what is evaluated then, such as ``softmax(x, dim=1)``. Its value is compared.
        watched: names that ``inputs`` binds, whose values after the evaluation are compared too: arguments
            that the code may change.
    """

    inputs: str
    expression: str
    watched: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TestSpec:
    """How one sample is tested: by ``calls``, compared with what the reference gives, or by ``check``.

    The process that runs a candidate never holds the reference, an expected output, or a call that it has
    not reached yet.

    Attributes:
        sample_id: the sample's id.
        suite: which suite it belongs to.
        entry: name of the function or class under test, dotted for a method. The namespace does not hold its
            last part before the candidate has defined it.
        reference: source of the correct code. It may be the sample's function as it is.
        module: dotted name that the code runs under. Relative imports start from it, and its first part is
            the package that a candidate must not delegate to.
        prelude: source that runs before the code under test: imports and other names that it needs.
        stub: signature and docstring that the prompt ends with. Code that does not define ``entry`` continues
            them.
        setup: source that runs once after it, seeded: helpers for the calls.
        calls: the tests, in order. Several outputs among them must differ, or a stub would pass.
        check: instead of ``calls``, a program that defines ``check(candidate)`` and asserts. It runs in a
            process of its own, and each call of ``candidate`` there runs in the candidate's process, so
            arguments and results are builtin values.
        seed: seed of Python's, numpy's and torch's generators.
        rtol: relative tolerance for floating point values; half precision has a larger one.
        atol: absolute tolerance.
    """

    __test__ = False  # not a class of tests, for pytest

    sample_id: str
    suite: Suite
    entry: str
    reference: str
    module: str = "candidate"
    prelude: str = ""
    stub: str = ""
    setup: str = ""
    calls: tuple[Call, ...] = ()
    check: str = ""
    seed: int = 0
    rtol: float = RTOL
    atol: float = ATOL

    @property
    def name(self) -> str:
        """What the code under test must define: the last part of ``entry``."""
        return self.entry.rpartition(".")[2]
