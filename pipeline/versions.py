"""Versions of the packages that numbers depend on, for run and checkpoint records."""

from __future__ import annotations

import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

from pipeline import __version__

_PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "trl",
    "unsloth",
    "bitsandbytes",
    "datasets",
    "code-bert-score",
    "openai",
)


def package_versions() -> dict[str, str]:
    """Return the versions of this project, of Python and of each installed package."""
    versions = {"research-code-lab": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions
