"""Run a verb from the command line that its signature describes.

The result is printed as one JSON line on stdout; progress and logs go to stderr. The exit code is 0, 1 for a
failure, 2 for bad arguments.
"""

from __future__ import annotations

import functools
import gc
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tyro

from pipeline.command_line.signature import Verb, module_name, validate
from pipeline.network import prepare_environment
from pipeline.schema import FieldError, LabError
from pipeline.sendable import MEASURED_DIGITS, sendable

_STYLE = (tyro.conf.FlagCreatePairsOff,)  # --resume, and no --no-resume
_Call = tuple[Verb, dict[str, Any]]


def run_verb(verb: Verb, argv: Sequence[str] | None = None) -> int:
    """Parse the arguments, call the verb, print its result; returns the exit code."""
    prog = f"python -m {module_name(verb)}"
    return _call(tyro.cli(_unstarted(verb), prog=prog, args=argv, config=_STYLE))


def run_subcommand(
    prog: str, about: str, verbs: Mapping[str, Verb], argv: Sequence[str] | None = None
) -> int:
    """The same for the verb that the first argument names."""
    calls = {name: _unstarted(verb) for name, verb in verbs.items()}
    chosen: _Call = tyro.extras.subcommand_cli_from_dict(
        calls, prog=prog, description=about, args=argv, config=_STYLE
    )
    return _call(chosen)


def _unstarted(verb: Verb) -> Callable[..., _Call]:
    """A function with the verb's signature that only collects the arguments."""

    @functools.wraps(verb)
    def collect(**arguments: Any) -> _Call:
        return verb, arguments

    return collect


def _call(call: _Call) -> int:
    verb, arguments = call
    prepare_environment()
    try:
        result = verb(**validate(verb, arguments))
    except FieldError as error:
        flag = "--" + error.field.replace("_", "-")
        print(f"error: {flag} {error.problem}", file=sys.stderr)
        return 2
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 1
    finally:
        gc.freeze()  # or Python searches all that is loaded for cycles as it ends, for two seconds
    if result:
        print(json.dumps(sendable(result, MEASURED_DIGITS), ensure_ascii=False), flush=True)
    return 0
