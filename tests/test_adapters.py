"""Adapters as PEFT saves them: plain LoRA gives PEFT's logits, everything else is refused by its name."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import PeftModel
from peft.tuners.tuners_utils import check_target_module_exists
from peft.utils.other import get_pattern_key
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from pipeline.generation.adapters import Adapter, read_adapter
from pipeline.generation.torch_engine import TorchEngine, load_engine
from pipeline.models.checkpoints import checkpoints_dir, get_column, read_checkpoint
from pipeline.models.families import Family
from pipeline.models.lora_settings import LoraSettings, parse_lora_settings
from pipeline.models.weights import base_model_dir
from pipeline.schema import Checkpoint, Column, LabError, SamplingParams
from pipeline.settings import Settings
from tests.adapters import write_random_adapters
from tests.attempts import request_for

IDS = torch.tensor([[504, 1423, 2, 93, 17, 1035, 640]])
GREEDY = SamplingParams(temperature=0, max_new_tokens=6)


@pytest.fixture(scope="module")
def base(short: Settings, family: Family) -> Path:
    return Path(base_model_dir(short, family))


@pytest.fixture(scope="module")
def engine(short: Settings, family: Family) -> TorchEngine:
    return load_engine(short, family, dtype=torch.float32)


@pytest.fixture(scope="module")
def plain(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that nothing is wrong with."""
    folder = tmp_path_factory.mktemp("plain") / "200-regular"
    write_random_adapters(base, [folder], strength=0.2)
    return folder


@pytest.fixture
def copied(plain: Path, tmp_path: Path) -> Path:
    return shutil.copytree(plain, tmp_path / plain.name)


def set_fields(folder: Path, **fields: Any) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def add_tensor(folder: Path, name: str, value: torch.Tensor) -> None:
    file = folder / "adapter_model.safetensors"
    save_file({**load_file(file), name: value}, file)


def read(engine: TorchEngine, folder: Path) -> Adapter:
    return read_adapter(read_checkpoint(engine.family, folder), engine.family, engine.stack.layers)


def ask(engine: TorchEngine, checkpoint: Checkpoint) -> str:
    *_, (completion,) = engine.stream([request_for(Column(checkpoint, "regular"), "Sort a list.")], GREEDY)
    return completion.text


@torch.inference_mode()
def peft_logits(base: Path, folder: Path) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return PeftModel.from_pretrained(model, folder).eval()(input_ids=IDS).logits[0]


@torch.inference_mode()
def engine_logits(engine: TorchEngine, adapter: Adapter) -> torch.Tensor:
    engine.stack.assign([adapter])
    return engine.model(input_ids=IDS).logits[0]


def divergence(one: torch.Tensor, other: torch.Tensor) -> float:
    """Mean Kullback-Leibler divergence of the next-token distributions, in nats."""
    return float(
        torch.nn.functional.kl_div(
            other.log_softmax(-1), one.log_softmax(-1), log_target=True, reduction="batchmean"
        )
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_rslora": True},
        {"alpha_pattern": {"down_proj": 64, "q_proj": 32}},
        {"rank_pattern": {"q_proj": 2, "mlp.up_proj": 16}, "alpha_pattern": {r"layers\.[01]\..*_proj": 3}},
        {"rank_pattern": {"^model.layers.0.self_attn.k_proj": 4, "k_proj": 12}, "use_rslora": True},
        {"target_modules": r".*\.(0|2)\.mlp\.(up|down)_proj"},
        {"target_modules": "all-linear", "exclude_modules": ["o_proj"]},
        {"layers_to_transform": [1, 3], "layers_pattern": "layers"},
        {"init_lora_weights": "gaussian", "lora_dropout": 0.5},
    ],
    ids=lambda options: ", ".join(options) or "plain",
)
def test_plain_lora_of_any_shape_gives_the_logits_of_peft(
    engine: TorchEngine, base: Path, family: Family, tmp_path: Path, options: dict[str, Any]
) -> None:
    folder = tmp_path / "200-regular"
    write_random_adapters(base, [folder], strength=0.1, **options)
    ours, theirs = engine_logits(engine, read(engine, folder)), peft_logits(base, folder)
    assert divergence(theirs, ours) < 1e-6
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=1e-4)


