"""Import an adapter that was trained elsewhere: from a folder, a zip file, or the Hugging Face hub.

Only the files that an adapter consists of are read, each up to a limit, and under names of our own: an
archive decides neither where something is written nor how much.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from pipeline.files import folder_beside, given_path
from pipeline.models.checkpoints import (
    IMPORTED,
    RECORD,
    check_name,
    checkpoints_dir,
    read_checkpoint,
    says_other,
)
from pipeline.models.families import Family
from pipeline.models.fingerprints import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from pipeline.models.hub import download_files
from pipeline.models.own_checkpoints import check_free
from pipeline.network import HUB_ID
from pipeline.schema import Checkpoint, FieldError, LabError, Progress, TrainedVariant, quoted
from pipeline.settings import Settings

_MOST_BYTES = {ADAPTER_CONFIG: 1_000_000, ADAPTER_WEIGHTS: 4_000_000_000, RECORD: 16_000_000}
"""What is taken of a source, and the most bytes of each."""
_NEEDED = (ADAPTER_CONFIG, ADAPTER_WEIGHTS)
_PICKLE = "adapter_model.bin"
_MOST_ENTRIES = 10_000  # of a zip file
_CHUNK = 1 << 20
_Open = Callable[[str], IO[bytes] | None]
"""Opens a file of the source by name; None if there is none."""


def import_checkpoint(
    settings: Settings,
    family: Family,
    source: str,
    name: str = "",
    variant: TrainedVariant | None = None,
    subset_size: int | None = None,
    progress: Progress | None = None,
) -> Checkpoint:
    """Check an adapter and copy it to the checkpoints of this machine.

    Args:
        settings: where it goes.
        family: the family whose base model it was trained on.
        source: a folder, a zip file, or a hub id such as ``owner/name``.
        name: of the checkpoint; by itself that of the source.
        variant: the prompt variant that it was trained with, if its record does not say so.
        subset_size: its number of training samples, if its record does not say so.
        progress: gets the progress.

    Raises:
        FieldError: the name cannot be, is taken, or says something else than the adapter is.
        LabError: the source cannot be read, or the adapter cannot be used with this family.
    """
    from pipeline.generation.adapters import check_fit  # torch comes with it

    name = name or _name_of(source)
    check_free(settings, family, name)
    target = checkpoints_dir(settings, family) / name
    try:
        with folder_beside(target) as part:
            folder = part / name
            folder.mkdir()
            with _opened(source, part / "download", progress) as open_file:
                _copy(open_file, folder)
            came_from = source if HUB_ID.fullmatch(source) else Path(source).name
            about = {"from": came_from, "variant": variant, "subset_size": subset_size}
            (folder / IMPORTED).write_text(json.dumps(about, indent=1), encoding="utf-8")
            checkpoint = read_checkpoint(family, folder)
            if checkpoint.problem:
                raise LabError(checkpoint.problem)
            if other := says_other(name, checkpoint):
                raise FieldError("name", other)
            check_fit(settings, checkpoint, family)
            folder.rename(target)
    except OSError as error:
        raise LabError(f"{quoted(source)} cannot be imported: {error}") from error
    return read_checkpoint(family, target)


def _name_of(source: str) -> str:
    """A name made of the last part of a path or a hub id."""
    last = PurePosixPath(source.replace("\\", "/")).name.removesuffix(".zip")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("._-")[:60]
    try:
        return check_name(name)
    except ValueError:
        raise FieldError("name", f"must be given: none can be made of {quoted(source)}.") from None


@contextmanager
def _opened(source: str, download: Path, progress: Progress | None) -> Iterator[_Open]:
    path = given_path("source", source)
    if path.is_dir():
        yield lambda name: (path / name).open("rb") if (path / name).is_file() else None
    elif path.is_file():
        with _open_zip(path) as opener:
            yield opener
    elif HUB_ID.fullmatch(source):
        if progress:
            progress(0.0, f"downloading {source}")
        download_files(source, download, [*_NEEDED], [RECORD], _MOST_BYTES)
        yield lambda name: (download / name).open("rb") if (download / name).is_file() else None
    else:
        raise FieldError(
            "source",
            f"must be a folder, a zip file, or a hub id such as owner/name; there is no {quoted(source)}.",
        )


@contextmanager
def _open_zip(path: Path) -> Iterator[_Open]:
    """Open the folder of a zip file that holds the adapter."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(names) > _MOST_ENTRIES:
                raise LabError(f"{path.name} has {len(names):,} entries; at most {_MOST_ENTRIES:,} are read.")
            for name in names:
                if name.startswith("/") or ".." in PurePosixPath(name).parts or "\\" in name or ":" in name:
                    raise LabError(
                        f"{path.name} has an entry that leads out of its folder ({name[:80]!r}), so nothing "
                        "of it is read."
                    )
            inside = {str(PurePosixPath(name)): name for name in names}
            if len(inside) < len(names):
                raise LabError(f"{path.name} has several entries of one name: make the zip file again.")
            found = [
                PurePosixPath(name).parent for name in names if PurePosixPath(name).name == ADAPTER_CONFIG
            ]
            if len(found) > 1:
                raise LabError(f"{path.name} holds {len(found)} adapters: make a zip file of each.")
            folder = found[0] if found else PurePosixPath()

            def open_file(name: str) -> IO[bytes] | None:
                entry = inside.get(str(folder / name))
                return archive.open(entry) if entry else None

            yield open_file
    except (LabError, OSError):
        raise
    except Exception as error:  # of the archive and of each compression; they share no base class
        why = str(error) or "it ends too early"
        raise LabError(f"{path.name} is not a zip file that can be read: {why}.") from error


def _copy(open_file: _Open, folder: Path) -> None:
    """Copy what belongs to the adapter, each file up to its limit.

    Raises:
        LabError: a file is missing or too large.
    """
    for name, most in _MOST_BYTES.items():
        source = open_file(name)
        if source is None:
            if name in _NEEDED:
                pickled = open_file(_PICKLE) is not None
                raise LabError(
                    f"Its weights are in {_PICKLE}, the format of old versions of PEFT, which can run code. "
                    f"Load it with PEFT and save it again, which writes {ADAPTER_WEIGHTS}."
                    if pickled
                    else f"There is no {name}, so this is no LoRA adapter as PEFT saves it."
                )
            continue
        size = 0
        with source, (folder / name).open("wb") as out:
            while chunk := source.read(_CHUNK):
                size += len(chunk)
                if size > most:
                    raise LabError(f"{name} is larger than {most // 1_000_000:,} MB, the most that is read.")
                out.write(chunk)
