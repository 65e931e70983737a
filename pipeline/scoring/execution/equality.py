"""Whether two encoded values (``values``) are equal. Printed text is never compared.

When two values are equal:
- Numbers, when they differ by at most ``atol + rtol * |expected|``; NaN equals NaN; 2 equals 2.0. A boolean
  equals only the same boolean. A numpy scalar counts as the Python number.
- Arrays and tensors, when both are arrays or both are tensors of the same shape and kind (boolean, integer,
  floating point, complex) and their elements are equal. Widths may differ: float32 equals float64.
- Lists, tuples, dictionaries and sets, as in Python: by their elements, a list never a tuple, dictionaries
  and sets in any order. A subclass counts as its builtin base, an iterator as the values it gives.
- Other objects, by the name of their class and their public attributes, modules by their parameters, buffers
  and submodules too; those without attributes, by what the pickle protocol would store.
- Functions and classes that a module exports, by their names. Other functions have no value to compare and
  count as equal.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

from pipeline.scoring.execution.values import Encoded, sort_key

_MOST_UNMATCHED = 300  # elements of a set; pairing them takes the square of it

# torch.testing's tolerances for half precision; the others are wide enough for every spec.
_TOLERANCES = {"float16": 1e-3, "bfloat16": 1.6e-2, "float8_e4m3fn": 0.125, "float8_e5m2": 0.25}


def equal(expected: Encoded, got: Encoded, rtol: float, atol: float) -> bool:
    """Whether two encoded values are equal, by the module's rules."""
    return difference(expected, got, rtol, atol) is None


def difference(expected: Encoded, got: Encoded, rtol: float, atol: float) -> str | None:
    """Describe the first difference of two encoded values; None if they are equal.

    Args:
        expected: the reference's value.
        got: the candidate's. It may be anything that JSON can hold.
        rtol: relative tolerance for floating point values.
        atol: absolute tolerance.
    """
    try:
        return _Comparison(rtol, atol).compare(expected, got, "")
    except (ValueError, TypeError, IndexError, AttributeError, KeyError, OverflowError, RecursionError):
        return "a value that cannot be read"


class _Comparison:
    """One comparison with its tolerances. ``where`` is the path to the place, such as ``[2]['mean']``."""

    def __init__(self, rtol: float, atol: float) -> None:
        self.rtol = rtol
        self.atol = atol

    def compare(self, expected: Encoded, got: Encoded, where: str) -> str | None:
        one, other = _number(expected), _number(got)
        if one is not None and other is not None:
            return None if self._close(one, other) else _mismatch(expected, got, where)
        if not isinstance(expected, list) or not isinstance(got, list):
            same = type(expected) is type(got) and expected == got
            return None if same else _mismatch(expected, got, where)
        if expected[0] != got[0]:
            return _mismatch(expected, got, where)
        kind = expected[0]
        if kind in ("list", "tuple", "iterator"):
            return self._sequence(expected, got, where)
        if kind == "set":
            return self._set(expected, got, where)
        if kind == "dict":
            return self._dict(expected, got, where)
        if kind in ("array", "tensor"):
            return self._array(expected, got, where)
        if kind == "object":
            return self._object(expected, got, where)
        if kind in ("exception", "method", "stored") and expected[1] == got[1]:
            return self.compare(expected[2], got[2], where)
        return None if expected == got else _mismatch(expected, got, where)

    def _close(self, expected: complex, got: complex) -> bool:
        if expected == got:
            return True
        if isinstance(expected, int) and isinstance(got, int):
            return False
        if expected != expected or got != got:
            return expected != expected and got != got
        if abs(expected) == float("inf") or abs(got) == float("inf"):
            return False
        return abs(expected - got) <= self.atol + self.rtol * abs(expected)

    def _sequence(self, expected: Encoded, got: Encoded, where: str) -> str | None:
        if len(expected[1]) != len(got[1]):
            return f"{where or 'the value'} has {len(got[1]):,} elements instead of {len(expected[1]):,}"
        for at, (one, other) in enumerate(zip(expected[1], got[1], strict=True)):
            if mismatch := self.compare(one, other, f"{where}[{at}]"):
                return mismatch
        return None if expected[2:] == got[2:] else _mismatch(expected, got, where)

    def _set(self, expected: Encoded, got: Encoded, where: str) -> str | None:
        ours, theirs = ({sort_key(item): item for item in side[1]} for side in (expected, got))
        missing = [item for key, item in ours.items() if key not in theirs]
        left = [item for key, item in theirs.items() if key not in ours]
        if len(missing) != len(left) or len(missing) > _MOST_UNMATCHED:
            return _mismatch(expected, got, where)
        for item in missing:  # what is equal within the tolerance only
            at = next((i for i, other in enumerate(left) if self.compare(item, other, "") is None), None)
            if at is None:
                return _mismatch(expected, got, where)
            del left[at]
        return None

    def _dict(self, expected: Encoded, got: Encoded, where: str) -> str | None:
        there = {sort_key(key): item for key, item in got[1]}
        if len(expected[1]) != len(there):
            return f"{where or 'the value'} has {len(there):,} keys instead of {len(expected[1]):,}"
        for key, item in expected[1]:
            if sort_key(key) not in there:
                return f"{where or 'the value'} lacks the key {short(key)}"
            if mismatch := self.compare(item, there[sort_key(key)], f"{where}[{short(key)}]"):
                return mismatch
        return None

    def _object(self, expected: Encoded, got: Encoded, where: str) -> str | None:
        if expected[1] != got[1]:
            return _mismatch(expected, got, where)
        there = dict(got[2])
        for name, item in expected[2]:
            if name not in there:
                return f"{where or 'the value'} lacks the attribute {name}"
            if mismatch := self.compare(item, there[name], f"{where}.{name}"):
                return mismatch
        return None

    def _array(self, expected: Encoded, got: Encoded, where: str) -> str | None:
        import numpy as np

        if expected[2] != got[2]:
            return f"{where or 'the value'} has the shape {tuple(got[2])} instead of {tuple(expected[2])}"
        if not expected[3] or not got[3]:  # no numbers: text, objects, or a tensor without data
            if expected[1] != got[1]:
                return _mismatch(expected, got, where)
            return self._sequence(["list", expected[4]], ["list", got[4]], where)
        one, other = (np.frombuffer(base64.b64decode(a[4]), a[3]).reshape(a[2]) for a in (expected, got))
        kinds = [_kind(side.dtype.kind) for side in (one, other)]
        if kinds[0] != kinds[1]:
            return f"{where or 'the value'} has elements of {got[1]} instead of {expected[1]}"
        if kinds[0] in ("boolean", "integer"):
            wrong = one != other
        else:
            half = max(_TOLERANCES.get(side[1], 0.0) for side in (expected, got))
            wide = [side.astype(np.result_type(side, np.float64)) for side in (one, other)]
            wrong = ~np.isclose(wide[1], wide[0], max(self.rtol, half), max(self.atol, half), equal_nan=True)
        if not wrong.any():
            return None
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        place = f"{where}[{', '.join(map(str, at))}]" if at else where
        return _said(str(one[at].item()), str(other[at].item()), place)


