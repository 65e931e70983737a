"""Whether the files of a model are whole, as far as it can be seen without loading it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.json_files import parse_object


def read_json_object(file: Path) -> dict[str, Any]:
    """Read a JSON file; a byte order mark in front, as some editors write it, is skipped.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON, or not an object.
    """
    try:
        return parse_object(file.read_bytes())
    except ValueError as error:
        raise ValueError(f"{file.name} is unreadable: {error}") from error


def check_weights(file: Path) -> None:
    """Check that a safetensors file is as long as its header says.

    Raises:
        OSError: it cannot be read.
        ValueError: it is cut off, or no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy"):
            pass
    except SafetensorError as error:
        raise ValueError(f"{file.name} is cut off or no safetensors file: {error}") from error


@contextmanager
def writing_weights() -> Iterator[None]:
    """Raise ``OSError`` where safetensors cannot write, as on a full disk: its own error is none."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise OSError(str(error)) from error


def check_model(folder: Path) -> dict[str, Any]:
    """Check the configuration and the weights of a whole model, and return its ``config.json``.

    Raises:
        OSError: a file is missing or cannot be read.
        ValueError: a file is damaged.
    """
    config = read_json_object(folder / "config.json")
    index = folder / "model.safetensors.index.json"
    names = _files_of(read_json_object(index)) if index.is_file() else ["model.safetensors"]
    for name in names:
        check_weights(folder / name)
    if (folder / "generation_config.json").is_file():
        read_json_object(folder / "generation_config.json")
    return config


def _files_of(index: dict[str, Any]) -> list[str]:
    """The files that an index of weights names."""
    files = index.get("weight_map")
    if not isinstance(files, dict) or not files:
        raise ValueError("model.safetensors.index.json names no files")
    for name in files.values():
        if not isinstance(name, str) or Path(name).name != name:
            raise ValueError(f"model.safetensors.index.json names {name!r}, which is no file of this folder")
    return sorted(set(files.values()))
