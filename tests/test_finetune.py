"""Fine-tuning: what carries loss, what is saved, and that a resumed training ends as an uninterrupted one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from pipeline.command_line.signature import validate
from pipeline.evaluation.datasets import load_dataset
from pipeline.generation.prompts import context_around
from pipeline.generation.tokenization import encode_prompt
from pipeline.generation.torch_engine import TorchEngine, load_engine
from pipeline.models.checkpoints import RECORD, columns
from pipeline.models.families import Family, get_family
from pipeline.models.fingerprints import fingerprint
from pipeline.models.weights import base_model_dir
from pipeline.schema import TRAINED_VARIANTS, FieldError, LabError, PromptVariant, Sample, SamplingParams
from pipeline.settings import Settings
from tests.attempts import request_for
from tests.jobs_kit import ended, until
from training.backends import load
from training.encoding import IGNORED, encode
from training.finetune import finetune
from training.jobs import open_runner, processes
from training.jobs.progress import Reporter
from training.jobs.recipe import SCHEMA, read_settings, trained_name
from training.loop import train
from training.sweep import VERBS
from training.trainer import build_trainer, train_with_trl


@pytest.fixture(scope="module")
def engine(short: Settings, family: Family) -> TorchEngine:
    return load_engine(short, family, dtype=torch.float32)


@pytest.fixture(scope="module")
def samples(settings: Settings, family: Family) -> list[Sample]:
    return load_dataset(settings, family.dataset, "augmented").subset(40)


@pytest.mark.parametrize("variant", TRAINED_VARIANTS)
def test_exactly_the_function_and_the_end_token_carry_loss(
    variant: PromptVariant, engine: TorchEngine, samples: list[Sample]
) -> None:
    for sample in samples:
        row = encode(sample, variant, engine.family, engine.tokenizer)
        learned = [label for label in row["labels"] if label != IGNORED]
        assert learned[-1] == engine.tokenizer.eos_token_id
        assert engine.tokenizer.decode(learned[:-1]) == sample.function
        assert row["input_ids"][-len(learned) :] == learned


@pytest.mark.parametrize("variant", TRAINED_VARIANTS)
def test_training_sees_the_very_tokens_that_generation_starts_from(
    variant: PromptVariant, engine: TorchEngine, samples: list[Sample]
) -> None:
    sampling = SamplingParams(max_new_tokens=engine.family.max_new_tokens)
    for sample in samples[:20]:
        context = context_around(sample.full_code, sample.function)
        prompt = engine.render(sample.prompt, variant, context, sampling)
        row = encode(sample, variant, engine.family, engine.tokenizer)
        learned = sum(label != IGNORED for label in row["labels"])
        if learned <= sampling.max_new_tokens:
            assert row["input_ids"][:-learned] == encode_prompt(engine.tokenizer, prompt.text)


def test_no_training_row_is_longer_than_the_family_allows(engine: TorchEngine, samples: list[Sample]) -> None:
    for variant in TRAINED_VARIANTS:
        for sample in samples:
            row = encode(sample, variant, engine.family, engine.tokenizer)
            assert len(row["input_ids"]) <= engine.family.sequence_length


def test_packed_samples_do_not_attend_to_each_other(
    short: Settings, engine: TorchEngine, samples: list[Sample], tmp_path: Path
) -> None:
    """With the very batches that a packing family trains on."""
    packs = replace(engine.family, packing=True, batch_size=2, sequence_length=512)
    model, tokenizer = load(short, packs, packs.recipe, "peft", 42, lambda fraction, message: None)
    model = model.float().eval()
    rows = [encode(sample, "regular", packs, tokenizer) for sample in samples[:5]]
    trainer = build_trainer(model, tokenizer, rows, packs, packs.recipe, 42, tmp_path, Reporter())
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
    model, _ = load(short, family, family.recipe, "peft", 42, lambda fraction, message: None)
    row = {"input_ids": [1, 2], "labels": [-100, 2]}
    train(model, [row], [], family.recipe, 42, tmp_path, Reporter(), False)
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
    assert record["command"] == (
        "python -m training.finetune --family=smollm2-135m --subset-size=1 --prompt=regular --seed=42 "
        f"--learning-rate={family.learning_rate} --batch-size=16 --lora-r=8 --lora-alpha=16 --epochs=3 "
        "--scheduler=linear --backend=peft"
    )


def test_tokenizer_saved_with_the_base_adds_nothing_to_a_prompt(settings: Settings, family: Family) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base_model_dir(settings, family))
    assert tokenizer.decode(encode_prompt(tokenizer, "### Response: ")) == "### Response: "


@pytest.fixture
def tune(fresh_short: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """The verb on the short model and one sample, four steps, in a data folder of the test's own."""
    monkeypatch.setenv("RCL_DATA_DIR", str(fresh_short.data_dir))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    return partial(finetune, 1, "regular", epochs=4, name="one")


