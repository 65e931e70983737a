"""int8 weights behind the OpenVINO decoder, against transformers with the same weights made whole again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen2Config, Qwen2ForCausalLM

from pipeline.generation import int8
from pipeline.generation.adapters import AdapterStack
from pipeline.generation.int8 import Int8, compress, int8_file, quantize
from pipeline.generation.torch_engine import TorchEngine, load_engine
from pipeline.models.families import Family
from pipeline.models.weights import base_model_dir
from pipeline.schema import Checkpoint, Column, LabError
from pipeline.settings import Settings
from tests.attempts import request_for
from tests.random_models import GREEDY, SIZES, Both, logits

pytest.importorskip("openvino")

from pipeline.generation.openvino_decoder import OpenVinoDecoder
from tests.file_limit import files_of_at_most

NAME = "model.layers.0.mlp.down_proj"
VALUES, SCALES = f"{NAME}.values", f"{NAME}.scales"


def _silent(fraction: float, message: str) -> None:
    pass


def _whole(weight: Int8) -> torch.Tensor:
    return (weight.values * weight.scales).flatten(1)


def _make_model() -> Any:
    """With layers of several groups, of one, and of a width that cannot be cut into groups."""
    torch.manual_seed(0)
    sizes = {**SIZES, "hidden_size": 128, "intermediate_size": 384, "head_dim": 24}
    model = Qwen2ForCausalLM(Qwen2Config(**sizes))
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    return model.eval()


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "LARGE", 1)


def _rounded(model: Any, stack: AdapterStack) -> OpenVinoDecoder:
    """A decoder with int8 weights; the model gets the weights that they stand for."""
    weights: dict[str, Int8] = {}
    layers = {name: layer.base for name, layer in stack.layers.items()} | {"lm_head": model.lm_head}
    for name, layer in layers.items():
        weights[name] = quantize(layer.weight)
        layer.weight.data = _whole(weights[name]).to(model.dtype)
    return OpenVinoDecoder(model, stack, weights)


@pytest.fixture(scope="module")
def both() -> Both:
    return Both(_make_model(), _rounded)


def _file(linked: Settings, family: Family) -> Path:
    return int8_file(Path(base_model_dir(linked, family)))


def _write(engine: TorchEngine) -> str:
    request = request_for(Column(Checkpoint(engine.family.name, "baseline"), "regular"), "Add two numbers.")
    *_, (answer,) = engine.stream([request], GREEDY)
    return answer.text


def test_a_rounded_weight_is_off_by_half_a_step_of_its_group() -> None:
    torch.manual_seed(0)
    weight = torch.randn(40, 256) * torch.logspace(-3, 2, 40)[:, None]
    weight[3] = 0
    made = quantize(weight)
    assert made.values.dtype == torch.int8
    off = (_whole(made) - weight).abs().view(40, 2, 128)
    assert (off <= made.scales * 0.501).all()


def test_the_logits_are_those_of_the_weights_that_the_int8_ones_stand_for(both: Both) -> None:
    torch.testing.assert_close(
        logits(both.decoder, both.adapters), logits(both.reference, both.adapters), atol=1e-3, rtol=0
    )


def test_in_bf16_the_logits_are_nearly_as_near_to_those_in_fp32_as_the_reference_is(both: Both) -> None:
    half = Both(_make_model().bfloat16(), _rounded)
    adapters = [None if each is None else each.to(half.model) for each in half.adapters]
    exact = logits(both.reference, both.adapters)
    errors = [
        (logits(each, adapters) - exact).pow(2).mean().sqrt() for each in (half.decoder, half.reference)
    ]
    assert errors[0] < 2 * errors[1]


def test_a_large_model_on_a_cpu_writes_with_int8_weights_and_its_engine_says_so(
    linked: Settings, family: Family
) -> None:
    messages: list[str] = []

    def load() -> TorchEngine:
        messages.clear()
        return load_engine(linked, family, lambda fraction, message: messages.append(message))

    engine = load()
    assert "with int8 weights" in engine.describe()
    assert engine.describe().endswith("CPU · OpenVINO")
    assert any("int8" in message for message in messages)
    made = _file(linked, family).stat()
    assert made.st_size < 1.1 * engine.model.num_parameters()

    again = load()
    assert _write(again) == _write(engine)
    assert _file(linked, family).stat().st_mtime_ns == made.st_mtime_ns
    assert not any("int8" in message for message in messages)


@pytest.mark.parametrize("chosen", [{"dtype": torch.float32}, {"plain": "to compare with"}])
def test_another_precision_or_writer_that_is_asked_for_makes_no_int8_weights(
    chosen: dict[str, Any], linked: Settings, family: Family
) -> None:
    assert "int8" not in load_engine(linked, family, **chosen).describe()
    assert not _file(linked, family).exists()


@pytest.mark.parametrize("damage", ["cut off", "of another model"])
def test_int8_weights_that_cannot_be_used_are_made_again(damage: str, tmp_path: Path) -> None:
    model, file = _make_model(), tmp_path / "weights.safetensors"
    stack = AdapterStack(model)
    right = compress(file, _silent, model, stack)
    content = file.read_bytes()
    file.unlink()  # what is mapped into memory stays as it is
    if damage == "cut off":
        file.write_bytes(content[:-1000])
    else:
        other = Qwen2ForCausalLM(Qwen2Config(**SIZES))
        compress(file, _silent, other, AdapterStack(other))
    again = compress(file, _silent, model, stack)
    assert all(torch.equal(again[name].values, right[name].values) for name in right)


@pytest.mark.parametrize(
    "damage",
    [
        lambda tensors: {**tensors, VALUES: tensors[VALUES].flatten()},
        lambda tensors: {**tensors, VALUES: tensors[VALUES].float()},
        lambda tensors: {**tensors, SCALES: tensors[SCALES][:3].contiguous()},
        lambda tensors: {name: each for name, each in tensors.items() if name != SCALES},
    ],
    ids=["one row", "other numbers", "too few scales", "no scales"],
)
def test_tensors_of_another_kind_are_made_again(
    damage: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    model, file = _make_model(), tmp_path / "weights.safetensors"
    stack = AdapterStack(model)
    compress(file, _silent, model, stack)
    content = {name: each.clone() for name, each in load_file(file).items()}
    file.unlink()
    save_file(damage(content), file)
    compress(file, _silent, model, stack)
    assert {name: each.shape for name, each in load_file(file).items()} == {
        name: each.shape for name, each in content.items()
    }
    assert torch.equal(load_file(file)[VALUES], content[VALUES])


def test_a_write_that_fails_midway_is_said_in_words_and_leaves_nothing(tmp_path: Path) -> None:
    model = _make_model()
    with files_of_at_most(10_000), pytest.raises(LabError, match="could not be written"):
        compress(tmp_path / "weights.safetensors", _silent, model, AdapterStack(model))
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_named_with_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _make_model()
    usage = type("Usage", (), {"free": 10_000_000})
    monkeypatch.setattr(int8.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(LabError, match=r"10 MB free.*RCL_DATA_DIR"):
        compress(tmp_path / "weights.safetensors", _silent, model, AdapterStack(model))
    assert not list(tmp_path.iterdir())
