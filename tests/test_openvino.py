"""The OpenVINO decoder against the transformers one: random Llamas and Qwen2s of three layers, in fp32."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from pipeline.generation import decoders
from pipeline.generation.adapters import Adapter, AdapterStack
from pipeline.generation.decoders import Decoder, TransformersDecoder, find_openvino_obstacle
from pipeline.generation.running_batch import Row, RunningBatch
from pipeline.generation.sampling import uniform_draws
from pipeline.generation.tokenization import decode, encode_prompt
from pipeline.generation.torch_engine import load_engine
from pipeline.models.families import Family
from pipeline.schema import Checkpoint, Column, SamplingParams
from pipeline.settings import Settings
from tests.attempts import request_for
from tests.rows import run_rows, write_out

pytest.importorskip("openvino")

from pipeline.generation.openvino_decoder import OpenVinoDecoder

SIZES = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,
}
GREEDY = SamplingParams(temperature=0, max_new_tokens=12)
WARM = SamplingParams(temperature=0.9, min_p=0.05, max_new_tokens=12, seed=7)


def make_model(kind: str) -> Any:
    torch.manual_seed(0)
    if kind == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(**SIZES))
    else:
        model = LlamaForCausalLM(LlamaConfig(**SIZES))
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    return model.eval()


class Both:
    """The same model and adapters behind both decoders."""

    def __init__(self, model: Any) -> None:
        self.model, self.stack = model, AdapterStack(model)
        self.reference = TransformersDecoder(model, self.stack)
        self.openvino = OpenVinoDecoder(model, self.stack)
        self.adapters = [None, *(self.make_adapter(seed) for seed in range(1, 6))]

    def make_adapter(self, seed: int) -> Adapter:
        """Of a rank of its own, and on some of the layers only."""
        generator = torch.Generator().manual_seed(seed)
        matrices = {}
        for name, layer in self.stack.layers.items():
            if seed % 2 or "o_proj" in name or "up_proj" in name or "q_proj" in name:
                base, rank = layer.base, 2 + seed
                a = torch.randn(rank, base.in_features, generator=generator) * 0.2
                matrices[name] = (a, torch.randn(base.out_features, rank, generator=generator) * 0.2)
        return Adapter(str(seed), f"seed {seed}", matrices)


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def both(request: pytest.FixtureRequest) -> Both:
    return Both(make_model(request.param))


def make_rows(both: Both, number: int, sampling: SamplingParams = GREEDY) -> list[Row]:
    """Of different lengths, each under its own adapter."""
    generator = torch.Generator().manual_seed(3)
    rows = []
    for at in range(number):
        prompt = torch.randint(300, (3 + 5 * at % 17,), generator=generator).tolist()
        draws = uniform_draws(sampling.seed, str(at), sampling.max_new_tokens)
        rows.append(Row(prompt, both.adapters[at % len(both.adapters)], sampling, draws))
    return rows


@torch.inference_mode()
def logits(decoder: Decoder, adapters: Sequence[Adapter | None]) -> torch.Tensor:
    """Of three pieces of a prompt, one of many tokens and two of one: [3, rows, vocabulary]."""
    ids = torch.randint(300, (len(adapters), 20), generator=torch.Generator().manual_seed(5))
    padding = torch.arange(len(adapters))[:, None]
    decoder.load(adapters)
    cache, found = None, []
    for begin, end in ((0, 18), (18, 19), (19, 20)):
        positions = torch.arange(end) - padding
        values, cache = decoder.forward(adapters, ids[:, begin:end], positions, cache)
        found.append(values.float())
    return torch.stack(found)


def test_the_logits_are_those_of_the_reference(both: Both) -> None:
    torch.testing.assert_close(
        logits(both.openvino, both.adapters), logits(both.reference, both.adapters), atol=1e-3, rtol=0
    )


def test_adapters_are_exchanged_without_compiling(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("openvino.Core")
    one, other = both.adapters[1:3]
    for adapters in ([one, None], [other, one, other], [None], [one, None]):
        torch.testing.assert_close(
            logits(both.openvino, adapters), logits(both.reference, adapters), atol=1e-3, rtol=0
        )


@pytest.mark.parametrize("sampling", [GREEDY, WARM], ids=["greedy", "sampled"])
def test_rows_write_what_the_reference_writes(both: Both, sampling: SamplingParams) -> None:
    expected = run_rows(RunningBatch(both.reference, [], 256), *make_rows(both, 12, sampling))
    assert run_rows(RunningBatch(both.openvino, [], 16), *make_rows(both, 12, sampling)) == expected
    assert len({tuple(tokens) for tokens in expected}) > 6


@torch.inference_mode()
def test_rows_that_join_late_and_leave_early_write_what_they_write_alone(both: Both) -> None:
    def rows() -> list[Row]:
        made = make_rows(both, 8)
        for at, row in enumerate(made):
            row.sampling = SamplingParams(temperature=0, max_new_tokens=3 + 4 * at % 11)
        return made

    alone = [run_rows(RunningBatch(both.openvino, [], 256), row)[0] for row in rows()]
    batch, together = RunningBatch(both.openvino, [], 8), rows()
    for row in together:
        batch.add([row])
        batch.step()
        batch.step()
    assert write_out(batch, together) == alone


@torch.inference_mode()
def test_rows_that_transformers_began_are_written_on(both: Both) -> None:
    expected = run_rows(RunningBatch(both.reference, [], 256), *make_rows(both, 6))
    batch, rows = RunningBatch(both.reference, [], 16), make_rows(both, 6)
    batch.add(rows)
    for _ in range(6):
        batch.step()
    assert batch.rows
    batch.go_on_with(both.openvino, both.openvino.adopt)
    assert write_out(batch, rows) == expected


@torch.inference_mode()
def test_scoring_between_two_steps_leaves_the_text_as_it_is(both: Both) -> None:
    expected = run_rows(RunningBatch(both.reference, [], 256), *make_rows(both, 4))
    batch, rows = RunningBatch(both.openvino, [], 256), make_rows(both, 4)
    batch.add(rows)
    assert write_out(batch, rows, lambda: both.stack.assign([both.adapters[5]])) == expected


def test_a_model_that_the_graph_does_not_fit_is_refused_with_the_reason() -> None:
    model = make_model("llama")
    stack = AdapterStack(model)
    assert find_openvino_obstacle(model, stack) is None
    model.config.model_type = "mistral"
    assert "mistral" in (find_openvino_obstacle(model, stack) or "")


def test_in_bf16_the_logits_are_as_near_to_those_in_fp32_as_the_reference_is() -> None:
    whole, half = Both(make_model("llama")), Both(make_model("llama").bfloat16())
    adapters = [None if each is None else each.to(half.model) for each in half.adapters]
    exact = logits(whole.reference, whole.adapters)
    errors = [
        (logits(decoder, adapters) - exact).pow(2).mean().sqrt()
        for decoder in (half.openvino, half.reference)
    ]
    assert errors[0] < 1.5 * errors[1]


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
