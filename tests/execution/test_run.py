"""Candidates held against a reference."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pipeline.schema import LabError
from pipeline.scoring.execution import run
from pipeline.scoring.execution.flags import flags
from pipeline.scoring.execution.pass_at_k import pass_at_k
from pipeline.scoring.execution.sandbox import Sandbox, unavailable
from pipeline.scoring.execution.spec import Call, TestSpec
from pipeline.scoring.execution.suites.humaneval import load_humaneval

confined = pytest.mark.skipif(bool(unavailable()), reason="this system cannot confine a process")
REFERENCE = """
def scale(x, by=2):
    if by == 0:
        raise ValueError('zero')
    x.append(by)
    return [v * by for v in x]
"""
SCALE = TestSpec(
    sample_id="scale",
    suite="packages",
    entry="scale",
    reference=REFERENCE,
    prelude="import math\nimport random",
    setup="ONE = [1]",
    calls=(
        Call("x = [1, 2]", "scale(x)", ("x",)),
        Call("x = list(ONE)", "scale(x, by=3)", ("x",)),
        Call("x = [random.random()]", "scale(x, 0.5)", ("x",)),
        Call("", "scale([], 0)"),
    ),
)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(["numpy"]) as running:
        yield running


def result(sandbox: Sandbox, code: str, spec: TestSpec = SCALE) -> run.ExecutionResult:
    return run.Executor(sandbox).execute([(code, spec)])[0]


@confined
def test_the_reference_passes(sandbox: Sandbox) -> None:
    passed = result(sandbox, SCALE.reference)
    assert (passed.verdict, passed.reason, passed.flags) == ("passed", "", ())
    assert [call.wrong for call in passed.calls] == [""] * 4


@confined
def test_a_wrong_output_says_which_call_and_how(sandbox: Sandbox) -> None:
    failed = result(sandbox, SCALE.reference.replace("by=2", "by=4"))
    assert failed.verdict == "failed"
    assert failed.reason == "1 of 4 calls differ from the reference; in the first, [0] is 4 instead of 2."
    assert failed.calls[0].call == "x = [1, 2]\nscale(x)"
    assert (failed.calls[0].expected, failed.calls[0].got) == ("[2, 4, 4]", "[4, 8, 16]")


@confined
def test_an_argument_that_is_not_changed_fails(sandbox: Sandbox) -> None:
    code = SCALE.reference.replace("x.append(by)", "x = x + [by]")
    assert "an argument differs afterwards: [0] has 2 elements instead of 3" in result(sandbox, code).reason


@confined
def test_another_exception_is_reported_and_passes(sandbox: Sandbox) -> None:
    passed = result(sandbox, SCALE.reference.replace("ValueError", "KeyError"))
    assert passed.verdict == "passed"
    assert [call.same_exception for call in passed.calls] == [True, True, True, False]


@confined
def test_no_exception_where_the_reference_raises_fails(sandbox: Sandbox) -> None:
    failed = result(sandbox, SCALE.reference.replace("raise ValueError('zero')", "pass"))
    assert "it does not raise ValueError" in failed.reason


@confined
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def scale(x:", "The code raises SyntaxError: "),
        ("", "The code raises NameError: it does not define scale."),
        ("import nothing_of_that_name", "The code raises ModuleNotFoundError: "),
        ("def other(x): pass", "The code raises NameError: it does not define scale."),
    ],
)
def test_code_that_does_not_run_is_errored(sandbox: Sandbox, code: str, reason: str) -> None:
    errored = result(sandbox, code)
    assert errored.verdict == "errored"
    assert errored.reason.startswith(reason)


@confined
def test_a_name_that_the_tests_need_is_not_taken_for_the_candidate_s(sandbox: Sandbox) -> None:
    spec = replace(SCALE, prelude=SCALE.reference)
    assert result(sandbox, "pass", spec).verdict == "errored"


@confined
def test_a_reference_that_does_not_run_leaves_its_candidates_unscored(sandbox: Sandbox) -> None:
    broken = replace(SCALE, prelude="import nothing_of_that_name")
    unscored = result(sandbox, SCALE.reference, broken)
    assert unscored.verdict == "unscored"
    assert "ModuleNotFoundError" in unscored.reason


@confined
def test_calls_do_not_see_each_other(sandbox: Sandbox) -> None:
    spec = replace(SCALE, calls=(Call("y = 1", "scale([1])"), Call("", "y")))
    outcomes = run.run_calls(sandbox, SCALE.reference, spec).outcomes
    assert [outcome.raised for outcome in outcomes] == ["", "NameError"]


@confined
def test_every_call_is_seeded(sandbox: Sandbox) -> None:
    spec = replace(SCALE, calls=(Call("", "random.random()"),) * 2)
    one, other = run.run_calls(sandbox, SCALE.reference, spec).outcomes
    assert one == other


@confined
def test_a_future_import_of_the_module_holds_for_the_code(sandbox: Sandbox) -> None:
    spec = replace(SCALE, prelude="from __future__ import annotations\nimport random")
    assert result(sandbox, SCALE.reference.replace("(x,", "(x: Unknown,"), spec).verdict == "passed"


@confined
def test_relative_imports_start_from_the_reference_s_module(sandbox: Sandbox) -> None:
    reference = "def f(x):\n    from .decoder import JSONDecoder\n    return JSONDecoder().decode(x)"
    spec = TestSpec("s", "packages", "f", reference, "json.tool", calls=(Call("", "f('[1]')"),))
    assert result(sandbox, spec.reference, spec).verdict == "passed"


@confined
def test_results_come_in_the_order_of_the_jobs(sandbox: Sandbox) -> None:
    codes = [SCALE.reference, "pass", SCALE.reference.replace("by=2", "by=4")] * 4
    told: list[str] = []
    jobs = [(code, SCALE) for code in codes]
    results = run.Executor(sandbox).execute(jobs, lambda _, words: told.append(words))
    assert [r.verdict for r in results] == ["passed", "errored", "failed"] * 4
    assert told[-1] == "executed 12 of 12 completions"


@pytest.mark.parametrize(
    ("code", "sign"),
    [
        ("import importlib", "uses importlib"),
        ("import sys\nsys.modules['a']", "uses .modules"),
        ("open('x')", "uses open"),
        ("from pkg.core import scale", "imports pkg.core.scale"),
        ("from ..core import scale", "imports pkg.core.scale"),
        ("import pkg.other", "imports pkg.other"),
        ("np.scale(x)", "refers to another scale"),
    ],
)
def test_signs_of_cheating_are_told(code: str, sign: str) -> None:
    assert sign in flags(code, replace(SCALE, module="pkg.sub.mod"))


def test_what_the_reference_uses_is_no_sign() -> None:
    code = "import gc\nfrom pkg.a import b\ndef scale(x):\n    return scale(x.eval())"
    assert not flags(
        code, replace(SCALE, module="pkg.mod", reference="import gc", prelude="from .a import b")
    )


def test_execution_is_off_where_nothing_confines_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(LabError, match="RCL_UNSAFE_EXECUTION=1 runs it nevertheless; then it can read"):
        Sandbox()


def test_a_setting_allows_execution_where_nothing_confines_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with Sandbox(["numpy"], unsafe=True) as sandbox:
        assert result(sandbox, SCALE.reference).verdict == "passed"


@confined
def test_what_an_unconfined_candidate_leaves_running_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    psutil = pytest.importorskip("psutil")
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    code = "import os, time\ndef scale(x):\n    os.fork() or (os.setsid(), time.sleep(1000))"
    with Sandbox(unsafe=True) as sandbox:
        run.run_calls(sandbox, code, replace(SCALE, calls=SCALE.calls[:1]))
        assert not [child for zygote in psutil.Process().children() for child in zygote.children()]


@pytest.mark.parametrize(
    ("drawn", "passed", "k", "chance"), [(1, 1, 1, 1.0), (5, 0, 5, 0.0), (4, 1, 2, 0.5), (10, 3, 1, 0.3)]
)
def test_pass_at_k_is_unbiased(drawn: int, passed: int, k: int, chance: float) -> None:
    assert pass_at_k(drawn, passed, k) == pytest.approx(chance)


@pytest.fixture(scope="module")
def problems() -> Iterator[tuple[Sandbox, list[tuple]]]:
    loaded = load_humaneval()
    with run.sandbox_for(spec for _, spec in loaded) as running:
        yield running, loaded


def verdicts(problems: tuple[Sandbox, list[tuple]], code, every: int = 1) -> set[str]:
    sandbox, loaded = problems[0], problems[1][::every]
    return {r.verdict for r in run.Executor(sandbox).execute([(code(*row), row[1]) for row in loaded])}


@confined
def test_all_canonical_solutions_of_humaneval_pass(problems) -> None:
    assert len(problems[1]) == 164
    assert verdicts(problems, lambda sample, _: sample.function) == {"passed"}


@confined
def test_a_body_alone_passes_as_a_continuation(problems) -> None:
    assert verdicts(problems, lambda sample, _: sample.function.partition(":\n")[2], 9) == {"passed"}


@confined
def test_no_function_that_does_nothing_passes_humaneval(problems) -> None:
    assert verdicts(problems, lambda _, spec: f"def {spec.entry}(*a, **k):\n    pass") == {"failed"}


@confined
def test_no_function_that_equals_everything_passes_humaneval(problems) -> None:
    code = "class Any(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\n"
    code += "def {}(*a, **k): return Any()"
    assert verdicts(problems, lambda _, spec: code.format(spec.entry), 9) == {"failed"}
