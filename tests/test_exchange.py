"""Checkpoints brought in, taken out, renamed, deleted and hidden."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from pipeline.command_line.verbs import run_subcommand
from pipeline.data.own.source import read_source
from pipeline.exchange.__main__ import CHECKPOINT_VERBS
from pipeline.exchange.exports import export_adapter, export_merged, push_adapter
from pipeline.exchange.imports import import_checkpoint
from pipeline.generation.torch_engine import TorchEngine, load_engine
from pipeline.models.checkpoints import checkpoints_dir, columns, list_checkpoints
from pipeline.models.families import Family
from pipeline.models.fingerprints import fingerprint
from pipeline.models.hub import base_source
from pipeline.models.own_checkpoints import (
    delete_checkpoint,
    find_checkpoint,
    hidden_checkpoints,
    hide_checkpoint,
    rename_checkpoint,
)
from pipeline.models.weights import base_model_dir
from pipeline.schema import Checkpoint, Column, FieldError, LabError, SamplingParams
from pipeline.settings import Settings
from tests.adapters import write_random_adapters
from tests.attempts import request_for
from tests.hub_server import serve_hub
from ui.choices import checkpoint_choices

GREEDY = SamplingParams(temperature=0, max_new_tokens=12)
PROMPT = "def add(a, b):"


@pytest.fixture(scope="module")
def base(short: Settings, family: Family) -> Path:
    return Path(base_model_dir(short, family))


@pytest.fixture(scope="module")
def foreign(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter as PEFT saves it: rank and alpha differ by layer."""
    folder = tmp_path_factory.mktemp("foreign") / "their adapter"
    patterns = {"alpha_pattern": {"q_proj": 64, r"layers\.1\..*up_proj": 3}, "rank_pattern": {"v_proj": 2}}
    write_random_adapters(base, [folder], rank=4, strength=0.2, **patterns)
    return folder


@pytest.fixture(scope="module")
def engine(short: Settings, family: Family) -> TorchEngine:
    return load_engine(short, family, dtype=torch.float32)


def text_of(engine: TorchEngine, checkpoint: Checkpoint) -> str:
    *_, completions = engine.stream([request_for(Column(checkpoint, "regular"), PROMPT)], GREEDY)
    return completions[0].text


