"""The way of the large families: Unsloth beside PEFT (skipped without a CUDA GPU), and 4-bit base models."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.generation.adapters import read_adapter
from pipeline.generation.model_loading import load_model
from pipeline.generation.torch_engine import TorchEngine, load_engine
from pipeline.models.families import Family
from pipeline.models.fingerprints import fingerprint
from pipeline.models.weights import base_model_dir
from pipeline.schema import Checkpoint, Column, SamplingParams
from pipeline.settings import Settings
from tests.adapters import write_random_adapters
from tests.attempts import request_for

needs_unsloth = pytest.mark.skipif(
    importlib.util.find_spec("unsloth") is None or not torch.cuda.is_available(),
    reason="needs a CUDA GPU and Unsloth (requirements-gpu.txt)",
)


@pytest.fixture(scope="module")
def unsloth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which ``tests.unsloth_run`` left what it trained and computed."""
    folder = tmp_path_factory.mktemp("unsloth")
    done = subprocess.run(
        [sys.executable, "-m", "tests.unsloth_run", str(folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def column_of(family: Family, folder: Path) -> Column:
    print_ = fingerprint(folder)
    return Column(Checkpoint(family.name, folder.name, 200, "regular", 42, folder, None, print_), "regular")


def logits(engine: TorchEngine, column: Column, row: dict[str, list[int]]) -> torch.Tensor:
    checkpoint = column.checkpoint
    adapter = None if checkpoint.is_baseline else read_adapter(checkpoint, engine.family, engine.stack.layers)
    engine.stack.assign([adapter])
    with torch.inference_mode():
        ids = torch.tensor([row["input_ids"]], device=engine.device)
        return engine.model(input_ids=ids).logits[0].float().cpu()


def far(one: torch.Tensor, other: torch.Tensor) -> float:
    """Root mean square of the difference."""
    return float((one - other).square().mean().sqrt())


@needs_unsloth
def test_the_engine_gives_an_unsloth_adapter_the_logits_of_its_training(
    settings: Settings, family: Family, unsloth: Path
) -> None:
    """As near as bf16 is to fp32 in the engine itself, and far nearer than the bare base."""
    trained = torch.load(unsloth / "trained.pt")
    column = column_of(family, unsloth / "200-regular")
    bare = Column(Checkpoint(family.name, "baseline"), "regular")
    half, full = (load_engine(settings, family, dtype=dtype) for dtype in (torch.bfloat16, torch.float32))
    for row, expected in zip(trained["rows"], trained["logits"], strict=True):
        ours = logits(half, column, row)
        rounding = far(ours, logits(full, column, row))
        print(f"engine to Unsloth {far(ours, expected):.3f}, bf16 to fp32 {rounding:.3f}")
        assert far(ours, expected) < 2 * rounding
        assert far(ours, expected) < 0.1 * far(logits(half, bare, row), expected)


@needs_unsloth
def test_unsloth_and_peft_reach_the_same_loss_on_the_same_rows(unsloth: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training.finetune", "--subset-size", "48", "--prompt", "regular"]
    command += ["--epochs", "8", "--max-steps", "24", "--backend", "peft", "--output", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    folder = Path(json.loads(done.stdout.strip().splitlines()[-1])["path"])
    peft = [loss for _, loss in json.loads((folder / "checkpoint.json").read_text())["loss"]]
    ours = torch.load(unsloth / "trained.pt")["losses"]
    ends = [sum(losses[-8:]) / 8 for losses in (ours, peft)]
    print(f"first loss: Unsloth {ours[0]:.4f}, PEFT {peft[0]:.4f}; last 8: {ends[0]:.4f}, {ends[1]:.4f}")
    assert ours[0] == pytest.approx(peft[0], rel=0.01)
    assert ends[0] == pytest.approx(ends[1], rel=0.05)


@needs_unsloth
def test_samples_that_unsloth_packs_do_not_attend_to_each_other(unsloth: Path) -> None:
    pairs = torch.load(unsloth / "packed.pt")
    assert len(pairs) > 2
    for together, alone in pairs:
        print(f"packed to alone {far(together, alone):.3f} of {float(alone.std()):.2f}")
        assert far(together, alone) < 0.02 * float(alone.std())


@pytest.fixture(scope="module")
def four_bit(short: Settings, family: Family, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded base as a 4-bit model, as the large family's base is one."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    folder = tmp_path_factory.mktemp("nf4")
    base = base_model_dir(short, family)
    config = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
    )
    AutoModelForCausalLM.from_pretrained(base, quantization_config=config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


def test_a_4_bit_base_is_unpacked_to_the_very_weights_where_there_is_room(
    short: Settings, family: Family, four_bit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bitsandbytes.functional import dequantize_4bit
    from transformers import AutoTokenizer

    base = Path(base_model_dir(short, family))
    write_random_adapters(base, [tmp_path / "200-regular"])
    large = replace(family, base=str(four_bit), base_names=(str(base),))
    column = column_of(large, tmp_path / "200-regular")
    engines: list[TorchEngine] = []
    for room in (True, False):
        monkeypatch.setattr(
            "pipeline.generation.model_loading.has_room_to_dequantize", lambda *_, room=room: room
        )
        model = load_model(large, four_bit, torch.bfloat16)
        engines.append(TorchEngine(large, model, AutoTokenizer.from_pretrained(four_bit)))
    unpacked, packed = (engine.stack.layers for engine in engines)
    for name, layer in packed.items():
        weight = layer.base.weight
        assert type(layer.base).__name__ == "Linear4bit"
        assert torch.equal(
            unpacked[name].base.weight, dequantize_4bit(weight.data, weight.quant_state).to(torch.bfloat16)
        )
    for engine in engines:
        *_, completions = engine.stream([request_for(column, "def f")], SamplingParams(0, 0.1, 4))
        assert completions[0].tokens
