"""The local engine against plain transformers and PEFT, in fp32.

On the whole embedded model where its numbers are compared, else on its first layers.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from pipeline.generation import Request
from pipeline.generation.adapters import read_adapter
from pipeline.generation.line import Turn
from pipeline.generation.running_batch import bucket_by_length
from pipeline.generation.sampling import sample_tokens, uniform_draws
from pipeline.generation.tokenization import encode_completion, encode_prompt
from pipeline.generation.torch_engine import TorchEngine, load_engine
from pipeline.models.families import Family
from pipeline.models.fingerprints import fingerprint
from pipeline.models.weights import base_model_dir
from pipeline.schema import Checkpoint, Column, Context, LabError, SamplingParams
from pipeline.settings import Settings
from tests.adapters import write_random_adapters
from tests.attempts import request_for

GREEDY = SamplingParams(temperature=0, max_new_tokens=10)
PROMPTS = (
    "Write a function that adds two tensors.",
    "Write a class `RMSNorm(torch.nn.Module)` that normalizes the last dimension by its root mean square, in "
    "float32, and multiplies it with a learned weight. Its constructor takes the size and an epsilon.",
    "Sort a list.",
)


on_the_whole_model = pytest.mark.parametrize("home", ["whole"], indirect=True, scope="module")


@pytest.fixture(scope="module", params=["short"])
def home(request: pytest.FixtureRequest, settings: Settings, short: Settings) -> Settings:
    return settings if request.param == "whole" else short


@pytest.fixture(scope="module")
def base(home: Settings, family: Family) -> Path:
    return Path(base_model_dir(home, family))


@pytest.fixture(scope="module")
def columns(
    base: Path, home: Settings, family: Family, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> list[Column]:
    root = tmp_path_factory.mktemp("adapters")
    paths = [root / "200-regular", root / "500-regular"]
    write_random_adapters(base, paths, strength=0.05 if home is settings else 0.2)
    baseline = Column(Checkpoint(family.name, "baseline"), "regular")
    adapters = [
        Checkpoint(
            family.name, path.name, int(path.name.split("-")[0]), "regular", 42, path, None, fingerprint(path)
        )
        for path in paths
    ]
    return [baseline, *(Column(adapter, "regular") for adapter in adapters)]


@pytest.fixture(scope="module")
def engine(home: Settings, family: Family) -> TorchEngine:
    return load_engine(home, family, dtype=torch.float32)


@pytest.fixture(scope="module")
def requests_(engine: TorchEngine, columns: list[Column]) -> list[Request]:
    """Three columns, each with another prompt, of very different lengths."""
    return [
        request_for(column, engine.render(prompt, "regular", Context(), GREEDY).text)
        for column, prompt in zip(columns, PROMPTS, strict=True)
    ]


def last(engine: TorchEngine, requests: list[Request], sampling: SamplingParams = GREEDY) -> list[str]:
    *_, completions = engine.stream(requests, sampling)
    return [completion.text for completion in completions]


@pytest.fixture(scope="module")
def reference_models(base: Path, columns: list[Column]) -> dict[Checkpoint, torch.nn.Module]:
    """Of each column a model of its own as transformers and PEFT load it."""
    models = {}
    for column in columns:
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        path = column.checkpoint.path
        models[column.checkpoint] = (PeftModel.from_pretrained(model, path) if path else model).eval()
    return models


@on_the_whole_model
def test_each_stacked_column_writes_what_peft_writes_with_its_adapter_alone(
    engine: TorchEngine, reference_models: dict[Checkpoint, torch.nn.Module], requests_: list[Request]
) -> None:
    texts = last(engine, requests_)
    for request, text in zip(requests_, texts, strict=True):
        ids = torch.tensor([encode_prompt(engine.tokenizer, request.prompt)])
        out = reference_models[request.checkpoint].generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=10, do_sample=False
        )
        assert text == engine.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)


@on_the_whole_model
def test_stacked_logits_agree_with_peft_to_1e_4_for_rows_of_different_lengths(
    engine: TorchEngine, reference_models: dict[Checkpoint, torch.nn.Module], requests_: list[Request]
) -> None:
    sequences = [encode_prompt(engine.tokenizer, request.prompt) for request in requests_]
    longest = max(map(len, sequences))
    ids = torch.tensor([[0] * (longest - len(sequence)) + sequence for sequence in sequences])
    mask = torch.tensor([[0] * (longest - len(each)) + [1] * len(each) for each in sequences])
    adapters = [
        None
        if request.checkpoint.is_baseline
        else read_adapter(request.checkpoint, engine.family, engine.stack.layers)
        for request in requests_
    ]
    engine.stack.assign(adapters)
    with torch.inference_mode():
        stacked = engine.model(
            input_ids=ids, attention_mask=mask, position_ids=(mask.cumsum(-1) - 1).clamp(min=0)
        ).logits
    for row, (request, sequence) in enumerate(zip(requests_, sequences, strict=True)):
        with torch.inference_mode():
            alone = reference_models[request.checkpoint](input_ids=torch.tensor([sequence])).logits[0]
        torch.testing.assert_close(stacked[row, -len(sequence) :], alone, atol=1e-4, rtol=1e-4)


def test_a_columns_text_does_not_depend_on_its_neighbors(
    engine: TorchEngine, requests_: list[Request]
) -> None:
    warm = SamplingParams(temperature=0.8, min_p=0.05, max_new_tokens=8)
    together = last(engine, requests_, warm)
    assert [last(engine, [request], warm)[0] for request in requests_] == together
    assert last(engine, requests_[::-1], warm) == together[::-1]


def test_prompts_read_in_one_group_keep_their_rows(engine: TorchEngine, columns: list[Column]) -> None:
    prompts = ("Sort a list.", "Sort a list of words.", "Sort a list of many words.")
    asked = [request_for(column, prompt) for column, prompt in zip(columns, prompts, strict=True)]
    assert last(engine, asked) == [last(engine, [request])[0] for request in asked]


def test_only_prompts_of_like_length_are_read_together() -> None:
    assert bucket_by_length([100, 700, 90, 40, 760]) == [[1, 4], [0, 2], [3]]


def test_adapters_that_differ_write_different_text(engine: TorchEngine, columns: list[Column]) -> None:
    prompt = engine.render(PROMPTS[0], "regular", Context(), GREEDY).text
    assert len(set(last(engine, [request_for(column, prompt) for column in columns]))) == 3


def test_another_seed_draws_another_text(engine: TorchEngine, requests_: list[Request]) -> None:
    hot = SamplingParams(temperature=1.5, min_p=0.0, max_new_tokens=8)
    assert last(engine, requests_[:1], hot) != last(engine, requests_[:1], replace(hot, seed=1))


def test_what_is_written_for_a_person_has_the_probability_of_each_token(
    engine: TorchEngine, requests_: list[Request]
) -> None:
    *_, written = engine.stream(requests_[:2], GREEDY, Turn("somebody"))
    for completion in written:
        choices = completion.choices
        assert "".join(choice.text for choice in choices) == completion.text
        assert all(choice.probability >= choice.others[0][1] for choice in choices)  # it is greedy
        assert all(len(choice.others) == 4 for choice in choices)
    *_, unwatched = engine.stream(requests_[:2], GREEDY)
    assert [completion.choices for completion in unwatched] == [(), ()]


def test_cancelling_ends_the_batch_and_says_so(engine: TorchEngine, requests_: list[Request]) -> None:
    turn = Turn("ann")
    stream = engine.stream(requests_, SamplingParams(temperature=0, max_new_tokens=200), turn)
    next(stream)
    turn.leaving.set()
    *_, completions = stream
    assert {completion.finish_reason for completion in completions} == {"cancelled"}
    assert all(completion.tokens < 200 for completion in completions)


def test_a_damaged_adapter_is_refused_in_words(
    engine: TorchEngine, columns: list[Column], requests_: list[Request], tmp_path: Path
) -> None:
    good = columns[1].checkpoint
    assert good.path is not None
    bad = tmp_path / "1000-regular"
    bad.mkdir()
    (bad / "adapter_config.json").write_bytes((good.path / "adapter_config.json").read_bytes())
    weights = (good.path / "adapter_model.safetensors").read_bytes()
    (bad / "adapter_model.safetensors").write_bytes(weights[: len(weights) // 2])
    checkpoint = replace(good, name="1000-regular", path=bad, fingerprint=fingerprint(bad))
    column = Column(checkpoint, "regular")
    with pytest.raises(LabError, match="1000-regular is damaged"):
        list(engine.stream([request_for(column, requests_[0].prompt)], GREEDY))


def test_an_adapter_that_changes_nothing_is_refused(
    engine: TorchEngine, columns: list[Column], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    good = columns[1].checkpoint
    assert good.path is not None
    idle = tmp_path / "100-regular"
    idle.mkdir()
    (idle / "adapter_config.json").write_bytes((good.path / "adapter_config.json").read_bytes())
    tensors = load_file(good.path / "adapter_model.safetensors")
    zeroed = {name: t * (0 if "lora_B" in name else 1) for name, t in tensors.items()}
    save_file(zeroed, idle / "adapter_model.safetensors")
    checkpoint = replace(good, name="100-regular", path=idle, fingerprint=fingerprint(idle))
    column = Column(checkpoint, "regular")
    with pytest.raises(LabError, match="changes nothing"):
        list(engine.stream([request_for(column, "x")], GREEDY))


@on_the_whole_model
def test_bits_per_byte_is_the_models_own_likelihood(
    engine: TorchEngine, reference_models: dict[Checkpoint, torch.nn.Module], requests_: list[Request]
) -> None:
    references = ["def add(a, b):\n    return a + b", "x = 1", "sorted(θ)"]
    measured = engine.bits_per_byte(requests_, references)
    for request, reference, bits in zip(requests_, references, measured, strict=True):
        prompt = encode_prompt(engine.tokenizer, request.prompt)
        target = encode_completion(engine.tokenizer, reference)
        with torch.inference_mode():
            logits = reference_models[request.checkpoint](input_ids=torch.tensor([prompt + target])).logits[0]
        log_p = torch.log_softmax(logits[len(prompt) - 1 : -1], -1).gather(1, torch.tensor(target)[:, None])
        expected = -log_p.sum().item() / 0.6931471805599453 / len(reference.encode())
        assert bits == pytest.approx(expected, abs=1e-4)


def test_bits_per_byte_are_the_same_in_any_company(
    home: Settings, family: Family, requests_: list[Request]
) -> None:
    """In bf16, where other shapes of a batch round visibly differently."""
    engine = load_engine(home, family, dtype=torch.bfloat16)
    references = ["def add(a, b):\n    return a + b", "x = 1", "sorted(words, key=len)\n" * 9]
    alone = [
        engine.bits_per_byte([request], [reference])[0]
        for request, reference in zip(requests_, references, strict=True)
    ]
    assert engine.bits_per_byte(requests_, references) == alone
    assert engine.bits_per_byte(requests_[::-1] * 2, references[::-1] * 2) == alone[::-1] * 2


@on_the_whole_model
def test_tokenizer_model_and_generation_agree_on_the_end_token(engine: TorchEngine) -> None:
    assert engine.tokenizer.eos_token == "<|im_end|>"
    assert engine.model.config.eos_token_id == engine.tokenizer.eos_token_id == 2
    assert engine.model.generation_config.eos_token_id == 2
    assert engine.tokenizer.pad_token_id not in (None, 2)


def test_min_p_drops_unlikely_tokens_and_the_draw_follows_the_rest() -> None:
    logits = torch.log(torch.tensor([[0.6, 0.3, 0.1]])).repeat(3000, 1)
    draws = [uniform_draws(42, str(i), 1)[0] for i in range(3000)]
    tokens = sample_tokens(logits, [SamplingParams(1.0, 0.2)] * 3000, draws)
    counts = torch.bincount(torch.tensor(tokens), minlength=3) / 3000
    assert counts[2] == 0
    assert counts[0] == pytest.approx(2 / 3, abs=0.03)