def with_peft(base: Path, adapter: Path) -> str:
    """What PEFT itself writes."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    inputs = tokenizer(PROMPT, return_tensors="pt")
    written = PeftModel.from_pretrained(model, adapter).generate(**inputs, max_new_tokens=12, do_sample=False)
    return str(tokenizer.decode(written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))


def zipped(folder: Path, file: Path, below: str = "a/b") -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for each in sorted(folder.iterdir()):
            archive.write(each, f"{below}/{each.name}")
    return file


def test_an_adapter_with_an_alpha_pattern_writes_what_peft_writes(
    fresh_short: Settings, family: Family, engine: TorchEngine, base: Path, foreign: Path
) -> None:
    made = import_checkpoint(fresh_short, family, str(foreign))
    assert (made.name, made.origin, made.subset_size, made.variant) == (
        "their-adapter",
        "imported",
        None,
        None,
    )
    assert made.recipe == {"lora_r": 4, "lora_alpha": 8.0}
    assert f"{made.name}/regular" in columns(fresh_short, family)
    assert text_of(engine, made) == with_peft(base, foreign)
    assert text_of(engine, made) != text_of(engine, Checkpoint(family.name, "baseline"))


def test_an_adapter_of_another_base_model_is_refused_in_words(
    fresh_short: Settings, family: Family, foreign: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(foreign, tmp_path / "other")
    config = json.loads((other / "adapter_config.json").read_text())
    (other / "adapter_config.json").write_text(
        json.dumps({**config, "base_model_name_or_path": "microsoft/phi-2"})
    )
    with pytest.raises(LabError, match="was trained on microsoft/phi-2, and the base model of smollm2"):
        import_checkpoint(fresh_short, family, str(other))
    assert list(checkpoints_dir(fresh_short, family).iterdir()) == []


def test_an_adapter_whose_matrices_do_not_fit_is_refused_though_its_names_do(
    fresh_short: Settings, family: Family, foreign: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(foreign, tmp_path / "other")
    config = json.loads((other / "adapter_config.json").read_text())
    (other / "adapter_config.json").write_text(json.dumps({**config, "rank_pattern": {}}))
    with pytest.raises(LabError, match="does not fit the base model of smollm2-135m"):
        import_checkpoint(fresh_short, family, str(other))


def test_an_adapter_from_a_zip_file_is_the_same_as_from_its_folder(
    fresh_short: Settings, family: Family, foreign: Path, tmp_path: Path
) -> None:
    one = import_checkpoint(fresh_short, family, str(foreign), "one")
    other = import_checkpoint(
        fresh_short, family, str(zipped(foreign, tmp_path / "x.zip")), "two", "augmented", 300
    )
    assert one.fingerprint == other.fingerprint
    assert (other.subset_size, other.variant) == (300, "augmented")


def test_an_adapter_is_imported_from_the_hub(fresh_short: Settings, family: Family, foreign: Path) -> None:
    """In a process of its own: the hub's library reads its address when it is imported."""
    words = ["-m", "pipeline.exchange", "import", "--source=lab/adapter"]
    with serve_hub({"lab/adapter": foreign}) as url:
        env = {
            **os.environ,
            "HF_ENDPOINT": url,
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "RCL_DATA_DIR": str(fresh_short.data_dir),
        }
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=env)
        gone = subprocess.run(
            [sys.executable, *words[:-1], "--source=lab/gone"], capture_output=True, text=True, env=env
        )
    assert done.returncode == 0, done.stderr
    made = find_checkpoint(fresh_short, family, "adapter")
    assert made.fingerprint == fingerprint(foreign)
    assert json.loads((made.path / "imported.json").read_text())["from"] == "lab/adapter"
    assert "The Hugging Face hub has no model lab/gone" in gone.stderr


def two_adapters(file: Path) -> None:
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("other/adapter_config.json", "{}")


def path_outside(file: Path) -> None:
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("../../outside", "x")


def no_archive(file: Path) -> None:
    file.write_bytes(b"PK but no archive")


def damaged_lzma(file: Path) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("adapter_config.json", "{}")
    data = bytearray(file.read_bytes())
    data[58:62] = b"\xff" * 4
    file.write_bytes(data)


def same_entry_twice(file: Path) -> None:
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("a//b/adapter_model.safetensors", "x")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damaged_lzma, "is not a zip file that can be read"),
        (same_entry_twice, "has several entries of one name"),
        (two_adapters, "holds 2 adapters"),
        (path_outside, "leads out of its folder"),
        (no_archive, "is not a zip file that can be read"),
    ],
)
def test_a_zip_file_that_is_not_one_adapter_is_refused(
    fresh_short: Settings,
    family: Family,
    foreign: Path,
    tmp_path: Path,
    damage: Callable[[Path], None],
    words: str,
) -> None:
    file = zipped(foreign, tmp_path / "x.zip")
    damage(file)
    with pytest.raises(LabError, match=words):
        import_checkpoint(fresh_short, family, str(file))
    assert not (tmp_path / "outside").exists()
    assert list(checkpoints_dir(fresh_short, family).iterdir()) == []


def test_a_zip_bomb_is_read_no_further_than_the_limit(
    fresh_short: Settings, family: Family, tmp_path: Path
) -> None:
    file = tmp_path / "bomb.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("adapter_config.json", b" " * 50_000_000)
        archive.writestr("adapter_model.safetensors", b"")
    assert file.stat().st_size < 100_000
    with pytest.raises(LabError, match=r"adapter_config.json is larger than 1 MB"):
        import_checkpoint(fresh_short, family, str(file))


