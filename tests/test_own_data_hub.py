"""A dataset of the hub is read like a file, and what harms its reader harms nothing else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.own import read_hub
from pipeline.data.own.apart import ProcessLimits
from pipeline.data.own.source import read_source
from pipeline.schema import LabError
from tests.hub_server import serve_hub


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Of the dataset lab/data."""
    (tmp_path / "data").mkdir()
    with serve_hub({"lab/data": tmp_path / "data"}) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
        yield tmp_path / "data"


def test_a_dataset_of_the_hub_is_read_with_its_texts(folder: Path) -> None:
    columns = {
        "code": ["a", None, "\N{GRINNING FACE}"],
        "list": [["y"]] * 3,
        "bytes": [b"y"] * 3,
        "number": [1, 2, 3],
    }
    pq.write_table(pa.table(columns), folder / "train.parquet")
    table = read_source("lab/data")
    assert [dict(row) for row in table.rows] == [
        {"code": "a", "number": "1"},
        {"number": "2"},
        {"code": "\N{GRINNING FACE}", "number": "3"},
    ]
    assert table.unread == ("Columns without texts are left out: list, bytes.",)
    with pytest.raises(LabError, match="dataset lab/gone cannot be read from the Hugging Face Hub"):
        read_source("lab/gone")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited there alone")
def test_a_dataset_of_the_hub_that_takes_too_much_memory_to_read_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_hub, "LIMITS", ProcessLimits(1_500, 60))
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 1_000, pa.int32()), ["x" * 2_000_000])
    pq.write_table(
        pa.table({"code": texts}), folder / "train.parquet", compression="zstd", store_schema=False
    )
    with pytest.raises(LabError, match="lab/data cannot be read: it is damaged, or takes more than 1,500 MB"):
        read_source("lab/data")
