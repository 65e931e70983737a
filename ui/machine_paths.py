"""The folders of the machine in what strangers are sent: cut short, as they tell of its owner."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.settings import ROOT, Settings

_FEWEST = (
    3  # parts of a path that tells something: /home/NAME does, and /data, which texts may hold, does not
)


def machine_paths(settings: Settings) -> re.Pattern[str]:
    """A pattern of the folders that messages can hold, the deepest first."""
    places = (sys.prefix, tempfile.gettempdir())
    folders = [settings.data_dir, settings.assets, ROOT, Path.home(), *map(Path, places)]
    known = {path for folder in folders for path in (folder, folder.resolve()) if len(path.parts) >= _FEWEST}
    return re.compile("|".join(sorted(map(re.escape, map(str, known)), key=len, reverse=True)) or r"(?!)")


def without_paths(value: Any, paths: re.Pattern[str]) -> Any:
    """The value with ``…`` for each of the folders, in all of its texts."""
    if isinstance(value, str):
        return paths.sub("…", value)
    if isinstance(value, Mapping):
        return {key: without_paths(each, paths) for key, each in value.items()}
    return [without_paths(each, paths) for each in value] if isinstance(value, list | tuple) else value
