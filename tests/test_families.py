"""The file that describes the families, damaged: people add their own to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.evaluation.limits import choose_sampling
from pipeline.models.families import load_families
from pipeline.schema import LabError
from pipeline.settings import ASSETS, Settings

KNOWN = (ASSETS / "families.toml").read_bytes()


def read(folder: Path, content: bytes) -> list[str]:
    (folder / "families.toml").write_bytes(content)
    return list(load_families(Settings(data_dir=folder, assets=folder)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[a", "families.toml cannot be read: Expected"),
        (b"\xff", "families.toml cannot be read: "),
        (b"x = 5", "The family x in .* cannot be read: "),
        (b'[x]\ntitle = "X"\nbase = { hub_id = "a/b" }', "The family x in .* has no 'dataset'"),
        (
            KNOWN.replace(b"[smollm2-135m.base.gguf]", b"[smollm2-135m.base.gguf]\nmore = 1"),
            "The family smollm2",
        ),
    ],
)
def test_a_family_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(LabError, match=words):
        read(tmp_path, content)


def test_a_byte_order_mark_before_the_families_does_no_harm(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbf" + KNOWN) == read(tmp_path, KNOWN)


def test_sampling_that_is_not_asked_for_is_the_familys_own(tmp_path: Path) -> None:
    for family in load_families(Settings(tmp_path)).values():
        assert choose_sampling(family, temperature=None, max_new_tokens=None) == family.sampling
        warm = choose_sampling(family, temperature=0.5, max_new_tokens=None)
        assert warm == replace(family.sampling, temperature=0.5)