@pytest.mark.parametrize("source", ["~nosuchuser/x", "x" * 5_000])
def test_a_path_that_cannot_be_looked_at_is_refused_in_few_words(
    fresh_short: Settings, family: Family, source: str
) -> None:
    uses = (
        lambda: import_checkpoint(fresh_short, family, source, "mine"),
        lambda: read_source(source),
        lambda: base_source(source),
    )
    for use in uses:
        with pytest.raises(FieldError, match="source names a") as caught:
            use()
        assert len(str(caught.value)) < 200


def test_pickled_weights_are_not_even_copied(fresh_short: Settings, family: Family, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.bin").write_bytes(b"\x80")
    with pytest.raises(LabError, match=r"weights are in adapter_model.bin.* which can run code"):
        import_checkpoint(fresh_short, family, str(folder))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("200-regular", "there is a checkpoint"),
        ("200-Regular", "there is a checkpoint 200-regular already"),
        ("a/b", "1 to 60"),
        ("9-regular", "says 9"),
    ],
)
def test_an_import_takes_no_name_that_is_taken_or_cannot_be(
    fresh_short: Settings, family: Family, foreign: Path, name: str, words: str
) -> None:
    if name == "9-regular":
        record = {"subset_size": 8, "variant": "regular", "seed": 42}
        foreign = shutil.copytree(foreign, fresh_short.data_dir / "copy")
        (foreign / "checkpoint.json").write_text(json.dumps(record))
    with pytest.raises(FieldError, match=words):
        import_checkpoint(fresh_short, family, str(foreign), name)


def test_export_and_import_give_the_same_fingerprint_and_the_same_text(
    fresh_short: Settings, family: Family, engine: TorchEngine, foreign: Path, tmp_path: Path
) -> None:
    first = import_checkpoint(fresh_short, family, str(foreign), "first")
    file = export_adapter(family, first, tmp_path / "first.zip")
    assert "first/README.md" in zipfile.ZipFile(file).namelist()
    again = import_checkpoint(fresh_short, family, str(file), "again")
    assert again.fingerprint == first.fingerprint
    assert text_of(engine, again) == text_of(engine, first)


def test_a_shipped_checkpoint_keeps_its_attributes_through_export_and_import(
    fresh: Settings, family: Family, tmp_path: Path
) -> None:
    shipped = find_checkpoint(fresh, family, "1000-augmented")
    file = export_adapter(family, shipped, tmp_path / "x.zip")
    again = import_checkpoint(fresh, family, str(file), "again")
    assert again.fingerprint == shipped.fingerprint
    assert (again.subset_size, again.variant, again.seed) == (1000, "augmented", 42)
    assert again.recipe == shipped.recipe


def test_a_merged_export_loads_in_plain_transformers_with_the_logits_of_the_adapter(
    fresh_short: Settings, family: Family, base: Path, foreign: Path, tmp_path: Path
) -> None:
    made = import_checkpoint(fresh_short, family, str(foreign), "made")
    folder = export_merged(fresh_short, family, made, tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    ids = AutoTokenizer.from_pretrained(folder)(PROMPT, return_tensors="pt")["input_ids"]
    adapted = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), foreign
    ).merge_and_unload()
    rounded = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    rounded.load_state_dict({name: each.bfloat16().float() for name, each in adapted.state_dict().items()})
    with torch.inference_mode():
        logits, expected, exact = (model(ids).logits for model in (merged, rounded, adapted))
    # PEFT multiplies by the scaling later, so a few weights round to the other neighbour in bf16.
    torch.testing.assert_close(logits, expected, atol=1e-3, rtol=1e-5)
    assert (logits - exact).abs().max() < 0.02 * exact.abs().max()
    with pytest.raises(LabError, match="exists already"):
        export_merged(fresh_short, family, made, folder)