def test_adapters_of_other_ranks_in_one_batch_keep_their_logits(
    engine: TorchEngine, base: Path, plain: Path, family: Family, tmp_path: Path
) -> None:
    other = tmp_path / "500-regular"
    write_random_adapters(
        base, [other], rank=3, rank_pattern={"q_proj": 5}, target_modules=["q_proj", "o_proj"]
    )
    adapters = [read(engine, folder) for folder in (plain, other)]
    engine.stack.assign([adapters[1], None, adapters[0]])
    with torch.inference_mode():
        logits = engine.model(input_ids=IDS.repeat(3, 1)).logits
    torch.testing.assert_close(logits[0], peft_logits(base, other), atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(logits[2], peft_logits(base, plain), atol=1e-3, rtol=1e-4)


def settings_of(family: Family, **fields: Any) -> LoraSettings:
    config = {"peft_type": "LORA", "r": 8, "lora_alpha": 8, **fields}
    return parse_lora_settings("200-regular", json.dumps(config).encode(), family)


NAMES = [
    f"model.layers.{layer}.{module}"
    for layer in (0, 1, 10, 11)
    for module in ("self_attn.q_proj", "self_attn.kq_proj", "mlp.up_proj")
]


@pytest.mark.parametrize(
    "fields",
    [
        {"target_modules": ["q_proj"]},
        {"target_modules": ["model.layers.1.mlp.up_proj", "attn.q_proj"]},
        {"target_modules": r".*\.1[01]?\..*q_proj"},
        {"target_modules": ["q_proj", "up_proj"], "exclude_modules": r".*layers\.1\..*"},
        {"target_modules": ["q_proj"], "layers_to_transform": 1},
        {"target_modules": ["q_proj"], "layers_to_transform": [0, 11], "layers_pattern": ["h", "layers"]},
        {"target_modules": ["q_proj"], "layers_to_transform": [0], "layers_pattern": "h"},
    ],
)
def test_modules_are_chosen_as_peft_chooses_them(family: Family, fields: dict[str, Any]) -> None:
    settings = settings_of(family, **fields)
    theirs = SimpleNamespace(
        **{"exclude_modules": None, "layers_to_transform": None, "layers_pattern": None, **fields}
    )
    chosen = {name: check_target_module_exists(theirs, name) for name in NAMES}
    expected = [name for name in NAMES if chosen[name] and type(chosen[name]).__name__ != "_ExcludedModule"]
    assert settings.targets(NAMES) == expected


@pytest.mark.parametrize("patterns", [("q_proj",), ("^model.layers.1", r"1\.mlp.up_proj", r"layers\.1.*")])
def test_patterns_of_rank_and_alpha_match_as_they_do_in_peft(
    family: Family, patterns: tuple[str, ...]
) -> None:
    ranks = {pattern: 100 + place for place, pattern in enumerate(patterns)}
    config = {
        "peft_type": "LORA",
        "r": 8,
        "lora_alpha": 8,
        "target_modules": ["q_proj"],
        "rank_pattern": ranks,
    }
    settings = parse_lora_settings("200-regular", json.dumps(config).encode(), family)
    assert settings.ranks(NAMES) == {name: ranks.get(get_pattern_key(patterns, name), 8) for name in NAMES}


@pytest.mark.parametrize(
    "pattern", ["([a-z0-9_.]+)+x", "(m|m)(o|o)(d|.)*" * 30 + "x", ".?" * 450 + "x", "((.*)*)*x"]
)
@pytest.mark.parametrize("field", ["target_modules", "exclude_modules", "rank_pattern", "alpha_pattern"])
def test_no_pattern_takes_long(family: Family, field: str, pattern: str) -> None:
    """With Python's regular expressions each of them takes years."""
    fields: dict[str, Any] = {"target_modules": ["q_proj"]}
    fields[field] = {pattern: 3} if field.endswith("_pattern") else pattern
    settings = settings_of(family, **fields)
    assert len(settings.scalings(settings.targets(NAMES))) in (0, 4)


@pytest.mark.parametrize(
    "pattern", ["(?=q)q_proj", "(?i)q_proj", "(.{9}){9}", "q{10}", "q{,3}", r"(q)\1", "é|o", "a" * 1_001]
)
def test_a_pattern_that_is_not_supported_is_refused_in_words(family: Family, pattern: str) -> None:
    for fields in ({"alpha_pattern": {pattern: 3}}, {"layers_pattern": pattern}):
        with pytest.raises(LabError, match=r"cannot be used here: its (layers_)?pattern"):
            settings_of(family, **{"target_modules": ["q_proj"], **fields})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"use_dora": True}, "use_dora: true"),
        ({"bias": "all"}, 'bias: "all"'),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"trainable_token_indices": [0, 5]}, "trainable_token_indices"),
        ({"target_modules": ["q_proj", "embed_tokens"]}, "embed_tokens"),
        ({"target_modules": ["q_proj", "lm_head"]}, "lm_head"),
        ({"lora_bias": True}, "lora_bias: true"),
        ({"layer_replication": [[0, 3], [2, 4]]}, "layer_replication"),
        ({"target_modules": ["q_proj"], "target_parameters": ["mlp.up_proj.weight"]}, "target_parameters"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else None,
)
def test_what_is_not_plain_lora_is_refused_by_name_and_not_called_damaged(
    engine: TorchEngine, base: Path, family: Family, tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    folder = tmp_path / "200-regular"
    write_random_adapters(base, [folder], **options)
    with pytest.raises(LabError, match=re.escape(words)) as caught:
        read(engine, folder)
    assert "cannot be used here" in str(caught.value)
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"peft_type": "LOHA"}, "peft_type: LOHA"),
        ({"peft_type": None}, "peft_type: missing"),
        ({"task_type": "SEQ_CLS"}, "SEQ_CLS"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out: true"),
        ({"megatron_config": {"a": 1}}, "megatron_config"),
        ({"a_field_of_tomorrow": 0.5}, "a_field_of_tomorrow: 0.5"),
        ({"init_lora_weights": "pissa_niter_2"}, "init_lora_weights: pissa_niter_2"),
        ({"init_lora_weights": "loftq"}, "init_lora_weights: loftq"),
        ({"a_field_of_tomorrow": 0}, "a_field_of_tomorrow: 0"),
        ({"revision": "v2"}, "revision v2"),
        ({"base_model_name_or_path": "HuggingFaceTB/SmolLM2-360M-Instruct"}, "SmolLM2-360M-Instruct"),
        ({"base_model_name_or_path": "someone/SmolLM2-135M-Instruct"}, "someone/SmolLM2-135M-Instruct"),
        ({"base_model_name_or_path": "/models/other"}, "/models/other"),
        ({"base_model_name_or_path": "/data/models/smollm2-135m-000000000000"}, "000000000000"),
    ],
)
def test_a_config_that_asks_for_something_else_is_refused_by_name(
    engine: TorchEngine, family: Family, copied: Path, fields: dict[str, Any], words: str
) -> None:
    set_fields(copied, **fields)
    with pytest.raises(LabError, match="cannot be used here") as caught:
        read(engine, copied)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        None,
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "huggingfacetb/smollm2-135m-instruct",
        "/srv/models/SmolLM2-135M-Instruct/",
        r"C:\models\SmolLM2-135M-Instruct",
        "/tmp/data/models/smollm2-135m-b179c9523d0e",
        "models/smollm2-135m-b179c9523d0e",
    ],
)
def test_the_base_is_known_under_its_names(
    engine: TorchEngine, family: Family, copied: Path, name: str | None
) -> None:
    set_fields(copied, base_model_name_or_path=name)
    assert read(engine, copied)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: set_fields(folder, r="8"), 'a rank of "8"'),
        (
            lambda folder: set_fields(folder, lora_alpha=float("nan")),
            "a lora_alpha of NaN, which must be above 0 and at most 100,000",
        ),
        (lambda folder: set_fields(folder, lora_alpha=-1e30), "a lora_alpha of -1e+30"),
        (lambda folder: set_fields(folder, alpha_pattern={".*": 1e9}), "a lora_alpha of 1000000000.0"),
        (lambda folder: set_fields(folder, lora_alpha=10**400), "adapter_config.json"),
        (lambda folder: set_fields(folder, alpha_pattern={"q_proj": 10**400}), "adapter_config.json"),
        (lambda folder: set_fields(folder, layers_to_transform=[float("inf")]), "a layer of Infinity"),
        (lambda folder: set_fields(folder, layers_to_transform=[1.5]), "a layer of 1.5"),
        (lambda folder: set_fields(folder, alpha_pattern={"q_proj(": 3}), "is not a regular expression"),
        (lambda folder: set_fields(folder, rank_pattern=["q_proj"]), "adapter_config.json"),
    ],
)
def test_a_config_that_makes_no_sense_is_damaged(
    engine: TorchEngine, family: Family, copied: Path, damage: Callable[[Path], None], words: str
) -> None:
    damage(copied)
    with pytest.raises(LabError, match="is damaged") as caught:
        read(engine, copied)
    assert words in str(caught.value)


