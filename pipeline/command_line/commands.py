"""The command line of a call: one of our modules as a process, or as text for a person."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def module_command(module: str, arguments: Mapping[str, Any]) -> list[str]:
    """The command that runs a module with these arguments.

    Args:
        module: such as ``training.evaluate``.
        arguments: by their names in the signature. None and False stand for "not set".
    """
    flags = []
    for name, value in arguments.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            flags.append(flag)
        elif value is not None and value is not False:
            flags.append(f"{flag}={str(value).removesuffix('.0') if isinstance(value, float) else value}")
    return [sys.executable, "-m", module, *flags]


def command_text(command: Sequence[str]) -> str:
    """A command as a user would type it: ``python``, not the path that it has on this machine."""
    return shlex.join(["python", *command[1:]]) if command else ""
