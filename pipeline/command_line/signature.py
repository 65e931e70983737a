"""A verb is one typed function: its command line, form, API endpoint and job all come from its signature."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Interval
from docstring_parser import DocstringStyle, parse
from pydantic import TypeAdapter, ValidationError

from pipeline.command_line.commands import module_command
from pipeline.decimals import is_number
from pipeline.schema import FieldError, quoted

Verb = Callable[..., dict[str, Any]]
_MAX_TEXT = 2_000  # characters of a text argument


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a verb.

    Attributes:
        name: as in the signature, such as ``subset_size``.
        annotation: its type without ``None``, with the checks that pydantic makes.
        kind: the bare type: ``int``, ``float``, ``bool``, ``str`` or ``Path``.
        required: whether it has no default.
        default: None also where it is required.
        optional: whether None is allowed, which stands for "not set".
        help: from the docstring.
        choices: the allowed values; empty if the type alone decides.
        bounds: the lowest and highest number, None without bounds.
        by_name: whether it is keyword-only: endpoints take it after all others, so that the positions of the
            older parameters stay.
    """

    name: str
    annotation: Any
    kind: type
    required: bool
    default: Any
    optional: bool
    help: str
    choices: tuple[Any, ...] = ()
    bounds: tuple[float, float] | None = None
    by_name: bool = False

    @property
    def expected(self) -> str:
        """What a value must be, in words: ``a whole number from 1 to 100``."""
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        words = {int: "a whole number", float: "a number", bool: "true or false"}.get(self.kind, "text")
        return words + (f" from {self.bounds[0]:,} to {self.bounds[1]:,}" if self.bounds else "")

    def convert(self, value: Any) -> Any:
        """Return the value in the parameter's type.

        Raises:
            FieldError: it is empty, of another type, or out of bounds.
        """
        if value is None or (isinstance(value, str) and not value.strip()):
            if self.optional:
                return None
            raise FieldError(
                self.name,
                "must not be empty." if self.kind is str else f"is empty: it must be {self.expected}.",
            )
        if isinstance(value, bool) != (self.kind is bool):  # Python counts True as 1
            raise FieldError(self.name, f"must be {self.expected}, not {quoted(value)}.")
        if isinstance(value, str) and not (value.isprintable() and len(value) <= _MAX_TEXT):
            raise FieldError(self.name, f"must be one line of at most {_MAX_TEXT:,} printable characters.")
        if isinstance(value, str) and self.kind in (int, float) and not is_number(value):
            raise FieldError(self.name, f"must be {self.expected}, not {quoted(value)}.")
        if self.kind is str and isinstance(value, int | float):
            value = f"{value:g}" if abs(value) < 1e6 else repr(value)  # a size, such as 1000 or 1000.0
        try:
            return TypeAdapter(self.annotation).validate_python(value)
        except ValidationError as error:
            first = error.errors()[0]
            own_words = first.get("ctx", {}).get("error")  # of a check in the annotation
            problem = str(own_words or f"must be {self.expected}, not {quoted(value)}")
            raise FieldError(self.name, f"{problem}.") from error


def parameters(verb: Verb) -> list[Parameter]:
    """The verb's parameters, in the order of its signature."""
    hints = get_type_hints(verb, include_extras=True)
    docstring = parse(inspect.getdoc(verb) or "", DocstringStyle.GOOGLE)
    helps = {one.arg_name: " ".join((one.description or "").split()) for one in docstring.params}
    return [
        _parameter(parameter, hints[name], helps.get(name, ""))
        for name, parameter in inspect.signature(verb).parameters.items()
    ]


def job_parameters(verb: Verb) -> list[Parameter]:
    """The parameters that the submitter of a job sets: all but ``output`` and ``resume``."""
    return [parameter for parameter in parameters(verb) if parameter.name not in ("resume", "output")]


def summary(verb: Verb) -> str:
    """The first sentence of the verb's docstring."""
    return parse(inspect.getdoc(verb) or "", DocstringStyle.GOOGLE).short_description or ""


def validate(verb: Verb, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return every argument in its parameter's type; one that is not given has its default.

    An argument that is given and empty is never replaced by the default.

    Raises:
        FieldError: an argument is missing, unknown, or not what its parameter takes.
    """
    known = {parameter.name: parameter for parameter in parameters(verb)}
    for name in arguments:
        if name not in known:
            raise FieldError(name, f"is not an argument of {verb.__name__}.")
    values = {}
    for name, parameter in known.items():
        if name in arguments:
            values[name] = parameter.convert(arguments[name])
        elif parameter.required:
            raise FieldError(name, f"is missing; it must be {parameter.expected}.")
        else:
            values[name] = parameter.default
    return values


def command(verb: Verb, arguments: Mapping[str, Any]) -> list[str]:
    """The command that runs the verb with these arguments; those that are its defaults are left out."""
    defaults = {parameter.name: parameter.default for parameter in parameters(verb)}
    others = {name: value for name, value in arguments.items() if value != defaults[name]}
    return module_command(module_name(verb), others)


def module_name(verb: Verb) -> str:
    """Name of the verb's module, also where that runs as ``__main__``."""
    spec = sys.modules[verb.__module__].__spec__
    return (spec.name if spec else verb.__module__).removesuffix(".__main__")


def _parameter(parameter: inspect.Parameter, hint: Any, text: str) -> Parameter:
    bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    options = get_args(bare) if get_origin(bare) in (Union, types.UnionType) else (hint,)
    annotation = next(option for option in options if option is not types.NoneType)
    plain, *checks = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    choices = get_args(plain) if get_origin(plain) is Literal else ()
    required = parameter.default is inspect.Parameter.empty
    bounds = next(((one.ge, one.le) for one in checks if isinstance(one, Interval)), None)
    return Parameter(
        name=parameter.name,
        annotation=annotation,
        kind=type(choices[0]) if choices else plain,
        required=required,
        default=None if required else parameter.default,
        optional=types.NoneType in options,
        help=text,
        choices=choices,
        bounds=bounds,  # type: ignore[arg-type]
        by_name=parameter.kind is inspect.Parameter.KEYWORD_ONLY,
    )
