"""The verbs as jobs see them: a kind of job names a module whose function of that name is the verb.

Its signature says what its form asks for, what its arguments may be, and what command runs it.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args, get_origin, get_type_hints

from pipeline.schema import LabError
from training.command_line import Verb, argument_help, parser_for

VERBS: Mapping[str, str] = {
    "finetune": "training.finetune",
    "evaluate": "training.evaluate",
    "sweep": "training.sweep",
}
ROOT = Path(__file__).resolve().parents[2]
"""The repository: verbs run in it."""


@dataclass(frozen=True, slots=True)
class Field:
    """One parameter of a verb, for a form. ``choices`` is empty where anything goes."""

    name: str
    kind: type
    default: Any
    required: bool
    help: str
    choices: tuple[Any, ...] = ()


def load(kind: str, verbs: Mapping[str, str] = VERBS) -> Verb:
    """The verb's function; raises ``LabError`` that lists the kinds there are."""
    if kind not in verbs:
        raise LabError(f"There is no kind of job {kind!r}. There are: {', '.join(verbs)}.")
    verb: Verb = getattr(importlib.import_module(verbs[kind]), kind)
    return verb


def form_fields(verb: Verb) -> list[Field]:
    """What to ask for, in the signature's order; where to write and whether to resume is not asked."""
    hints, helps = get_type_hints(verb), argument_help(inspect.getdoc(verb) or "")
    found = []
    for name, parameter in inspect.signature(verb).parameters.items():
        if name in ("resume", "output"):
            continue
        required = parameter.default is inspect.Parameter.empty
        choices = get_args(hints[name]) if get_origin(hints[name]) is Literal else ()
        options = get_args(hints[name]) or (hints[name],)
        kind = type(choices[0]) if choices else next(one for one in options if one is not type(None))
        default = None if required else parameter.default
        found.append(Field(name, kind, default, required, helps.get(name, ""), choices))
    return found


def can_resume(verb: Verb) -> bool:
    """Whether the verb goes on from its last save when asked to."""
    return "resume" in inspect.signature(verb).parameters


def clean(verb: Verb, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as the verb gets them, with its defaults, read by the very parser of its command line.

    Raises:
        LabError: one is missing, unknown or makes no sense, in the parser's words.
    """
    parser = parser_for(verb)

    def complain(message: str) -> NoReturn:
        raise LabError(message.replace("argument --", ""))

    parser.error = complain  # type: ignore[method-assign]
    unknown = given.keys() - inspect.signature(verb).parameters.keys()
    if unknown:
        raise LabError(f"{verb.__name__} knows no {', '.join(sorted(unknown))}.")
    return vars(parser.parse_args(flags(given)))


def flags(arguments: Mapping[str, Any]) -> list[str]:
    """The arguments as a command line; what is None, False or empty is left out."""
    line = []
    for name, value in arguments.items():
        if value is None or value is False or value == "":
            continue
        flag = "--" + name.replace("_", "-")
        line += [flag] if value is True else [f"{flag}={value}"]
    return line


def command(kind: str, arguments: Mapping[str, Any], verbs: Mapping[str, str] = VERBS) -> list[str]:
    """What runs the verb with these arguments: those that are not its defaults."""
    known = inspect.signature(load(kind, verbs)).parameters
    wanted = {name: value for name, value in arguments.items() if value != known[name].default}
    return [sys.executable, "-m", verbs[kind], *flags(wanted)]
