"""Write files and folders so that a reader never sees half of one, and keep temporary ones together."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from pipeline.schema import FieldError, quoted


def given_path(field: str, text: str) -> Path:
    """The path that a user wrote in a field; ``~`` is the home folder.

    Raises:
        FieldError: the path cannot be looked at.
    """
    try:
        path = Path(text).expanduser()
        path.exists()
    except RuntimeError as error:
        raise FieldError(field, f"names a user that this machine does not have: {quoted(text)}.") from error
    except OSError as error:  # the name is too long, or a folder may not be read
        raise FieldError(
            field, f"names a path that cannot be read ({error.strerror}): {quoted(text)}."
        ) from error
    return path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write beside the path, flush to the disk, then rename; an older file stays until then.

    Raises:
        OSError: the folder cannot be written to, or the disk is full; the older file is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        part.chmod(0o644)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def folder_beside(target: Path) -> Iterator[Path]:
    """Make a temporary folder beside the target, to be moved there when it is complete.

    What is still in the temporary folder at the end of the block is deleted.

    Raises:
        OSError: it cannot be made.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        part.chmod(0o755)
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def replace_folder(new: Path, target: Path) -> None:
    """Replace a folder by a complete one on the same file system.

    Raises:
        OSError: it cannot be moved; the older folder is as it was.
    """
    old = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.old")
    there = target.exists()
    if there:
        target.rename(old)
    try:
        new.rename(target)
    except OSError:
        if there:
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def scratch_dir(data_dir: Path) -> Path:
    """Where this process keeps its temporary files."""
    return data_dir / "scratch" / f"{socket.gethostname()}.{os.getpid()}"


def open_scratch(data_dir: Path) -> None:
    """Make the folder for all temporary files of this process; it goes when the process ends.

    Folders of processes that were killed are deleted.

    Raises:
        OSError: it cannot be made.
    """
    scratch = scratch_dir(data_dir)
    for old in scratch.parent.glob(f"{scratch.stem}.*"):
        if not psutil.pid_exists(int(old.suffix[1:])):
            shutil.rmtree(old, ignore_errors=True)
    scratch.mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = str(scratch)
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
