"""Versions of the packages that numbers depend on, for run and checkpoint records."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

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
    """Python's and each installed package's version."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
