"""Published checkpoints: fetched from a hub on loopback, as adapters and as merged models."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from pipeline.generation.published_engine import PublishedEngine
from pipeline.generation.torch_engine import TorchEngine, load_engine
from pipeline.models.checkpoints import columns, list_checkpoints, read_checkpoint
from pipeline.models.families import Family
from pipeline.models.hub import fetch
from pipeline.models.weights import base_model_dir
from pipeline.schema import Column, Context, LabError, SamplingParams
from pipeline.settings import Settings
from tests.adapters import write_random_adapters
from tests.attempts import request_for
from tests.hub_server import COMMIT, serve_hub

GREEDY = SamplingParams(temperature=0, max_new_tokens=12)
NAMES = {
    "300-regular": "lab/adapter",
    "400-regular": "lab/merged",
    "600-regular": "lab/gone",
    "700-regular": "lab/gated",
    "800-regular": "lab/pickles",
}
_FETCH = """
import sys
from dataclasses import replace
from pipeline.models.checkpoints import list_checkpoints
from pipeline.models.families import get_family
from pipeline.models.hub import fetch
from pipeline.schema import LabError
from pipeline.settings import Settings
settings, (name, hub_id) = Settings.from_env(), sys.argv[1:]
family = replace(get_family(settings, "smollm2-135m"), published={name: hub_id})
checkpoint = next(c for c in list_checkpoints(settings, family) if c.name == name)
try:
    print(fetch(settings, family, checkpoint).fingerprint)
except LabError as error:
    raise SystemExit(f"in words: {error}")
"""


@pytest.fixture(scope="module")
def adapter(short: Settings, family: Family, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    write_random_adapters(Path(base_model_dir(short, family)), [folder], strength=0.2)
    return folder


@pytest.fixture(scope="module")
def hub(
    short: Settings, family: Family, adapter: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    merged, pickles = tmp_path_factory.mktemp("merged"), tmp_path_factory.mktemp("pickles")
    base = AutoModelForCausalLM.from_pretrained(base_model_dir(short, family), dtype=torch.float32)
    PeftModel.from_pretrained(base, adapter).merge_and_unload().save_pretrained(merged)
    (pickles / "adapter_config.json").write_text("{}")
    (pickles / "adapter_model.bin").write_bytes(b"\x80")
    repositories = {"lab/adapter": adapter, "lab/merged": merged, "lab/pickles": pickles}
    with serve_hub(repositories, gated=frozenset({"lab/gated"})) as url:
        yield url


def download(settings: Settings, hub: str, name: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the hub's library reads its address when it is imported."""
    env = {
        **os.environ,
        "HF_ENDPOINT": hub,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "RCL_DATA_DIR": str(settings.data_dir),
    }
    command = [sys.executable, "-c", _FETCH, name, NAMES[name]]
    return subprocess.run(command, capture_output=True, text=True, env=env)


@pytest.fixture
def published(family: Family) -> Family:
    return replace(family, published=NAMES)


def test_a_published_adapter_and_a_merged_model_write_the_same_in_one_comparison(
    fresh_short: Settings, published: Family, hub: str
) -> None:
    for name in ("300-regular", "400-regular"):
        done = download(fresh_short, hub, name)
        assert done.returncode == 0, done.stderr
    known = columns(fresh_short, published)
    one, other = known["300/regular"], known["400/regular"]
    assert not one.checkpoint.is_merged
    assert other.checkpoint.is_merged
    assert other.checkpoint.fingerprint == COMMIT[:12]
    engine = PublishedEngine(
        load_engine(fresh_short, published, dtype=torch.float32),
        lambda checkpoint: fetch(fresh_short, published, checkpoint),
    )
    prompt = engine.render("Write a function that adds two tensors.", "regular", Context(), GREEDY).text
    chosen = [other, known["baseline/regular"], one]
    *_, completions = engine.stream([request_for(column, prompt) for column in chosen], GREEDY)
    texts = [completion.text for completion in completions]
    assert texts[0] == texts[2] != texts[1]
    references = ["def add(a, b):\n    return a + b"] * 3
    bits = engine.bits_per_byte([request_for(column, prompt) for column in chosen], references)
    assert bits[0] == pytest.approx(bits[2], abs=1e-4)
    assert bits[0] != pytest.approx(bits[1], abs=1e-2)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("600-regular", "has no model lab/gone"),
        ("700-regular", "lab/gated is gated"),
        ("800-regular", "neither a LoRA adapter nor a merged model in safetensors"),
    ],
)
def test_a_repository_that_cannot_be_used_says_why_and_leaves_nothing_behind(
    fresh: Settings, published: Family, hub: str, name: str, words: str
) -> None:
    done = download(fresh, hub, name)
    assert "in words: " in done.stderr
    assert words in done.stderr
    assert not list((fresh.data_dir / "published" / published.name).iterdir())


def test_a_hub_out_of_reach_is_said_in_words(fresh: Settings) -> None:
    done = download(fresh, "http://127.0.0.1:9", "300-regular")
    assert "in words: lab/adapter cannot be fetched from the Hugging Face hub" in done.stderr


def test_a_checkpoint_that_is_still_on_the_hub_is_listed(fresh: Settings, published: Family) -> None:
    found = {c.name: c for c in list_checkpoints(fresh, published)}
    assert found["600-regular"].path is None
    assert found["600-regular"].hub_id == "lab/gone"


@pytest.fixture(scope="module")
def base_engine(short: Settings, family: Family) -> TorchEngine:
    return load_engine(short, family, dtype=torch.float32)


@pytest.fixture
def engine(base_engine: TorchEngine) -> PublishedEngine:
    return PublishedEngine(base_engine, lambda checkpoint: checkpoint)


@pytest.fixture
def merged(short: Settings, family: Family, tmp_path: Path) -> Path:
    """The folder of a merged model; it is the base model itself."""
    folder = shutil.copytree(base_model_dir(short, family), tmp_path / "400-regular")
    (folder / "published.json").write_text(json.dumps({"hub_id": "lab/merged", "commit": COMMIT}))
    return folder


def set_fields(file: Path, **fields: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors", {"format": "pt"})


def answer(engine: PublishedEngine, folder: Path) -> str:
    column = Column(read_checkpoint(replace(engine.base.family, published=NAMES), folder), "regular")
    assert column.checkpoint.is_merged
    *_, (completion,) = engine.stream([request_for(column, "def add")], GREEDY)
    return completion.text


def test_a_merged_model_that_names_no_end_token_ends_with_the_base_models(
    engine: PublishedEngine, merged: Path
) -> None:
    expected = answer(engine, merged)
    for name in ("config.json", "generation_config.json"):
        set_fields(merged / name, eos_token_id=None)
    assert answer(engine, merged) == expected


def test_a_merged_model_that_is_replaced_under_its_name_is_loaded_again(
    engine: PublishedEngine, merged: Path
) -> None:
    before = answer(engine, merged)
    change_weights(merged, lambda state: state["model.norm.weight"].neg_())
    assert answer(engine, merged) != before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("model.norm.weight"), r"it holds no model\.norm\.weight"),
        (lambda state: state["model.norm.weight"].fill_(torch.nan), "values that are not finite"),
    ],
)
def test_a_merged_model_with_bad_weights_is_refused(
    engine: PublishedEngine, merged: Path, change: Callable[[dict[str, torch.Tensor]], Any], words: str
) -> None:
    change_weights(merged, change)
    with pytest.raises(LabError, match=words):
        answer(engine, merged)


def test_a_merged_model_of_another_base_is_refused(engine: PublishedEngine, merged: Path) -> None:
    set_fields(merged / "config.json", num_hidden_layers=2)
    with pytest.raises(LabError, match=r"not a fine-tune of the base model \(num_hidden_layers: 2, not 4\)"):
        answer(engine, merged)


def test_a_family_without_published_checkpoints_says_that_it_takes_adapters_only(
    family: Family, merged: Path
) -> None:
    assert "is a merged model" in read_checkpoint(family, merged).problem
