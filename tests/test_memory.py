"""Giving memory back: the pages of mapped files."""

from __future__ import annotations

import mmap
import re
import sys
from pathlib import Path

import pytest

from pipeline.memory import release_file_pages

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
CONTENT = bytes(range(256)) * 4096  # 1 MB


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(CONTENT)
    return path


def resident_kilobytes(file: Path) -> int:
    """Of the file, in this process."""
    areas = Path("/proc/self/smaps").read_text().split(str(file))[1:]
    return sum(int(re.findall(r"Rss: +(\d+)", area)[0]) for area in areas)


def test_the_pages_of_a_mapped_file_are_dropped_and_read_again(file: Path) -> None:
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, mmap.MAP_PRIVATE) as area:
        assert area[:] == CONTENT
        assert resident_kilobytes(file) == 1024
        release_file_pages(".safetensors")
        assert resident_kilobytes(file) == 0
        assert area[:] == CONTENT


def test_files_of_another_suffix_keep_theirs(file: Path) -> None:
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, mmap.MAP_PRIVATE) as area:
        assert area[:] == CONTENT
        release_file_pages(".parquet")
        assert resident_kilobytes(file) == 1024


def test_an_area_that_was_written_to_keeps_its_content(file: Path) -> None:
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, mmap.MAP_PRIVATE) as area:
        area[5] = 77
        release_file_pages(".safetensors")
        assert area[5] == 77
