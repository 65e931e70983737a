"""What is special about the OpenVINO decoder; tests/test_decoders.py compares it with the reference."""

from __future__ import annotations

import sys

import pytest
import torch

from pipeline.generation import decoders
from pipeline.generation.adapters import AdapterStack
from pipeline.generation.decoders import TransformersDecoder, find_openvino_obstacle
from pipeline.generation.running_batch import Row, RunningBatch
from pipeline.generation.tokenization import decode, encode_prompt
from pipeline.generation.torch_engine import load_engine
from pipeline.models.families import Family
from pipeline.schema import Checkpoint, Column, SamplingParams
from pipeline.settings import Settings
from tests.attempts import request_for
from tests.random_models import GREEDY, Both, logits, make_model
from tests.rows import run_rows

pytest.importorskip("openvino")

from pipeline.generation.openvino_decoder import OpenVinoDecoder


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def both(request: pytest.FixtureRequest) -> Both:
    return Both(make_model(request.param), OpenVinoDecoder)


def test_adapters_are_exchanged_without_compiling(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("openvino.Core")
    one, other = both.adapters[1:3]
    for adapters in ([one, None], [other, one, other], [None], [one, None]):
        torch.testing.assert_close(
            logits(both.decoder, adapters), logits(both.reference, adapters), atol=1e-3, rtol=0
        )


def test_a_model_that_the_graph_does_not_fit_is_refused_with_the_reason() -> None:
    model = make_model("llama")
    stack = AdapterStack(model)
    assert find_openvino_obstacle(model, stack) is None
    model.config.model_type = "mistral"
    assert "mistral" in (find_openvino_obstacle(model, stack) or "")


def test_the_embedded_model_writes_what_the_reference_writes(settings: Settings, family: Family) -> None:
    engine = load_engine(settings, family, dtype=torch.float32)
    sampling = SamplingParams(temperature=0, max_new_tokens=8)
    column = Column(Checkpoint(family.name, "baseline"), "regular")
    requests = [request_for(column, prompt) for prompt in ("def attention(query, key):", "Sort a list.")]
    *_, written = engine.stream(requests, sampling)
    assert engine.describe().endswith("CPU · OpenVINO")

    reference = RunningBatch(TransformersDecoder(engine.model, engine.stack), [], 256)
    rows = [Row(encode_prompt(engine.tokenizer, request.prompt), None, sampling) for request in requests]
    texts = [decode(engine.tokenizer, [tokens])[0] for tokens in run_rows(reference, *rows)]
    assert [completion.text for completion in written] == texts


def test_without_openvino_transformers_writes_and_the_engine_says_why(
    short: Settings, family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "find_spec", lambda name: None)
    engine = load_engine(short, family)
    assert engine.describe().endswith("CPU · transformers (openvino is not installed)")


def test_where_openvino_cannot_be_imported_transformers_writes_and_the_engine_says_why(
    short: Settings, family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pipeline.generation.openvino_decoder", None)
    engine = load_engine(short, family)
    request = request_for(Column(Checkpoint(family.name, "baseline"), "regular"), "Add two numbers.")
    *_, (answer,) = engine.stream([request], GREEDY)
    assert answer.tokens
    assert "CPU · transformers (OpenVINO failed: " in engine.describe()
