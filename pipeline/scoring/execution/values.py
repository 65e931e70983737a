"""Python values as JSON data.

A candidate's process encodes what its code returned; the process that compares (``equality``) knows only the
encoding, so no method of the candidate's objects runs there. None, booleans, integers below 2**53, floats and
strings stand for themselves; everything else is a list that starts with its kind.
"""

from __future__ import annotations

import base64
import contextlib
import copyreg
import enum
import itertools
import json
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

Encoded = Any
"""JSON data that ``encode`` wrote."""

_MOST_VALUES = 50_000
_MOST_BYTES = 8 << 20
_MOST_FROM_ITERATOR = 1_000
_DEEPEST = 60
_EXACT = 2**53
_PLAIN_KINDS = frozenset({"int", "complex", "bytes", "list", "tuple", "set", "dict", "range"})


class TooLargeError(Exception):
    """The value is too large or too deep to compare."""


# Writing


def encode(value: Any) -> Encoded:
    """A value as JSON data.

    Raises:
        TooLargeError: it has too many parts, or too large ones.
        Exception: of any type, from the value's own methods.
    """
    return _Encoder().encode(value)


class _Encoder:
    """Counts what it wrote, and knows which objects it is inside of."""

    def __init__(self) -> None:
        self.values = 0
        self.bytes = 0
        self.open: list[int] = []

    def encode(self, value: Any) -> Encoded:
        self.values += 1
        if self.values > _MOST_VALUES or len(self.open) > _DEEPEST:
            raise TooLargeError
        if value is None or value is True or value is False:
            return value
        if isinstance(value, enum.Enum):
            return ["enum", type(value).__qualname__, value.name or self.encode(value.value)]
        for kind, write in _BUILTIN:
            if isinstance(value, kind):
                return self._inside(value, write)
        return self._inside(value, _Encoder._foreign)

    def _inside(self, value: Any, write: Callable[[_Encoder, Any], Encoded]) -> Encoded:
        if id(value) in self.open:
            return ["cycle", len(self.open) - self.open.index(id(value))]
        self.open.append(id(value))
        try:
            return write(self, value)
        finally:
            self.open.pop()

    def _take(self, size: int) -> None:
        self.bytes += size
        if self.bytes > _MOST_BYTES:
            raise TooLargeError

    def _integer(self, value: int) -> Encoded:
        value = int(value)
        self._take(value.bit_length() // 8)
        return value if abs(value) < _EXACT else ["int", hex(value)]

    def _float(self, value: float) -> Encoded:
        return float(value)

    def _complex(self, value: complex) -> Encoded:
        return ["complex", value.real, value.imag]

    def _string(self, value: str) -> Encoded:
        self._take(len(value))
        return str.__str__(value)

    def _bytes(self, value: bytes | bytearray | memoryview) -> Encoded:
        self._take(len(value))
        return ["bytes", base64.b64encode(value).decode()]

    def _list(self, value: list[Any]) -> Encoded:
        return ["list", [self.encode(item) for item in value]]

    def _tuple(self, value: tuple[Any, ...]) -> Encoded:
        return ["tuple", [self.encode(item) for item in value]]

    def _set(self, value: set[Any] | frozenset[Any]) -> Encoded:
        return ["set", sorted((self.encode(item) for item in value), key=sort_key)]

    def _dict(self, value: dict[Any, Any] | types.MappingProxyType[Any, Any]) -> Encoded:
        return ["dict", [[self.encode(key), self.encode(item)] for key, item in value.items()]]

    def _range(self, value: range) -> Encoded:
        return ["range", value.start, value.stop, value.step]

    def _iterator(self, value: Iterator[Any]) -> Encoded:
        items: list[Encoded] = []
        try:
            for item in itertools.islice(value, _MOST_FROM_ITERATOR):
                items.append(self.encode(item))
        except TooLargeError:
            raise
        except Exception as error:
            return ["iterator", items, type(error).__name__]
        return ["iterator", items, ""]

    def _exception(self, value: BaseException) -> Encoded:
        return ["exception", type(value).__qualname__, self.encode(value.args)]

    def _named(self, value: Any) -> Encoded:
        """Encode a class or function by its name if that can be looked up; a method with its object."""
        module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
        named: Any = sys.modules.get(module or "")
        for part in name.split("."):
            named = getattr(named, part, None)
        if named is value:
            return ["name", f"{module}.{name}"]
        if (owner := getattr(value, "__self__", None)) is not None:
            return ["method", value.__name__, self.encode(owner)]
        if isinstance(value, types.FunctionType):  # written by the code under test, with a name of its choice
            return ["function"]
        return ["class" if isinstance(value, type) else "function", name]

    def _module_object(self, value: types.ModuleType) -> Encoded:
        return ["name", value.__name__]

    def _foreign(self, value: Any) -> Encoded:
        numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
        if torch and isinstance(value, torch.Tensor):
            return self._tensor(value, torch)
        if numpy and isinstance(value, numpy.ndarray):
            return self._array(value)
        if numpy and isinstance(value, numpy.number | numpy.bool_):
            return self.encode(_SCALARS.get(value.dtype.kind, type(value).item)(value))
        if callable(value) and hasattr(value, "__qualname__"):
            return self._named(value)
        if hasattr(type(value), "__next__"):
            return self._iterator(value)
        if attributes := sorted(_attributes(value).items()):
            parts = [[name, self.encode(item)] for name, item in attributes]
            return ["object", type(value).__qualname__, parts]
        return self._stored(value)

    def _tensor(self, value: Any, torch: Any) -> Encoded:
        kind = str(value.dtype).removeprefix("torch.")
        if value.is_meta:
            return ["tensor", kind, list(value.shape), "", ""]
        if value.is_quantized:
            value = value.dequantize()
        value = value.detach().to_dense() if value.layout != torch.strided else value.detach()
        if value.dtype.is_floating_point and value.dtype not in (torch.float16, torch.float32, torch.float64):
            value = value.float()  # numpy has no bfloat16
        array = value.resolve_conj().resolve_neg().cpu().numpy()
        return ["tensor", kind, list(array.shape), *self._numbers(array)]

    def _array(self, value: Any) -> Encoded:
        kind, shape = value.dtype.name, list(value.shape)
        if value.dtype.kind in "Mm":
            value = value.view("int64")
        if value.dtype.kind in "biufc" and value.dtype.itemsize <= 16:
            return ["array", kind, shape, *self._numbers(value)]
        return ["array", value.dtype.kind, shape, "", [self.encode(item) for item in value.ravel().tolist()]]

    def _numbers(self, array: Any) -> tuple[str, str]:
        self._take(array.nbytes)
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        return array.dtype.str, base64.b64encode(array.tobytes()).decode()

    def _stored(self, value: Any) -> Encoded:
        """What pickle would store of it: dates, paths, patterns, devices, data types."""
        try:
            own = copyreg.dispatch_table.get(type(value))
            reduced = own(value) if own else value.__reduce_ex__(2)
        except TypeError:
            return ["opaque", type(value).__qualname__]
        parts = reduced if isinstance(reduced, str) else reduced[1:]
        return ["stored", type(value).__qualname__, self.encode(parts)]


_SCALARS: dict[str, Callable[[Any], Any]] = {"b": bool, "i": int, "u": int, "f": float, "c": complex}
_BUILTIN: tuple[tuple[Any, Callable[[_Encoder, Any], Encoded]], ...] = (
    (int, _Encoder._integer),
    (float, _Encoder._float),
    (complex, _Encoder._complex),
    (str, _Encoder._string),
    ((bytes, bytearray, memoryview), _Encoder._bytes),
    (list, _Encoder._list),
    (tuple, _Encoder._tuple),
    ((set, frozenset), _Encoder._set),
    ((dict, types.MappingProxyType), _Encoder._dict),
    (range, _Encoder._range),
    (BaseException, _Encoder._exception),
    ((type, types.FunctionType, types.BuiltinFunctionType, types.MethodType), _Encoder._named),
    (types.ModuleType, _Encoder._module_object),
)


def _slots(value: Any) -> list[str]:
    """Names in ``__slots__`` of an object's classes."""
    names: list[str] = []
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        names += [slots] if isinstance(slots, str) else slots
    return names


def _attributes(value: Any) -> dict[str, Any]:
    """An object's public attributes; a torch module's parameters, buffers and submodules among them."""
    attributes = dict(getattr(value, "__dict__", {}))
    for name in _slots(value):
        with contextlib.suppress(AttributeError):
            attributes[name] = getattr(value, name)
    torch = sys.modules.get("torch")
    if torch and isinstance(value, torch.nn.Module):
        for part in ("_parameters", "_buffers", "_modules"):
            attributes.update(attributes.get(part) or {})
    public = (name for name in attributes if isinstance(name, str) and not name.startswith("_"))
    return {name: attributes[name] for name in public}


# Reading back, for a program of tests, which needs Python values


def decode(value: Encoded) -> Any:
    """Return the Python value if it consists of builtin types only.

    Raises:
        ValueError: it has another kind, or is no encoding.
    """
    if not isinstance(value, list):
        return value
    kind, *rest = value
    if kind == "iterator":
        return iter([decode(item) for item in rest[0]])
    if kind not in _PLAIN_KINDS:
        raise ValueError(f"a value of the kind {kind!r} is not a builtin one")
    if kind == "int":
        return int(rest[0], 16)
    if kind == "bytes":
        return base64.b64decode(rest[0])
    if kind == "dict":
        return {decode(key): decode(item) for key, item in rest[0]}
    if kind in ("complex", "range"):
        return {"complex": complex, "range": range}[kind](*rest)
    return {"list": list, "tuple": tuple, "set": set}[kind](decode(item) for item in rest[0])


def sort_key(value: Encoded) -> str:
    """One text for each key of a dictionary: as in Python, 1 and 1.0 are the same."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value)