def test_every_tensor_of_the_file_is_used_or_the_adapter_is_refused(
    engine: TorchEngine, family: Family, copied: Path
) -> None:
    add_tensor(copied, "base_model.model.model.embed_tokens.weight", torch.zeros(4, 4))
    with pytest.raises(LabError, match=r"it also holds model\.embed_tokens\.weight"):
        read(engine, copied)


def test_a_layer_that_its_config_does_not_name_is_not_applied_behind_pefts_back(
    engine: TorchEngine, family: Family, copied: Path
) -> None:
    set_fields(copied, target_modules=["q_proj"])
    with pytest.raises(LabError, match=r"it also holds model\.layers\.0"):
        read(engine, copied)


@pytest.mark.parametrize("kind", [torch.int8, torch.complex64])
def test_numbers_of_a_type_that_is_no_plain_float_are_refused(
    engine: TorchEngine, family: Family, copied: Path, kind: torch.dtype
) -> None:
    file = copied / "adapter_model.safetensors"
    tensors = load_file(file)
    name = next(iter(tensors))
    save_file({**tensors, name: tensors[name].to(kind)}, file)
    with pytest.raises(LabError, match=f"is of type {str(kind).removeprefix('torch.')}"):
        read(engine, copied)


def test_a_missing_matrix_is_damage(engine: TorchEngine, family: Family, copied: Path) -> None:
    file = copied / "adapter_model.safetensors"
    tensors = load_file(file)
    tensors.pop("base_model.model.model.layers.2.mlp.up_proj.lora_B.weight")
    save_file(tensors, file)
    with pytest.raises(LabError, match=r"is damaged: it has no model\.layers\.2\.mlp\.up_proj\.lora_B"):
        read(engine, copied)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(
    engine: TorchEngine, family: Family, copied: Path, value: float
) -> None:
    name = "base_model.model.model.layers.2.mlp.up_proj.lora_B.weight"
    bad = load_file(copied / "adapter_model.safetensors")[name]
    bad[3, 1] = value
    add_tensor(copied, name, bad)
    with pytest.raises(LabError, match="values that are not finite"):
        read(engine, copied)


