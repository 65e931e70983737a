"""A verb is one typed function: its signature is its command line, its form and its job.

``run(verb)`` parses the arguments that the signature declares, calls the function, and prints its result
as one JSON line on stdout. Progress and logs go to stderr. Exit code 0, 1 for a failure, 2 for bad arguments.
"""

from __future__ import annotations

import argparse
import gc
import inspect
import json
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pipeline.schema import LabError

Verb = Callable[..., dict[str, Any]]


def parser_for(verb: Verb) -> argparse.ArgumentParser:
    """The command line that the verb's signature and Google-style docstring describe."""
    doc = inspect.getdoc(verb) or ""
    parser = argparse.ArgumentParser(
        prog=f"python -m {verb.__module__}", description=doc.partition("\n\n")[0], allow_abbrev=False
    )
    helps = argument_help(doc)
    hints = get_type_hints(verb)
    for name, parameter in inspect.signature(verb).parameters.items():
        flag = "--" + name.replace("_", "-")
        text = helps.get(name, "").replace("%", "%%")
        required = parameter.default is inspect.Parameter.empty
        kind = _plain(hints[name])
        if kind is bool:
            parser.add_argument(flag, action="store_true", help=text)
        elif get_origin(kind) is Literal:
            parser.add_argument(
                flag,
                choices=get_args(kind),
                default=None if required else parameter.default,
                required=required,
                help=text,
            )
        else:
            shown = "" if required or parameter.default is None else f" (default: {parameter.default})"
            parser.add_argument(
                flag,
                type=kind,
                default=None if required else parameter.default,
                required=required,
                help=text + shown,
            )
    return parser


def argument_help(doc: str) -> dict[str, str]:
    """The ``Args:`` section of a Google-style docstring, by argument name."""
    found: dict[str, str] = {}
    _, _, section = doc.partition("Args:\n")
    name = ""
    for line in section.splitlines():
        if not line.strip() or not line.startswith(" "):
            break
        if line.startswith("    ") and not line.startswith("     "):
            name, _, text = line.strip().partition(": ")
            found[name] = text
        else:
            found[name] += " " + line.strip()
    return found


def run(verb: Verb, argv: Sequence[str] | None = None) -> int:
    """Parse, call, print the result as one JSON line; returns the exit code."""
    arguments = vars(parser_for(verb).parse_args(argv))
    try:
        result = verb(**arguments)
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 1
    finally:
        gc.freeze()  # or Python looks through all that is loaded as it ends, for two seconds
    print(json.dumps(result, ensure_ascii=False), flush=True)
    return 0


def _plain(hint: Any) -> Any:
    """``str`` out of ``str | None``."""
    if get_origin(hint) in (Union, types.UnionType):
        return next(kind for kind in get_args(hint) if kind is not type(None))
    return hint
