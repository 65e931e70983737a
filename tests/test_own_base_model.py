"""Base models of one's own: what is tried, what is refused in words, and that one trains and writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM

from pipeline.command_line.signature import command, validate
from pipeline.command_line.verbs import run_verb
from pipeline.models.families import Family, family_problems, get_family, load_families
from pipeline.models.weights import base_model_dir
from pipeline.schema import FieldError, LabError
from pipeline.settings import Settings
from training.add_base_model import add_base_model
from training.evaluate import evaluate
from training.finetune import finetune

Make = Callable[..., Path]


@pytest.fixture
def own(fresh: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("RCL_DATA_DIR", str(fresh.data_dir))
    return fresh


@pytest.fixture
def make(own: Settings, family: Family, tmp_path: Path) -> Make:
    """Makes a folder with a tiny random model and the embedded family's tokenizer."""
    tokenizer: Any = AutoTokenizer.from_pretrained(base_model_dir(own, family))

    def save(model: Any, **tokens: Any) -> Path:
        folder = tmp_path / "base"
        model.to(torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        file = folder / "tokenizer_config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **tokens}))
        return folder

    return save


def neox(**changes: Any) -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = {"vocab_size": 49_152, "max_position_embeddings": 1_024, "bos_token_id": 1, "eos_token_id": 2}
    return GPTNeoXForCausalLM(GPTNeoXConfig(**sizes, **{**config, **changes}))


def test_a_model_of_another_architecture_is_added_fine_tuned_and_evaluated(own: Settings, make: Make) -> None:
    added = add_base_model(str(make(neox())), "tiny-neox", title="Tiny NeoX")
    assert added["lora_targets"] == ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"]
    assert get_family(own, "tiny-neox").embedded
    tuned = finetune(20, family="tiny-neox", max_steps=2)
    assert tuned["steps"] == 2
    asked: dict[str, Any] = {"family": "tiny-neox", "samples": 2, "max_new_tokens": 4}
    results = [evaluate("baseline", **asked), evaluate(checkpoint=tuned["checkpoint"], **asked)]
    bits = [result["scores"]["bits per byte"]["mean"] for result in results]
    assert bits[0] != bits[1]
    with pytest.raises(FieldError, match="replace must be set"):
        add_base_model(str(own.data_dir), "tiny-neox")


@pytest.mark.parametrize(
    ("model", "tokens", "words"),
    [
        (
            lambda: GPT2LMHeadModel(GPT2Config(vocab_size=49_152, n_embd=64, n_layer=1, n_head=2)),
            {},
            "no linear layers",
        ),
        (neox, {"eos_token": None}, "names no end token"),
        (lambda: neox(vocab_size=1_000), {}, "more tokens than the model has embeddings"),
        (lambda: neox(max_position_embeddings=128), {}, "reads at most 128 tokens"),
    ],
)
def test_what_the_engine_cannot_run_is_refused_in_words_and_not_added(
    own: Settings, make: Make, model: Callable[[], Any], tokens: dict[str, Any], words: str
) -> None:
    with pytest.raises(LabError, match=words):
        add_base_model(str(make(model(), **tokens)), "tiny")
    assert "tiny" not in load_families(own)


@pytest.mark.parametrize(
    ("name", "source", "words"),
    [
        ("smollm2-135m", "a/b", "must not be smollm2-135m: that is a shipped family"),
        ("Big Name", "a/b", "must be 1 to 40 lower-case letters"),
        ("mine", "no/such-model", "could not be loaded from no/such-model"),
        ("mine", "/no/such/folder", 'source must be a folder or a hub id .*; there is no "/no/such/folder"'),
    ],
)
def test_a_name_or_a_source_that_cannot_be_used_is_refused(
    own: Settings, name: str, source: str, words: str
) -> None:
    with pytest.raises(LabError, match=words):
        add_base_model(source, name)


def test_a_job_can_write_its_command(own: Settings) -> None:
    asked = {"source": "a/b", "name": "smollm2-135m"}
    words = command(add_base_model, validate(add_base_model, asked))[3:]
    assert run_verb(add_base_model, words) == 2  # that name is refused; words that are not read would raise


def test_a_broken_family_of_the_data_folder_is_said_and_the_others_work(tmp_path: Path) -> None:
    settings = Settings(tmp_path)
    shipped = list(load_families(settings))
    (tmp_path / "families.toml").write_text('["mine"]\ntitle = "Mine"\n[smollm2-135m]\n')
    assert list(load_families(settings)) == shipped
    assert len(family_problems(settings)) == 2
    with pytest.raises(LabError, match=r"The family mine in .* has no 'base'"):
        get_family(settings, "mine")
