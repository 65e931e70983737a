"""JSON on disk, checked when it is read."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from pipeline.schema import LabError

Valid = TypeVar("Valid")


def parse_object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        ValueError: it is no JSON, or another value than an object.
    """
    try:
        raw = json.loads(data.decode("utf-8-sig"))  # some editors put a byte order mark in front
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(raw, dict):
        raise ValueError("it is no JSON object")
    return raw


def validate(kind: TypeAdapter[Valid], data: bytes) -> Valid:
    """Parse JSON as a type; numbers are not read from text, and unknown fields are left out.

    Raises:
        ValueError: the first fault, with its place, in words.
    """
    try:
        return kind.validate_json(data, strict=True)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise ValueError(f"{place}: {fault['msg']}" if place else fault["msg"]) from None


def check_format(what: str, stored: object, known: int) -> None:
    """Raise ``LabError`` if a file has a format that this version cannot read.

    Args:
        what: the file, as the first words of the message.
        stored: its format number.
        known: the newest format that this version reads, and the one that it writes.
    """
    if not isinstance(stored, int) or isinstance(stored, bool) or stored < 1:
        raise LabError(f"{what} has no valid format number: {str(stored)[:40]!r}.")
    if stored > known:
        raise LabError(
            f"{what} was written by a newer version of Research Code Lab (format {stored}; this version "
            f"reads up to {known}). Update Research Code Lab to read it."
        )