def break_at(step: int, what: str, model: Any) -> None:
    """Let the loss, or the gradient norm, of a training with one sample a step become NaN at that step."""
    steps = iter(range(1, 100))

    def forward(module: Any, inputs: Any, output: Any) -> None:
        if torch.is_grad_enabled() and next(steps) == step:
            hidden = output.last_hidden_state
            if what == "loss":
                output.last_hidden_state = hidden * float("nan")
            else:
                hidden.register_hook(lambda gradient: gradient * float("nan"))

    model.get_base_model().model.register_forward_hook(forward)


@contextmanager
def broken_training(step: int, what: str = "loss") -> Iterator[None]:
    def load_broken(*arguments: Any) -> tuple[Any, Any]:
        model, tokenizer = load(*arguments)
        break_at(step, what, model)
        return model, tokenizer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.finetune.load", load_broken)
        yield


@pytest.mark.parametrize("what", ["loss", "gradient norm"])
def test_a_training_stops_at_the_step_whose_loss_or_gradient_is_not_finite_and_keeps_the_last_save(
    tune: Callable[..., Any], fresh_short: Settings, what: str
) -> None:
    with broken_training(3, what), pytest.raises(LabError, match=f"step 3 of 4: the {what} is nan"):
        tune()
    folder = fresh_short.data_dir / "checkpoints" / "smollm2-135m"
    assert not list(folder.glob("*/adapter_config.json"))
    assert [save.name for save in folder.glob("one.part/step-*")] == ["step-2"]


@pytest.mark.parametrize("what", ["loss", "gradient norm"])
def test_a_training_with_trl_stops_there_too(
    short: Settings, family: Family, samples: list[Sample], tmp_path: Path, what: str
) -> None:
    model, tokenizer = load(short, family, family.recipe, "peft", 42, lambda fraction, message: None)
    break_at(3, what, model)
    rows = [encode(samples[0], "regular", family, tokenizer)]
    with pytest.raises(LabError, match=f"step 3 of 4: the {what} is nan"):
        train_with_trl(
            model, tokenizer, rows, family, replace(family.recipe, epochs=4), 42, tmp_path, Reporter(), False
        )
    assert [save.name for save in tmp_path.glob("checkpoint-*")] == ["checkpoint-2"]


def test_an_adapter_with_values_that_are_not_finite_is_not_saved(
    tune: Callable[..., Any], fresh_short: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft import PeftModel

    save = PeftModel.save_pretrained

    def save_broken(model: Any, folder: Any, **options: Any) -> None:
        if Path(folder).name == "final":
            weight = next(weight for name, weight in model.named_parameters() if "lora_B" in name)
            weight.data[0, 0] = float("inf")
        save(model, folder, **options)

    monkeypatch.setattr(PeftModel, "save_pretrained", save_broken)
    with pytest.raises(LabError, match="not saved, because 1 of its"):
        tune()
    assert not list(fresh_short.data_dir.glob("checkpoints/*/one"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"learning_rate": 1e-7}, "learning_rate 0.002 and now 1e-07"),
        ({"epochs": 5}, "epochs 4 and now 5"),
        ({"max_steps": 3}, "max_steps None and now 3"),
    ],
)
def test_a_training_does_not_resume_with_other_arguments(
    tune: Callable[..., Any], change: dict[str, Any], words: str
) -> None:
    with broken_training(3), pytest.raises(LabError, match="stopped at step 3"):
        tune()
    with pytest.raises(LabError, match=words):
        tune(resume=True, **change)
    assert tune(resume=True)["steps"] == 4