def _kind(letter: str) -> str:
    return {"b": "boolean", "i": "integer", "u": "integer", "f": "float", "c": "complex"}[letter]


def _number(value: Encoded) -> complex | None:
    """The number that an encoding stands for; None for booleans and everything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if isinstance(value, list) and value[0] == "int":
        return int(value[1], 16)
    if isinstance(value, list) and value[0] == "complex":
        return complex(value[1], value[2])
    return None


def _mismatch(expected: Encoded, got: Encoded, where: str) -> str:
    return _said(short(expected), short(got), where)


def _said(expected: str, got: str, where: str) -> str:
    return f"{where or 'the value'} is {got} instead of {expected}"


def short(value: Encoded, most: int = 80) -> str:
    """An encoded value in a few characters, for people."""
    try:
        text = _text(value)
    except (ValueError, TypeError, IndexError, RecursionError):
        text = "a value that cannot be read"
    return text if len(text) <= most else text[: most - 1] + "…"


def _text(value: Encoded) -> str:
    if not isinstance(value, list) or not value:
        return repr(value)
    kind, *rest = value
    if kind in ("tensor", "array"):
        return f"{kind} of {rest[0]}, shape {tuple(rest[1])}{_elements(rest)}"
    if kind in ("list", "tuple", "set", "iterator") and isinstance(rest[0], list):
        brackets = {"list": "[]", "tuple": "()", "set": "{}", "iterator": "<>"}[kind]
        return brackets[0] + ", ".join(_text(item) for item in rest[0][:20]) + brackets[1]
    if kind == "dict":
        return "{" + ", ".join(f"{_text(key)}: {_text(item)}" for key, item in rest[0][:20]) + "}"
    if kind == "object":
        return f"{rest[0]}({', '.join(f'{name}={_text(item)}' for name, item in rest[1][:10])})"
    if kind == "int":
        return str(rest[0])
    return f"{kind} {' '.join(map(str, rest))}".strip()


def _elements(array: Sequence[Encoded]) -> str:
    """The first elements of an array, for its text."""
    import numpy as np

    if not array[2]:
        return ""
    numbers = np.frombuffer(base64.b64decode(array[3]), array[2])[:8]
    return ": " + ", ".join(
        f"{number:.6g}" if number.dtype.kind == "f" else str(number) for number in numbers
    )
