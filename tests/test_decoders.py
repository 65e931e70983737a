"""Every decoder against the transformers one: random models of three layers, in fp32."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest
import torch

from pipeline.generation.decoders import TransformersDecoder
from pipeline.generation.running_batch import Row, RunningBatch
from pipeline.generation.static_decoder import StaticDecoder
from pipeline.schema import SamplingParams
from tests.random_models import GREEDY, WARM, Both, logits, make_model, make_rows
from tests.rows import run_rows, write_out

DECODERS: list[Any] = [StaticDecoder]
if find_spec("openvino"):
    from pipeline.generation.openvino_decoder import OpenVinoDecoder

    DECODERS.append(OpenVinoDecoder)


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=DECODERS)
def both(kind: str, request: pytest.FixtureRequest) -> Both:
    return Both(make_model(kind), request.param)


def test_the_logits_are_those_of_the_reference(both: Both) -> None:
    torch.testing.assert_close(
        logits(both.decoder, both.adapters), logits(both.reference, both.adapters), atol=1e-3, rtol=0
    )


@pytest.mark.parametrize("sampling", [GREEDY, WARM], ids=["greedy", "sampled"])
def test_rows_write_what_the_reference_writes(both: Both, sampling: SamplingParams) -> None:
    expected = run_rows(RunningBatch(both.reference, [], 256), *make_rows(both, 12, sampling))
    assert run_rows(RunningBatch(both.decoder, [], 16), *make_rows(both, 12, sampling)) == expected
    assert len({tuple(tokens) for tokens in expected}) > 6


@pytest.mark.parametrize("most_to_join", [0, 1e6], ids=["two caches", "one cache"])
@torch.inference_mode()
def test_rows_that_join_late_and_leave_early_write_what_they_write_alone(
    both: Both, most_to_join: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(both.decoder, "most_to_join", most_to_join)

    def rows() -> list[Row]:
        made = make_rows(both, 8)
        for at, row in enumerate(made):
            row.sampling = SamplingParams(temperature=0, max_new_tokens=3 + 4 * at % 11)
        return made

    alone = [run_rows(RunningBatch(both.decoder, [], 256), row)[0] for row in rows()]
    batch, together = RunningBatch(both.decoder, [], 8), rows()
    for row in together:
        batch.add([row])
        batch.step()
        batch.step()
    assert write_out(batch, together) == alone


@torch.inference_mode()
def test_scoring_between_two_steps_leaves_the_text_as_it_is(both: Both) -> None:
    expected = run_rows(RunningBatch(both.reference, [], 256), *make_rows(both, 4))
    batch, rows = RunningBatch(both.decoder, [], 256), make_rows(both, 4)
    batch.add(rows)
    assert write_out(batch, rows, lambda: both.stack.assign([both.adapters[5]])) == expected


@torch.inference_mode()
def test_scoring_a_text_leaves_the_adapters_of_the_batch_where_they_are(both: Both) -> None:
    together = [both.adapters[1], both.adapters[2], None]
    both.decoder.load(together)
    alone = TransformersDecoder(both.model, both.stack).nats([together[1]], [[1, 2]], [[3, 4, 5]])
    both.decoder.load(together)
    order = both.stack.order
    assert both.decoder.nats([together[1]], [[1, 2]], [[3, 4, 5]]) == pytest.approx(alone, abs=1e-3)
    assert both.stack.order == order


@torch.inference_mode()
def test_the_likelihoods_of_texts_are_those_of_the_reference(both: Both) -> None:
    prompts = [list(range(length)) for length in (39, 1, 20, 89, 130)]
    targets = [list(range(100, 100 + length)) for length in (1, 6, 180, 1, 7)]
    groups = both.decoder.group_texts([len(p) + len(t) for p, t in zip(prompts, targets, strict=True)])
    for group in groups:
        adapters = both.adapters[1 : 1 + len(group)]
        texts = [prompts[row] for row in group], [targets[row] for row in group]
        expected = [
            both.reference.nats([adapter], [prompt], [target])[0]
            for adapter, prompt, target in zip(adapters, *texts, strict=True)
        ]
        assert both.decoder.nats(adapters, *texts) == pytest.approx(expected, rel=1e-4)


def test_texts_of_one_length_after_rounding_up_are_read_at_once() -> None:
    groups = Both(make_model("llama"), StaticDecoder).decoder.group_texts([40, 7, 200, 90, 130])
    assert sorted(map(sorted, groups)) == [[0, 1, 3], [2, 4]]


@torch.inference_mode()
def test_a_slot_is_used_again_and_holds_nothing_of_its_last_row() -> None:
    both = Both(make_model("llama"), StaticDecoder)
    broken = both.make_adapter(1)
    for _, b in broken.matrices.values():
        b.fill_(float("nan"))
    expected = run_rows(RunningBatch(both.reference, [], 256), *make_rows(both, 4))
    rows = [Row(list(range(20)), broken, GREEDY) for _ in range(4)]
    run_rows(RunningBatch(both.decoder, [], 256), *rows)
    assert run_rows(RunningBatch(both.decoder, [], 256), *make_rows(both, 4)) == expected


@pytest.mark.parametrize("decoder", DECODERS)
def test_in_bf16_the_logits_are_as_near_to_those_in_fp32_as_the_reference_is(decoder: Any) -> None:
    whole, half = Both(make_model("llama"), decoder), Both(make_model("llama").bfloat16(), decoder)
    adapters = [None if each is None else each.to(half.model) for each in half.adapters]
    exact = logits(whole.reference, whole.adapters)
    errors = [
        (logits(each, adapters) - exact).pow(2).mean().sqrt() for each in (half.decoder, half.reference)
    ]
    assert errors[0] < 1.5 * errors[1]
