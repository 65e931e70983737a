"""What a cluster returns: folders through a share, and nothing that leads out of the data folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.schema import LabError
from training.jobs import share

SHARED = "checkpoints/smollm2-135m/200-regular"


@pytest.mark.parametrize("kind", ["folder", "url"])
def test_a_folder_comes_back_whole_and_takes_the_place_of_an_older_one(tmp_path: Path, kind: str) -> None:
    url = str(tmp_path / "share") if kind == "folder" else f"memory://{tmp_path.name}/share"
    there, here = tmp_path / "there", tmp_path / "here"
    for data, text in ((there, "new"), (here, "old")):
        (data / SHARED / "inner").mkdir(parents=True)
        (data / SHARED / "inner" / "weights").write_text(text)
    (here / SHARED / "left over").write_text("old")
    share.push(there, SHARED, url)
    share.pull(here, SHARED, url)
    files = [file.relative_to(here).as_posix() for file in here.rglob("*") if file.is_file()]
    assert files == [f"{SHARED}/inner/weights"]
    assert (here / files[0]).read_text() == "new"


def test_what_the_share_has_not_is_said_and_what_is_here_stays(tmp_path: Path) -> None:
    (tmp_path / SHARED).mkdir(parents=True)
    with pytest.raises(LabError, match="has no checkpoints"):
        share.pull(tmp_path, SHARED, str(tmp_path / "share"))
    assert (tmp_path / SHARED).is_dir()


@pytest.mark.parametrize("path", ["../../etc", "/etc/x", "checkpoints/../../x", "jobs/x", "checkpoints"])
def test_a_path_that_leads_elsewhere_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(LabError, match="no folder of checkpoints or runs"):
        share.pull(tmp_path, path, str(tmp_path / "share"))


def test_a_share_of_an_unknown_kind_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="RCL_SHARE_URL"):
        share.push(tmp_path, SHARED, "carrier-pigeon://loft")
