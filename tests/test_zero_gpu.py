"""A ZeroGPU Space, with a stand-in for its package ``spaces`` that records what it is asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest

from pipeline.evaluation.attempts import compare
from pipeline.generation import Engine, open_engine
from pipeline.gpu import has_gpu
from pipeline.models.checkpoints import columns
from pipeline.models.families import Family
from pipeline.schema import LabError, SamplingParams, Task
from pipeline.scoring.likelihood import Likelihood
from pipeline.settings import Settings
from tests.attempts import BASELINE, request_for

NAME = "pipeline.generation.zero_gpu"


class Spaces(ModuleType):
    """The package as far as it is used here: ``GPU`` takes a duration, or a function of the arguments."""

    def __init__(self) -> None:
        super().__init__("spaces")
        self.__spec__ = ModuleSpec("spaces", None)
        self.durations: list[int] = []

    def GPU(self, duration: Callable[..., int]) -> Callable[..., Any]:
        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any) -> Any:
                self.durations.append(duration(*arguments))
                return function(*arguments)

            return call

        return decorate


@pytest.fixture
def spaces(monkeypatch: pytest.MonkeyPatch, short: Settings) -> Iterator[Spaces]:
    stand_in = Spaces()
    monkeypatch.setitem(sys.modules, "spaces", stand_in)
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setenv("RCL_DATA_DIR", str(short.data_dir))
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    importlib.import_module(NAME)
    yield stand_in
    sys.modules.pop(NAME, None)


@pytest.fixture
def engine(spaces: Spaces, short: Settings, family: Family) -> Engine:
    return open_engine(short, family)


def test_a_comparison_is_written_in_one_call_whose_duration_follows_the_work(
    spaces: Spaces, engine: Engine, short: Settings, family: Family
) -> None:
    chosen = [columns(short, family)[key] for key in ("baseline/regular", "baseline/augmented")]
    task = Task("Add two numbers.", reference="def add(a, b):\n    return a + b")
    *_, answers = compare(engine, [Likelihood(engine)], chosen, task, SamplingParams(0.0, 0.0, 4))
    assert [answer.completion.tokens for answer in answers if answer.completion] == [4, 4]
    assert all(answer.scores["bits per byte"].value for answer in answers)
    writing, reading = spaces.durations
    assert 20 < writing < 30
    assert 20 < reading < 30
    for _ in engine.stream([request_for(BASELINE, "x")], SamplingParams(0.0, 0.0, 400)):
        break
    assert spaces.durations[-1] > writing


def test_neither_openvino_nor_a_compiled_graph_writes_there(engine: Engine) -> None:
    assert "transformers (a ZeroGPU call is too short to compile in)" in engine.describe()
    zero_gpu = sys.modules[NAME]
    assert "transformers" in zero_gpu.engine_in_call("smollm2-135m").describe()


def test_outside_of_a_call_nothing_uses_the_gpu(spaces: Spaces, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # as the package makes it claim
    assert not has_gpu()


def test_an_error_in_a_call_comes_out_in_words(
    spaces: Spaces, engine: Engine, app_settings: Settings, family: Family
) -> None:
    damaged = columns(app_settings, family)["100/regular"]
    with pytest.raises(LabError, match="100-regular"):
        list(engine.stream([request_for(damaged, "x")], SamplingParams(0.0, 0.0, 4)))
