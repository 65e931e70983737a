"""How a typed function becomes an endpoint: its arguments are converted, its docstring describes it."""

import inspect
import json
import math
import types
from collections.abc import Callable, Iterator
from functools import cache, wraps
from typing import Any, Literal, Union, get_args, get_origin

import gradio as gr
from gradio.utils import get_function_description
from pydantic import TypeAdapter, ValidationError

from pipeline.decimals import is_number
from pipeline.schema import FieldError, quoted

_LARGEST = 2**53
"""Larger numbers are not exact in every JSON reader."""
_KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", list: "a list"}


def endpoint(function: Callable[..., Any]) -> Callable[..., Any]:
    """Convert the arguments to the types of the signature; a generator streams what it yields."""
    signature = inspect.signature(function)
    kinds = {name: each.annotation for name, each in signature.parameters.items() if name != "self"}

    def converted(*args: Any, **kwargs: Any) -> dict[str, Any]:
        arguments = signature.bind(*args, **kwargs).arguments
        known = [name for name in kinds if name in arguments]
        return {**arguments, **{name: convert(name, arguments[name], kinds[name]) for name in known}}

    @wraps(function)
    def answer(*args: Any, **kwargs: Any) -> Any:
        return function(**converted(*args, **kwargs))

    @wraps(function)
    def stream(*args: Any, **kwargs: Any) -> Iterator[Any]:
        yield from function(**converted(*args, **kwargs))

    if not inspect.isgeneratorfunction(function):
        return answer
    yielded = get_args(signature.return_annotation)[0]
    stream.__signature__ = signature.replace(return_annotation=yielded)  # type: ignore[attr-defined]
    return stream


def convert(name: str, value: Any, kind: Any) -> Any:
    """Return a parameter's value as its type: ``8`` for ``"8"`` and ``8.0`` where that is ``int``.

    Raises:
        FieldError: it cannot be read as one. A boolean is no number, and neither is NaN or infinity.
    """
    problem = FieldError(name, f"must be {_in_words(kind)}, not {quoted(value)}.")
    if isinstance(value, bool) and kind is not bool:
        raise problem
    try:
        converted = _adapter(kind).validate_python(value)
    except ValidationError as error:
        raise problem from error
    if isinstance(converted, bool) or not isinstance(converted, int | float):
        return converted
    if not math.isfinite(converted) or (isinstance(value, str) and not is_number(value)):
        raise problem
    if abs(converted) > _LARGEST:
        raise FieldError(name, f"must be from {-_LARGEST:,} to {_LARGEST:,}, not {quoted(value)}.")
    return converted


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _in_words(kind: Any) -> str:
    origin, options = get_origin(kind), get_args(kind)
    if origin is Literal:
        listed = ", ".join(json.dumps(option) for option in options)
        return f"one of {listed}" if len(options) > 1 else listed
    if origin in (Union, types.UnionType):
        if all(get_origin(option) is Literal for option in options):
            return _in_words(Literal[tuple(each for option in options for each in get_args(option))])
        return " or ".join("null" if option is type(None) else _in_words(option) for option in options)
    if origin is list and options[0] in _KINDS:
        return f"a list of {_KINDS[options[0]].removeprefix('a ')}s"
    return _KINDS.get(origin or kind, "an object")


def publish(page: gr.Blocks, function: Callable[..., Any], **options: Any) -> None:
    """Make a typed function an endpoint of its name, its parameters described by its docstring.

    Call it before any other event of the page is defined: a callback of the same name would take the
    endpoint's.
    """
    about, parameters, _ = get_function_description(function)
    published = gr.api(function, api_name=function.__name__, api_description=about, **options)
    for component, text in zip(published["inputs"], parameters.values(), strict=True):
        page.blocks[component].api_info()["additional_description"] = text  # type: ignore[union-attr]
