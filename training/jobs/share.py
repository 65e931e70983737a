"""Copy checkpoints and runs between the app and a cluster, through a folder or any URL that fsspec knows.

``shared`` is a folder's path below the data folder, such as ``checkpoints/smollm2-135m/200-regular``; it has
the same one below the share.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.files import folder_beside, replace_folder
from pipeline.schema import LabError

_KINDS = ("checkpoints", "runs")


def push(data_dir: Path, shared: str, url: str) -> None:
    """Copy a folder of this machine to the share, and replace the one there."""
    files, base = _open(url)
    source, target = data_dir / _inside(shared), f"{base}/{shared}"
    if files.exists(target):
        files.rm(target, recursive=True)  # put would copy into a folder that is there
    files.makedirs(target.rpartition("/")[0], exist_ok=True)
    files.put(str(source), target, recursive=True)


def pull(data_dir: Path, shared: str, url: str) -> None:
    """Copy a folder of the share to this machine, where it appears in one piece.

    Raises:
        LabError: the share has no such folder.
    """
    files, base = _open(url)
    source, target = f"{base}/{shared}", data_dir / _inside(shared)
    if not files.find(source):
        raise LabError(f"The share {url} has no {shared}.")
    with folder_beside(target) as part:
        files.get(f"{source}/", str(part), recursive=True)
        replace_folder(part, target)


def _open(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    try:
        files, base = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise LabError(f"The share {url} (RCL_SHARE_URL) cannot be used: {error}") from error
    return files, base.rstrip("/")


def _inside(shared: str) -> Path:
    """Refuse a path outside the data folder; it may come from another machine."""
    path = PurePosixPath(shared)
    if path.is_absolute() or ".." in path.parts or len(path.parts) < 2 or path.parts[0] not in _KINDS:
        raise LabError(f"{shared!r} is no folder of checkpoints or runs.")
    return Path(*path.parts)
