"""The registry of checkpoints: fingerprints that follow the content, and bad folders beside good ones."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.evaluation.store import list_runs, load_config
from pipeline.models.checkpoints import checkpoints_dir, columns, list_checkpoints, published_dir
from pipeline.models.families import DEFAULT_FAMILY, Family, get_family
from pipeline.models.fingerprints import fingerprint
from pipeline.models.hub import fetch
from pipeline.schema import Checkpoint, LabError
from pipeline.settings import Settings

FILES = ("adapter_config.json", "adapter_model.safetensors")


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.fixture
def embedded(own: Settings) -> Family:
    return get_family(own, DEFAULT_FAMILY)


def copy_shipped(settings: Settings, family: Family, name: str, source: str = "200-regular") -> Path:
    folder = checkpoints_dir(settings, family) / name
    shutil.copytree(settings.assets / "checkpoints" / family.name / source, folder)
    return folder


def listed(settings: Settings, family: Family) -> dict[str, Checkpoint]:
    return {checkpoint.name: checkpoint for checkpoint in list_checkpoints(settings, family)}


def test_shipped_adapters_keep_the_fingerprints_of_their_stored_runs(own: Settings, embedded: Family) -> None:
    configs = [load_config(folder) for folder in list_runs(own)]
    stored = {(config.checkpoint, config.fingerprint) for config in configs}
    shipped = {(checkpoint.name, checkpoint.fingerprint) for checkpoint in list_checkpoints(own, embedded)}
    assert shipped <= stored


def test_a_shipped_adapter_names_its_base_as_the_hub_does(own: Settings, embedded: Family) -> None:
    for checkpoint in list_checkpoints(own, embedded)[1:]:
        assert checkpoint.path is not None
        config = json.loads((checkpoint.path / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_file_rewritten_at_the_same_size_and_time_gets_another_fingerprint(
    tmp_path: Path, name: str
) -> None:
    for each in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / each).write_bytes(b"one")
    before, stat = fingerprint(tmp_path), (tmp_path / name).stat()
    (tmp_path / name).write_bytes(b"two")
    os.utime(tmp_path / name, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert fingerprint(tmp_path) != before


def test_another_file_moved_into_the_place_of_an_old_one_gets_another_fingerprint(tmp_path: Path) -> None:
    """As an unpacked archive does it: all of its files bear one time."""
    for folder, content in (("one", b"1"), ("two", b"2")):
        (tmp_path / folder).mkdir()
        for name in FILES:
            (tmp_path / folder / name).write_bytes(content)
            os.utime(tmp_path / folder / name, (1_000_000_000, 1_000_000_000))
    first = fingerprint(tmp_path / "one")
    shutil.rmtree(tmp_path / "one")
    (tmp_path / "two").rename(tmp_path / "one")
    assert fingerprint(tmp_path / "one") != first


def break_config(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{")


def break_encoding(folder: Path) -> None:
    (folder / "adapter_config.json").write_bytes(b"\xff\xfe{\x00}\x00")


def empty_config(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("[]")


def drop_weights(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()


def cut_weights(folder: Path) -> None:
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])


def break_commit(folder: Path) -> None:
    drop_weights(folder)
    (folder / "adapter_config.json").unlink()
    (folder / "published.json").write_text("{")


def cut_merged(folder: Path) -> None:
    break_commit(folder)
    (folder / "published.json").write_text('{"commit": "c0ffee"}')
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"\0" * 100)


def merged(index: Any, published: str = '{"commit": "c0ffee"}') -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        break_commit(folder)
        (folder / "published.json").write_text(published)
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    return make


def make_folders(folder: Path) -> None:
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / name).unlink()
        (folder / name).mkdir()


def keep_weights_alone(folder: Path) -> None:
    (folder / "adapter_config.json").unlink()


def write_overflow(folder: Path) -> None:
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "lora_alpha": 10**400}))


def rename_weights(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (merged({"weight_map": None}), "names no files"),
        (merged({"weight_map": {}}), "names no files"),
        (merged({"weight_map": ["a"]}), "names no files"),
        (merged({"weight_map": {"a": ["b"]}}), "no file of this folder"),
        (merged({"weight_map": {"a": "../../other/model.safetensors"}}), "no file of this folder"),
        (merged({}, published="{}"), "published.json names no commit"),
        (merged({}, published='{"commit": null}'), "published.json names no commit"),
        (make_folders, "Is a directory"),
        (keep_weights_alone, "No such file"),
        (write_overflow, "must be above 0"),
        (rename_weights, "cannot be used here: its weights are in adapter_model.bin"),
        (break_config, "adapter_config.json is unreadable"),
        (break_encoding, "adapter_config.json is unreadable"),
        (empty_config, "adapter_config.json is unreadable"),
        (drop_weights, "No such file"),
        (cut_weights, "adapter_model.safetensors is cut off"),
        (break_commit, "published.json is unreadable"),
        (cut_merged, "model.safetensors is cut off"),
    ],
)
def test_a_bad_folder_is_listed_with_its_reason_and_all_others_work(
    own: Settings, embedded: Family, damage: Callable[[Path], None], words: str
) -> None:
    damage(copy_shipped(own, embedded, "300-regular"))
    good = copy_shipped(own, embedded, "400-regular").name
    found = listed(own, replace(embedded, published={"600-regular": "lab/model"}))
    (bad,) = (checkpoint for checkpoint in found.values() if checkpoint.problem)
    assert bad.name == "300-regular"
    assert words in bad.problem
    assert not bad.is_baseline
    assert {good, "200-regular", "10000-augmented"} < set(found)
    assert "200/regular" in columns(own, embedded)


def test_a_byte_order_mark_in_a_config_does_no_harm(own: Settings, embedded: Family) -> None:
    config = copy_shipped(own, embedded, "300-regular") / "adapter_config.json"
    config.write_bytes(b"\xef\xbb\xbf" + config.read_bytes())
    assert not listed(own, embedded)["300-regular"].problem


def test_a_bad_folder_of_a_published_checkpoint_says_so_instead_of_being_used(
    own: Settings, embedded: Family
) -> None:
    family = replace(embedded, published={"300-regular": "lab/adapter"})
    folder = published_dir(own, family) / "300-regular"
    folder.mkdir(parents=True)
    (folder / "published.json").write_text("{")
    with pytest.raises(LabError, match=r"published\.json is unreadable"):
        fetch(own, family, listed(own, family)["300-regular"])


def test_a_download_of_another_repository_does_not_answer_for_the_one_that_is_published_now(
    own: Settings, embedded: Family
) -> None:
    folder = copy_shipped(own, embedded, "300-regular")
    (folder / "published.json").write_text('{"hub_id": "lab/old", "commit": "c0ffee"}')
    now, same = (replace(embedded, published={"300-regular": each}) for each in ("lab/new", "lab/old"))
    assert "downloaded from lab/old" in listed(own, now)["300-regular"].problem
    assert not listed(own, same)["300-regular"].problem
    assert not listed(own, embedded)["300-regular"].problem


def test_a_name_of_ones_own_is_an_identity_and_the_record_gives_the_attributes(
    own: Settings, embedded: Family
) -> None:
    copy_shipped(own, embedded, "my.adapter_2", "1000-augmented")
    known = columns(own, embedded)["my.adapter_2/augmented"].checkpoint
    assert (known.subset_size, known.variant, known.seed, known.origin) == (1000, "augmented", 42, "trained")
    assert known.recipe == columns(own, embedded)["1000/augmented"].checkpoint.recipe
    assert known.recipe["learning_rate"] == 2e-3


def test_a_name_of_todays_pattern_gives_the_attributes_where_no_record_does(
    own: Settings, embedded: Family
) -> None:
    (copy_shipped(own, embedded, "300-regular-seed7") / "checkpoint.json").unlink()
    known = columns(own, embedded)["300-seed7/regular"].checkpoint
    assert (known.subset_size, known.variant, known.seed) == (300, "regular", 7)
    assert known.recipe == {"lora_r": 8, "lora_alpha": 16.0}


def test_a_checkpoint_of_which_nothing_is_known_can_be_tried_under_every_prompt(
    own: Settings, embedded: Family
) -> None:
    (copy_shipped(own, embedded, "foreign") / "checkpoint.json").write_text('{"subset_size": "many"}')
    keys = [key for key in columns(own, embedded) if key.startswith("foreign/")]
    assert keys == ["foreign/regular", "foreign/augmented", "foreign/chat"]
    known = columns(own, embedded)[keys[0]].checkpoint
    assert (known.subset_size, known.variant, known.seed) == (None, None, None)


@pytest.mark.parametrize("name", ["baseline", "200", "200-seed43", ".hidden", "a b", "one.part", "x" * 61])
def test_a_folder_whose_name_no_checkpoint_can_have_is_not_listed(
    own: Settings, embedded: Family, name: str
) -> None:
    before = list(listed(own, embedded))
    copy_shipped(own, embedded, name)
    assert list(listed(own, embedded)) == before
