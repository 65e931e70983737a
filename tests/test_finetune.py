"""Fine-tuning: what carries loss, what is saved, and that a resumed training ends as an uninterrupted one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from pipeline.data.load import load_dataset
from pipeline.generation.prompts import context_around
from pipeline.generation.tokenization import encode_prompt
from pipeline.generation.torch_engine import TorchEngine, load_engine
from pipeline.models.checkpoints import columns
from pipeline.models.families import Family
from pipeline.models.weights import base_model_dir
from pipeline.schema import VARIANTS, PromptVariant, Sample, SamplingParams
from pipeline.settings import Settings
from tests.attempts import request_for
from tests.jobs_kit import ended, until
from training.backends import load
from training.examples import IGNORED, encode
from training.finetune import finetune
from training.jobs import open_runner, processes
from training.jobs.progress import Reporter
from training.loop import train
from training.sweep import VERBS
from training.trainer import build_trainer


@pytest.fixture(scope="module")
def engine(short: Settings, family: Family) -> TorchEngine:
    return load_engine(short, family, dtype=torch.float32)


@pytest.fixture(scope="module")
def samples(settings: Settings, family: Family) -> list[Sample]:
    return load_dataset(settings, family.dataset, "augmented").subset(40)


@pytest.mark.parametrize("variant", VARIANTS)
def test_exactly_the_function_and_the_end_token_carry_loss(
    variant: PromptVariant, engine: TorchEngine, samples: list[Sample]
) -> None:
    for sample in samples:
        row = encode(sample, variant, engine.family, engine.tokenizer)
        learned = [label for label in row["labels"] if label != IGNORED]
        assert learned[-1] == engine.tokenizer.eos_token_id
        assert engine.tokenizer.decode(learned[:-1]) == sample.function
        assert row["input_ids"][-len(learned) :] == learned


@pytest.mark.parametrize("variant", VARIANTS)
def test_training_sees_the_very_tokens_that_generation_starts_from(
    variant: PromptVariant, engine: TorchEngine, samples: list[Sample]
) -> None:
    decoding = SamplingParams(max_new_tokens=engine.family.max_new_tokens)
    for sample in samples[:20]:
        context = context_around(sample.full_code, sample.function)
        prompt = engine.render(sample.prompt, variant, context, decoding)
        row = encode(sample, variant, engine.family, engine.tokenizer)
        learned = sum(label != IGNORED for label in row["labels"])
        if learned <= decoding.max_new_tokens:
            assert row["input_ids"][:-learned] == encode_prompt(engine.tokenizer, prompt.text)


def test_no_training_row_is_longer_than_the_family_allows(engine: TorchEngine, samples: list[Sample]) -> None:
    for variant in VARIANTS:
        for sample in samples:
            row = encode(sample, variant, engine.family, engine.tokenizer)
            assert len(row["input_ids"]) <= engine.family.sequence_length


def test_packed_samples_do_not_attend_to_each_other(
    short: Settings, engine: TorchEngine, samples: list[Sample], tmp_path: Path
) -> None:
    """With the very batches that a packing family trains on."""
    packs = replace(engine.family, packing=True, batch_size=2, sequence_length=512)
    model, tokenizer = load(short, packs, "peft", 42, lambda fraction, message: None)
    model = model.float().eval()
    rows = [encode(sample, "regular", packs, tokenizer) for sample in samples[:5]]
    trainer = build_trainer(model, tokenizer, rows, packs, tmp_path, 1, 42, None, Reporter())
    assert len(trainer.train_dataset) < len(rows)
    found = 0
    for batch in trainer.get_train_dataloader():
        with torch.inference_mode():
            packed = model(**{name: batch[name] for name in ("input_ids", "position_ids")}).logits[0]
        starts = (batch["position_ids"][0] == 0).nonzero()[:, 0].tolist()
        for start, end in zip(starts, [*starts[1:], len(packed)], strict=True):
            ids = batch["input_ids"][:, start:end]
            row = next(row for row in rows if row["input_ids"] == ids[0].tolist())
            assert batch["labels"][0, start:end].tolist() == row["labels"]
            with torch.inference_mode():
                alone = model(input_ids=ids).logits[0]
            torch.testing.assert_close(packed[start:end], alone, atol=1e-4, rtol=1e-4)
            found += 1
    assert found == len(rows)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU computes in bf16")
@pytest.mark.parametrize(("fast", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_cpu_trains_in_bf16_only_where_it_computes_that_fast(
    short: Settings,
    family: Family,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fast: bool,
    dtype: torch.dtype,
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: fast)
    model, _ = load(short, family, "peft", 42, lambda fraction, message: None)
    row = {"input_ids": [1, 2], "labels": [-100, 2]}
    train(model, [row], [], family, tmp_path, 1, 42, None, Reporter(), False)
    assert {weight.dtype for weight in model.parameters()} == {dtype}


def resumed_job(settings: Settings, asked: dict[str, Any]) -> dict[str, Any]:
    """The same as a job, killed with signal 9 once it has saved something, then resumed."""
    runner = open_runner(settings, VERBS)
    runner.start()
    job = runner.submit("finetune", asked)
    work = settings.data_dir / "checkpoints" / "smollm2-135m"
    until(lambda: list(work.glob("*.part/step-*/log.json")), 400)
    for process in processes.members(job.mark):
        process.kill()
    job = ended(runner, job)
    assert (job.state, job.exit_code) == ("failed", -9)
    assert "killed" in str(job.reason)
    assert not list(work.glob("*/adapter_config.json"))
    runner.again(job.id, resume=True)
    job = ended(runner, job, 400)
    first = next(
        report
        for report in runner.progress(job.id)
        if report["time"] > (job.started or 0) and "step" in report
    )
    assert first["step"] > 1
    runner.close()
    assert job.state == "succeeded", runner.logs(job.id)
    return dict(job.result or {})


def test_a_job_killed_midway_resumes_to_the_adapter_of_an_uninterrupted_training_and_is_listed(
    fresh_short: Settings, family: Family, engine: TorchEngine, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setenv("RCL_DATA_DIR", str(fresh_short.data_dir))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # what the verb would leave set for the tests after it
    whole = finetune(1, "regular", epochs=3, output=fresh_short.data_dir / "whole")
    assert "loss" in capfd.readouterr().err
    resumed = resumed_job(fresh_short, {"subset_size": 1, "prompt": "regular", "epochs": 3})

    one = load_file(Path(whole["path"]) / "adapter_model.safetensors")
    other = load_file(Path(resumed["path"]) / "adapter_model.safetensors")
    for name, tensor in one.items():
        torch.testing.assert_close(tensor.float(), other[name].float(), atol=2e-3, rtol=0.05)

    column = columns(fresh_short, family)["1/regular"]
    assert column.checkpoint.fingerprint == resumed["fingerprint"]
    *_, completions = engine.stream(
        [request_for(column, "def f")], SamplingParams(temperature=0, max_new_tokens=2)
    )
    assert completions[0].fingerprint == resumed["fingerprint"]

    config = json.loads((Path(resumed["path"]) / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == family.base_names[0]
    record = json.loads((Path(resumed["path"]) / "checkpoint.json").read_text())
    assert record["dataset_fingerprint"]
    assert [step for step, _ in record["loss"]] == [1, 2, 3]


def test_tokenizer_saved_with_the_base_adds_nothing_to_a_prompt(settings: Settings, family: Family) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base_model_dir(settings, family))
    assert tokenizer.decode(encode_prompt(tokenizer, "### Response: ")) == "### Response: "