def test_a_push_sends_adapter_and_card_and_keeps_the_token_nowhere(
    fresh_short: Settings, family: Family, foreign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = import_checkpoint(fresh_short, family, str(foreign), "made")
    sent: dict[str, object] = {}

    def create(api: huggingface_hub.HfApi, repo_id: str, **more: object) -> str:
        sent.update(repo=repo_id, token=api.token, private=more["private"])
        return f"https://hub/{repo_id}"

    def upload(api: huggingface_hub.HfApi, folder_path: str, **_: object) -> None:
        sent["files"] = sorted(file.name for file in Path(folder_path).iterdir())

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", create)
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload)
    page = push_adapter(family, made, "me/mine", " hf_secret ")
    assert page == "https://hub/me/mine"
    assert sent == {
        "repo": "me/mine",
        "token": "hf_secret",
        "private": True,
        "files": ["README.md", "adapter_config.json", "adapter_model.safetensors"],
    }
    files = [file for file in checkpoints_dir(fresh_short, family).rglob("*") if file.is_file()]
    assert not any(b"hf_secret" in file.read_bytes() for file in files)


def test_a_push_that_fails_says_why_without_the_token(
    fresh_short: Settings, family: Family, foreign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = import_checkpoint(fresh_short, family, str(foreign), "made")

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no way for hf_secret")

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", refuse)
    with pytest.raises(LabError, match="no way for the token"):
        push_adapter(family, made, "me/mine", "hf_secret")
    for hub_id, token in (("mine", "x"), ("me/mine", " ")):
        with pytest.raises(FieldError):
            push_adapter(family, made, hub_id, token)


def test_ones_own_are_renamed_and_deleted_and_shipped_ones_are_not(
    fresh_short: Settings, family: Family, foreign: Path
) -> None:
    import_checkpoint(fresh_short, family, str(foreign), "mine")
    assert rename_checkpoint(fresh_short, family, "mine", "ours").name == "ours"
    for act in (rename_checkpoint, delete_checkpoint):
        with pytest.raises(LabError, match="not trained or imported on this machine"):
            act(fresh_short, family, "200-regular", *(["other"] if act is rename_checkpoint else []))
    with pytest.raises(FieldError, match="there is a checkpoint 200-regular already"):
        rename_checkpoint(fresh_short, family, "ours", "200-regular")
    delete_checkpoint(fresh_short, family, "ours")
    assert "ours" not in {one.name for one in list_checkpoints(fresh_short, family)}


def test_a_hidden_checkpoint_is_not_offered_in_compare(fresh: Settings, family: Family) -> None:
    hide_checkpoint(fresh, family, "200-regular")
    hide_checkpoint(fresh, family, "200-augmented")
    assert hidden_checkpoints(fresh, family) == {"200-regular", "200-augmented"}
    assert "200" not in [name for _, name in checkpoint_choices(fresh, family)]
    assert "200/regular" in columns(fresh, family)
    hide_checkpoint(fresh, family, "200-regular", hidden=False)
    assert "200" in [name for _, name in checkpoint_choices(fresh, family)]
    with pytest.raises(LabError, match="baseline cannot be hidden"):
        hide_checkpoint(fresh, family, "baseline")


def test_the_command_line_does_the_same(
    fresh_short: Settings,
    family: Family,
    foreign: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RCL_DATA_DIR", str(fresh_short.data_dir))

    def run(*words: str) -> tuple[int, str]:
        code = run_subcommand("rcl checkpoints", "", CHECKPOINT_VERBS, words)
        out, err = capsys.readouterr()
        return code, out or err

    code, said = run("import", "--source", str(foreign), "--name", "mine")
    assert (code, json.loads(said)["origin"]) == (0, "imported")
    code, said = run("export", "--name", "mine", "--output", str(tmp_path / "mine.zip"))
    assert json.loads(said)["path"] == str(tmp_path / "mine.zip")
    code, said = run("delete", "--name", "mine")
    assert (code, "--yes must be set" in said) == (2, True)
    assert run("delete", "--name", "mine", "--yes")[0] == 0
    assert run("hide", "--name", "200-regular")[0] == 0
    rows = {row["name"]: row for row in json.loads(run("list")[1])["checkpoints"]}
    assert "mine" not in rows
    assert rows["200-regular"]["hidden"]