def test_a_training_does_not_resume_on_another_dataset_or_family_recipe(
    tune: Callable[..., Any], fresh_short: Settings, family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    with broken_training(3), pytest.raises(LabError, match="stopped at step 3"):
        tune()
    data = load_dataset(fresh_short, family.dataset)
    with monkeypatch.context() as patch:
        patch.setattr("training.finetune.load_dataset", lambda *_: replace(data, fingerprint="another"))
        with pytest.raises(LabError, match=r"dataset_fingerprint .* and now another"):
            tune(resume=True)
    monkeypatch.setattr("training.finetune.get_family", lambda *_: replace(family, sequence_length=512))
    with pytest.raises(LabError, match=r"sequence_length 1024 and now 512"):
        tune(resume=True)


def test_a_checkpoint_is_replaced_only_by_a_training_that_is_told_to(tune: Callable[..., Any]) -> None:
    first = tune()
    with pytest.raises(LabError, match=r"replace must be set .*learning_rate 0.002 and now 0.001"):
        tune(learning_rate=1e-3)
    with pytest.raises(LabError, match=r"replace must be set .*with the same settings"):
        tune()
    assert fingerprint(Path(first["path"])) == first["fingerprint"]
    second = tune(learning_rate=1e-3, replace=True)
    assert second["path"] == first["path"]
    assert fingerprint(Path(first["path"])) == second["fingerprint"] != first["fingerprint"]


def test_a_training_that_was_interrupted_after_its_checkpoint_was_saved_ends_when_it_is_resumed(
    tune: Callable[..., Any],
) -> None:
    first = tune()
    left_behind = Path(first["path"] + ".part")
    left_behind.mkdir()
    assert tune(resume=True) == first
    assert not left_behind.exists()
    with pytest.raises(LabError, match=r"replace must be set .*learning_rate 0.002 and now 0.001"):
        tune(resume=True, learning_rate=1e-3)


def test_a_checkpoint_is_named_by_what_differs_from_the_usual_recipe(
    tune: Callable[..., Any], fresh_short: Settings, family: Family
) -> None:
    made = tune(name=None, epochs=1, learning_rate=1e-4, lora_r=4, scheduler="cosine", warmup=0, seed=43)
    assert made["checkpoint"] == "1-regular-seed43-lr1e-4-r4-epochs1-cosine-warmup0"
    column = columns(fresh_short, family)[f"{made['checkpoint']}/regular"]
    assert (column.checkpoint.subset_size, column.checkpoint.seed) == (1, 43)
    recipe = {"learning_rate": 1e-4, "lora_r": 4, "lora_alpha": 16, "epochs": 1, "scheduler": "cosine"}
    assert recipe.items() <= column.checkpoint.recipe.items()
    config = json.loads((Path(made["path"]) / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (4, 16)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("1000-regular", "says 1,000 samples"),
        ("1-augmented", "says .* augmented"),
        ("baseline", "must not be 'baseline'"),
        ("200", "must not be '200'"),
        ("../up", "must be 1 to 60 letters"),
        ("x" * 61, "must be 1 to 60 letters"),
        ("one.part", "must be .* without '.part'"),
    ],
)
def test_a_name_that_cannot_be_or_says_something_else_is_refused(name: str, words: str) -> None:
    def asked() -> str:
        family = get_family(Settings.from_env(), "smollm2-135m")
        return trained_name(family, validate(finetune, {"subset_size": 1, "name": name}))

    with pytest.raises(FieldError, match=f"name {words}"):
        asked()


def test_a_record_of_a_newer_version_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text(json.dumps({"schema": SCHEMA + 1}))
    with pytest.raises(LabError, match="newer version"):
        read_settings(tmp_path / RECORD)


@pytest.mark.parametrize("schema", ["1e999", "NaN", "true", "1.5", '"x"', "[1]", "-1"])
def test_a_record_whose_schema_is_no_number_is_refused_in_words(tmp_path: Path, schema: str) -> None:
    (tmp_path / RECORD).write_text(f'{{"schema": {schema}}}')
    with pytest.raises(LabError, match="cannot be read: a schema of"):
        read_settings(tmp_path / RECORD)