def test_an_adapter_that_takes_the_place_of_another_answers_for_itself_alone(
    engine: TorchEngine, base: Path, family: Family, tmp_path: Path, short: Settings
) -> None:
    """Shipped, then one of the own data folder in its place, then the shipped one again."""
    settings = Settings(data_dir=tmp_path / "data", assets=tmp_path / "assets")
    settings.assets.mkdir()
    shutil.copy(short.assets / "families.toml", settings.assets)
    own = checkpoints_dir(settings, family) / "200-regular"
    shipped = settings.assets / "checkpoints" / family.name / "200-regular"
    write_random_adapters(base, [shipped, own], strength=0.2)
    aside = own.rename(tmp_path / "aside")

    def answer() -> tuple[str, str]:
        column = get_column(settings, family, "200/regular")
        *_, (completion,) = engine.stream([request_for(column, "Sort a list.")], GREEDY)
        return completion.fingerprint, completion.text

    first = answer()
    aside.rename(own)
    second = answer()
    shutil.rmtree(own)
    assert answer() == first
    assert first[0] != second[0]
    assert first[1] != second[1]


def test_two_adapters_of_one_name_in_one_batch_stay_apart(
    engine: TorchEngine, base: Path, family: Family, tmp_path: Path
) -> None:
    folders = [tmp_path / place / "200-regular" for place in ("one", "two")]
    write_random_adapters(base, folders, strength=0.2)
    checkpoints = [read_checkpoint(family, folder) for folder in folders]
    requests = [request_for(Column(checkpoint, "regular"), "Sort a list.") for checkpoint in checkpoints]
    *_, together = engine.stream(requests, GREEDY)
    assert [completion.text for completion in together] == [ask(engine, each) for each in checkpoints]


def test_files_replaced_after_the_listing_do_not_answer_under_the_old_fingerprint(
    engine: TorchEngine, base: Path, family: Family, tmp_path: Path
) -> None:
    folders = [tmp_path / "200-regular", tmp_path / "500-regular"]
    write_random_adapters(base, folders, strength=0.3)
    listed = read_checkpoint(family, folders[0])
    shutil.rmtree(folders[0])
    folders[1].rename(folders[0])
    with pytest.raises(LabError, match="have just been replaced"):
        ask(engine, listed)
    assert ask(engine, replace(read_checkpoint(family, folders[0]), name="new"))
