"""The names of control tokens in a text are text: in training, generation and likelihood."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from pipeline.generation import running_batch
from pipeline.generation.tokenization import (
    chat_frame,
    decode,
    encode_completion,
    encode_prompt,
    prepare_tokenizer,
)
from pipeline.generation.torch_engine import TorchEngine, load_engine
from pipeline.models.families import Family
from pipeline.models.weights import base_model_dir
from pipeline.schema import Context, LabError, Sample, SamplingParams
from pipeline.settings import Settings
from tests.attempts import BASELINE, request_for
from training.encoding import IGNORED, encode

CODE = 'STOPS = ["<|im_end|>", "<|endoftext|>"]  # <|im_start|> <repo_name>'


@pytest.fixture(scope="module")
def tokenizer(settings: Settings, family: Family) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(base_model_dir(settings, family))
    prepare_tokenizer(tokenizer)
    return tokenizer


@pytest.fixture(scope="module")
def engine(short: Settings, family: Family) -> TorchEngine:
    return load_engine(short, family, dtype=torch.float32)


def tokenizer_like_llamas() -> Any:
    """It puts a start token in front, and has a control token that is not marked as special."""
    letters = sorted(ByteLevel.alphabet())
    backend = Tokenizer(BPE({letter: place for place, letter in enumerate(letters)}, []))
    backend.pre_tokenizer = ByteLevel(add_prefix_space=False)
    backend.add_special_tokens([AddedToken("<s>", special=True), AddedToken("</s>", special=True)])
    backend.add_tokens([AddedToken("<|fim|>", special=False)])
    backend.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", backend.token_to_id("<s>"))]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")
    prepare_tokenizer(tokenizer)
    return tokenizer


def test_a_chat_prompt_has_the_tokens_that_the_chat_template_gives(
    tokenizer: Any, settings: Settings, family: Family
) -> None:
    untouched = AutoTokenizer.from_pretrained(base_model_dir(settings, family))
    before, after = chat_frame(tokenizer)
    words = "Write a function.\n\nAnswer with code."
    expected = untouched.apply_chat_template(
        [{"role": "user", "content": words}], add_generation_prompt=True, return_dict=False
    )
    assert encode_prompt(tokenizer, before + words + after) == expected


def test_control_tokens_in_a_chat_message_stay_text(tokenizer: Any) -> None:
    before, after = chat_frame(tokenizer)
    ids = encode_prompt(tokenizer, before + CODE + after)
    frame = encode_prompt(tokenizer, before + after)
    control = set(tokenizer.all_special_ids)
    assert sum(id_ in control for id_ in ids) == sum(id_ in control for id_ in frame)
    assert decode(tokenizer, [ids]) == [before + CODE + after]


def test_the_chat_prompt_of_an_engine_stands_in_the_models_own_template(engine: TorchEngine) -> None:
    prompt = engine.render("Add two numbers.", "chat", Context("unused"), SamplingParams())
    before, after = chat_frame(engine.tokenizer)
    assert prompt.text.startswith(f"{before}Add two numbers.")
    assert prompt.text.endswith(after)
    assert "unused" not in prompt.text


def test_text_that_names_control_tokens_comes_back_as_it_was(tokenizer: Any) -> None:
    ids = encode_completion(tokenizer, CODE)
    assert not set(ids) & set(tokenizer.all_special_ids)
    assert decode(tokenizer, [ids]) == [CODE]


def test_a_start_token_stays_before_a_prompt_and_its_name_in_the_text_is_text() -> None:
    tokenizer = tokenizer_like_llamas()
    ids = encode_prompt(tokenizer, "<s>a</s>")
    assert ids.count(tokenizer.bos_token_id) == 1
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.eos_token_id not in ids
    assert encode_completion(tokenizer, "<s>a</s>") == ids[1:]


def test_a_control_token_that_is_not_marked_as_special_is_split_as_well() -> None:
    tokenizer = tokenizer_like_llamas()
    assert len(encode_completion(tokenizer, "<|fim|>")) == len("<|fim|>")


def test_a_training_row_ends_at_its_end_token_alone(tokenizer: Any, family: Family) -> None:
    sample = Sample("1", f"Write {CODE}", CODE, "f", f"{CODE}\n" * 3, 100, "repo", "file.py")
    row = encode(sample, "augmented", family, tokenizer)
    labels = [label for label in row["labels"] if label != IGNORED]
    assert labels.index(tokenizer.eos_token_id) == len(labels) - 1
    assert row["input_ids"].count(tokenizer.eos_token_id) == 1
    assert decode(tokenizer, [labels[:-1]]) == [CODE]


def test_an_answer_keeps_the_names_of_control_tokens(
    engine: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = iter([*encode_completion(engine.tokenizer, CODE), engine.tokenizer.eos_token_id])
    monkeypatch.setattr(running_batch, "sample_tokens", lambda *_: [next(ids)])
    *_, (completion,) = engine.stream([request_for(BASELINE, CODE)], SamplingParams(max_new_tokens=60))
    assert completion.text == CODE
    assert completion.finish_reason == "stop"


def test_the_likelihood_is_of_the_text_that_training_sees(engine: TorchEngine) -> None:
    (bits,) = engine.bits_per_byte([request_for(BASELINE, CODE)], [CODE])
    prompt = encode_prompt(engine.tokenizer, CODE)
    target = encode_completion(engine.tokenizer, CODE)
    with torch.inference_mode():
        logits = engine.model(input_ids=torch.tensor([prompt + target])).logits[0]
    nats = torch.nn.functional.cross_entropy(
        logits[len(prompt) - 1 : -1], torch.tensor(target), reduction="sum"
    )
    assert bits == pytest.approx(float(nats) / 0.6931471805599453 / len(CODE.encode()), abs=1e-4)


def test_an_instruction_that_does_not_fit_is_measured_in_what_was_counted(engine: TorchEngine) -> None:
    sampling = SamplingParams(max_new_tokens=24)
    with pytest.raises(LabError, match=r"has 1,\d\d\d tokens, and this model has room for 1,000 tokens"):
        engine.render("word " * 1_500, "regular", Context(), sampling)
    with pytest.raises(LabError, match=r"has 100,\d\d\d characters"):
        engine.render("x" * 100_000, "regular", Context(), sampling)
