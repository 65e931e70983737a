"""Draws arguments for a definition: from its annotations, defaults, names, constants and use.

Everything drawn is a source expression, so a test call is readable text that anyone can run.
"""

from __future__ import annotations

import ast
import collections.abc as abc
import enum
import inspect
import random
import re
import time
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

import numpy
import torch
from transformers import PreTrainedConfig

from maintenance.suites.definition_uses import ParameterSpec, Uses, evaluated, parameters, uses_of_constructor
from maintenance.suites.expressions import (
    arguments_source,
    is_importable,
    is_literal,
    namespace_of,
    path_of,
    works,
)

_INTEGERS = ("0", "1", "2", "3", "4", "5", "7", "8", "16", "10", "12", "64", "100")
_SIZES = ("1", "2", "3", "4", "6", "8")
_FLOATS = ("0.0", "1.0", "0.5", "0.1", "2.0", "-1.5", "1e-3", "0.25", "3.7")
_WORDS = (
    "'a'", "'abc'", "''", "'model.layers.0.weight'", "'hello world'", "'Foo_Bar-1'", "'x/y.txt'",
    "'a,b;c'", "'  padded  '", "'1.5'", "'12'", "'cpu'", "'True'", "'The quick brown fox.'",
    "'user/repo'", "'key=value'",
)  # fmt: skip
_DTYPES = (
    "torch.float32",
    "torch.float64",
    "torch.float16",
    "torch.bfloat16",
    "torch.int64",
    "torch.int8",
    "torch.bool",
)
_FUNCTIONS = ("abs", "str", "len", "lambda *a, **k: a[0] if a else None", "torch.relu", "lambda x: x")
_MODULES = (
    "make.fixed(torch.nn.Linear(4, 4))",
    "make.fixed(torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4)))",
    "make.fixed(torch.nn.Conv2d(3, 4, 3, padding=1))",
    "make.fixed(torch.nn.Sequential(torch.nn.Embedding(10, 4), torch.nn.LayerNorm(4)))",
    "make.fixed(torch.nn.BatchNorm1d(4))",
)
_SECONDS_TO_CONSTRUCT = 2.0
UNDRAWABLE = "undrawable"
"""Stands for an expression where none can be drawn."""


_TENSOR_NAME = re.compile(
    r"^(x|y|z|q|k|v|input|inputs|tensor|hidden_states|query|key|value|logits|weight|bias|mask|scores?|a|b|A|B|"
    r"preds|target|labels?|indices|grad\w*|attention_mask|input_ids|pixel_values|boxes\d?|states?|output|"
    r"embeddings?|sequence|features?|position_ids|cos|sin)$|_(mask|ids|states|logits|tensor|weights?|embeds?|values|probs)$"
)
_STRING_NAME = re.compile(
    r"name|path|text|str$|prefix|suffix|line|url|message|msg|token$|word|pattern|repo|filename|mode$|code|source"
)
_SIZE_NAME = re.compile(
    r"num_|n_|size|length|_len|width|height|dim$|channels|features|heads|layers|steps?$|count|rank|depth|^n$|^k$|stride|kernel|max_|min_|batch|groups|shape|dims"
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TENSOR_ATTRIBUTES = _words(
    """
    shape size dim view reshape transpose permute unsqueeze squeeze dtype device to float mean sum
    contiguous expand chunk ndim masked_fill clone detach numel flatten T half long new_zeros type_as
    is_cuda repeat argmax softmax cumsum tolist item layout requires_grad stride new_ones new_full
    scatter_ gather is_floating_point element_size data_ptr bool int unbind mT norm abs exp log max min
    sigmoid
    """
)
_STRING_ATTRIBUTES = _words(
    """
    split startswith endswith strip replace lower upper join encode find rsplit lstrip rstrip isdigit
    title splitlines partition rpartition format capitalize count isidentifier removeprefix removesuffix
    """
)
_DICT_ATTRIBUTES = _words(
    """
    items keys values get setdefault update
    """
)
_LIST_ATTRIBUTES = _words(
    """
    append extend insert sort reverse
    """
)
_MODULE_ATTRIBUTES = _words(
    """
    parameters named_parameters modules named_modules children named_children state_dict register_buffer
    train eval buffers named_buffers get_submodule register_forward_hook zero_grad add_module
    """
)


class Drawer:
    """Draws expressions for one definition.

    Attributes:
        random: the generator that decides.
        namespace: the names of the definition's module.
        uses: what the source tells about names.
    """

    def __init__(
        self, seed: str, namespace: Mapping[str, Any], uses: Uses, constructors: Constructors
    ) -> None:
        self.random = random.Random(seed)
        self.namespace = namespace
        self.uses = uses
        self.constructors = constructors
        self.sizes: tuple[int, ...] = (2, 3, 4)
        self.shape_at = 0

    def new_call(self) -> None:
        """Draw the sizes and the rank that the tensors of one call share."""
        drawn = tuple(self.random.choice((1, 2, 3, 4, 6)) for _ in range(3))
        self.sizes = drawn if self.random.random() < 0.7 else (2, 4, 8)
        self.shape_at = self.random.choice((0, 0, 0, 1, 1, 2, 3, 4, 5))

    def parameter(self, parameter: ParameterSpec) -> str | None:
        """An expression for a parameter; None to leave it out. The name of a method's is ``method.name``."""
        if parameter.kind == "VAR_POSITIONAL":
            return None
        if parameter.default == "...":
            return None
        if parameter.default and self.random.random() < 0.35:
            return None
        name = parameter.name.rpartition(".")[2]
        compared = self.uses.compared.get(name)
        if compared and self.random.random() < 0.4:
            return self.random.choice(compared)
        if parameter.annotation is not None and parameter.annotation is not Any:
            drawn = self.annotated(parameter.annotation, name, 0)
            if drawn != UNDRAWABLE:
                return drawn
        return self.untyped(name, parameter.default)

    # --- typed -----------------------------------------------------------------------------------------
    def annotated(self, kind: Any, name: str, depth: int) -> str:
        """An expression of a type."""
        choose = self.random.choice
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if kind in (None, type(None)):
            return "None"
        if depth > 6:
            return UNDRAWABLE
        if origin is typing.Annotated:
            return self.annotated(arguments[0], name, depth)
        if origin is typing.Literal:
            return repr(choose(arguments))
        if origin in (typing.Union, types.UnionType):
            return self.annotated(choose(arguments), name, depth)
        if isinstance(kind, typing.TypeVar):
            if kind.__constraints__:
                return self.annotated(choose(kind.__constraints__), name, depth)
            return self.annotated(kind.__bound__, name, depth) if kind.__bound__ else self.anything(depth)
        if isinstance(kind, typing.NewType):
            return self.annotated(kind.__supertype__, name, depth)
        if isinstance(kind, str | typing.ForwardRef):
            text = kind if isinstance(kind, str) else kind.__forward_arg__
            value = evaluated(text, self.namespace)
            return self.annotated(value, name, depth) if value is not None else UNDRAWABLE
        if kind is Any or kind is object:
            return self.anything(depth)
        if origin is not None:
            return self._generic(origin, arguments, name, depth)
        simple = self._simple(kind, name, depth)
        if simple:
            return simple
        if isinstance(kind, type) and issubclass(kind, torch.Tensor):
            return self.tensor(name)
        if isinstance(kind, type):
            return self.instance(kind, depth)
        return UNDRAWABLE

    def _simple(self, kind: Any, name: str, depth: int) -> str:
        choose = self.random.choice
        if kind is bool:
            return choose(("True", "False"))
        if kind is int:
            return self.integer(name)
        if kind is float:
            return choose(_FLOATS)
        if kind is str:
            return self.string(name)
        if kind is bytes:
            return choose(("b''", "b'abc'", "b'\\x00\\x01\\xff'"))
        if kind is complex:
            return "1+2j"
        if (
            kind in (list, tuple, set, frozenset, dict)
            or getattr(kind, "__module__", "") == "collections.abc"
        ):
            return self._generic(kind, (), name, depth)
        if kind is torch.dtype:
            return choose(_DTYPES)
        if kind is torch.device:
            return "torch.device('cpu')"
        if kind is torch.Size:
            return f"torch.Size({self._shape(name)})"
        if kind is torch.nn.Module:
            return choose(_MODULES)
        if kind is torch.nn.Parameter:
            return f"torch.nn.Parameter({self.tensor('weight')})"
        if kind is torch.Generator:
            return "torch.Generator().manual_seed(0)"
        if kind is numpy.ndarray:
            return self.tensor(name) + ".numpy()"
        if getattr(kind, "__name__", "") in ("Path", "PurePath", "PosixPath"):
            return f"make.named('pathlib:Path')({self.string('path')})"
        if kind is type:
            return choose(("int", "str", "list", "torch.nn.Linear"))
        return ""

    def _generic(self, origin: Any, arguments: tuple[Any, ...], name: str, depth: int) -> str:
        if depth > 3:
            return "[]"
        inner = arguments[0] if arguments else None

        def element(kind: Any = inner) -> str:
            singular = name.removesuffix("s")
            if kind is None or (
                isinstance(kind, typing.TypeVar) and not kind.__constraints__ and not kind.__bound__
            ):
                return self.random.choice((self.integer(singular), self.string(singular)))
            return self.annotated(kind, singular, depth + 1)

        count = self.random.choice((0, 1, 2, 2, 3, 3, 4))
        if isinstance(origin, type) and issubclass(origin, dict | abc.Mapping):
            key, value = arguments if len(arguments) == 2 else (str, None)
            literal = "{" + ", ".join(f"{element(key)}: {element(value)}" for _ in range(count)) + "}"
            return (
                literal
                if origin in (dict, abc.Mapping, abc.MutableMapping)
                else f"make.named({path_of(origin)!r})({literal})"
            )
        if origin is tuple:
            if arguments and arguments[-1] is not Ellipsis:
                return "(" + "".join(f"{element(each)}, " for each in arguments) + ")"
            return "(" + "".join(f"{element()}, " for _ in range(count)) + ")"
        if origin is abc.Callable:
            return self.random.choice(_FUNCTIONS)
        if origin is type:
            return f"make.named({path_of(inner)!r})" if isinstance(inner, type) else "int"
        body = ", ".join(element() for _ in range(count))
        if isinstance(origin, type) and issubclass(origin, set | frozenset | abc.Set):
            return f"frozenset([{body}])" if origin is frozenset else f"set([{body}])"
        if origin in (abc.Iterator, abc.Generator):
            return f"iter([{body}])"
        if (
            isinstance(origin, type)
            and issubclass(origin, abc.Iterable)
            and origin in (list, abc.Iterable, abc.Sequence, abc.MutableSequence, abc.Collection)
        ):
            return f"[{body}]"
        return UNDRAWABLE

    def instance(self, kind: type, depth: int) -> str:
        """An expression for an instance of a class: a member, or a call of the class with drawn arguments."""
        if issubclass(kind, enum.Enum):
            members = list(kind)
            return (
                f"make.named({path_of(kind) + '.' + self.random.choice(members).name!r})"
                if members
                else UNDRAWABLE
            )
        if depth > 2:
            return UNDRAWABLE
        return self.constructors.draw(kind, self, depth) or UNDRAWABLE

    # --- by name and use -------------------------------------------------------------------------------
    def untyped(self, name: str, default: str) -> str:
        """An expression for a parameter without a usable annotation."""
        uses = self.uses
        touched = uses.attributes.get(name, set())
        roles = uses.roles.get(name, set())
        options: list[Callable[[], str]] = []
        if name == "config" and (kinds := self._configs()):
            return self.instance(self.random.choice(kinds), 0)
        for text in uses.classes.get(name, ()):
            kind = evaluated(text, self.namespace)
            if isinstance(kind, type):
                options.append(lambda kind=kind: self.annotated(kind, name, 0))  # type: ignore[misc]
        if default not in ("", "None", "..."):
            value = ast.literal_eval(default) if is_literal(default) else None
            if isinstance(value, bool | int | float | str):
                return self.annotated(type(value), name, 0)
            if isinstance(value, tuple | list):
                return self._generic(type(value), (type(value[0]),) if value else (), name, 0)
        if touched & _MODULE_ATTRIBUTES or name in ("model", "module"):
            options.append(lambda: self.random.choice(_MODULES))
        if touched & _TENSOR_ATTRIBUTES or _TENSOR_NAME.search(name):
            options.append(lambda: self.tensor(name))
        if touched & _STRING_ATTRIBUTES or _STRING_NAME.search(name):
            options.append(lambda: self.string(name))
        if touched & _DICT_ATTRIBUTES or re.search(r"dict|mapping|kwargs", name):
            options.append(lambda: self._generic(dict, (), name, 0))
        if touched & _LIST_ATTRIBUTES or "list" in roles or re.search(r"list|args", name):
            options += [
                lambda: self._generic(list, (), name, 0),
                lambda: self._generic(list, (int,), name, 0),
            ]
        if "function" in roles or name in ("fn", "func", "f"):
            options.append(lambda: self.random.choice(_FUNCTIONS))
        if "int" in roles or _SIZE_NAME.search(name):
            options.append(lambda: self.integer(name))
        if "number" in roles:
            options += [
                lambda: self.integer(name),
                lambda: self.random.choice(_FLOATS),
                lambda: self.tensor(name),
            ]
        if "dtype" in name:
            options.append(lambda: self.random.choice(_DTYPES))
        if not options:
            return self.anything(0)
        return self.random.choice(options)()

    def _configs(self) -> list[type]:
        """The model configurations that the module knows."""
        classes = (value for value in self.namespace.values() if isinstance(value, type))
        return [
            each for each in classes if issubclass(each, PreTrainedConfig) and each is not PreTrainedConfig
        ]

    def anything(self, depth: int) -> str:
        """An expression of one of several types."""
        options: list[Callable[[], str]] = [
            lambda: self.integer(""),
            lambda: self.random.choice(_FLOATS),
            lambda: self.string(""),
            lambda: self.random.choice(("True", "False", "None")),
            lambda: self.tensor(""),
        ]
        if depth < 2:
            options += [
                lambda: self._generic(list, (Any,), "", depth + 1),
                lambda: self._generic(dict, (str, Any), "", depth + 1),
                lambda: self._generic(tuple, (Any, ...), "", depth + 1),
            ]
        return self.random.choice(options)()

    def integer(self, name: str) -> str:
        """An integer that suits a parameter's name, or one of the source's own."""
        if self.uses.numbers and self.random.random() < 0.35:
            number = self.random.choice(self.uses.numbers)
            if "." not in number and "e" not in number and "inf" not in number and abs(int(number)) < 100_000:
                return number
        if re.search(r"dim|axis", name) and not re.search(r"_dim|dims", name):
            return self.random.choice(("0", "1", "-1"))
        if _SIZE_NAME.search(name):
            return self.random.choice((*_SIZES, str(self.sizes[-1])))
        return self.random.choice(_INTEGERS)

    def string(self, name: str) -> str:
        """A string that suits a parameter's name, or one made of the source's own."""
        if self.uses.strings and self.random.random() < 0.6:
            own = self.random.choice(self.uses.strings)
            if self.random.random() < 0.5:
                return own
            return repr(
                _mixed(
                    self.random, ast.literal_eval(own), [ast.literal_eval(each) for each in self.uses.strings]
                )
            )
        if name in ("reduction", "average"):
            return self.random.choice(("'mean'", "'sum'", "'none'", "'macro'", "'micro'"))
        if "dtype" in name:
            return self.random.choice(("'float32'", "'int8'", "'bfloat16'"))
        return self.random.choice(_WORDS)

    def tensor(self, name: str) -> str:
        """A tensor whose shape goes with the other tensors of the call."""
        shape = self._shape(name)
        seed = self.random.randrange(100)
        inner = ", ".join(str(size) for size in shape)
        if re.search(r"ids|index|indices|label|target|position|tokens", name):
            return f"make.integers({seed}, {self.random.choice((2, 3, 5))}, {inner})"
        if "mask" in name:
            return self.random.choice(
                (
                    f"make.booleans({seed}, {inner})",
                    f"make.integers({seed}, 2, {inner})",
                    f"make.booleans({seed}, {inner}).float()",
                )
            )
        kind = self.random.random()
        if kind < 0.7:
            return f"make.normal({seed}, {inner})"
        if kind < 0.85:
            return f"make.uniform({seed}, {inner})"
        return f"make.integers({seed}, 5, {inner})"

    def _shape(self, name: str) -> tuple[int, ...]:
        first, second, third = self.sizes
        shapes = (
            (first, second, third),
            (first, second),
            (second, third),
            (third,),
            (first, 2, second, third),
            (third, third),
        )
        if re.search(r"bias|weight_1d|gamma|beta$", name):
            return (third,)
        if re.search(r"image|pixel|img", name):
            return (first, 3, 8, 8)
        return shapes[self.shape_at] if self.random.random() < 0.75 else self.random.choice(shapes)


def _mixed(rng: random.Random, text: str, others: list[str]) -> str:
    """A string near another one: joined with a second, repeated, cut, or surrounded."""
    match rng.randrange(6):
        case 0:
            return text + rng.choice(others)
        case 1:
            return "abc" + text + "def"
        case 2:
            return text[: len(text) // 2]
        case 3:
            return text.upper()
        case 4:
            return f"{text} {rng.choice(others)} {text}"
        case _:
            return "x" + text


class Constructors:
    """Calls of classes that worked, found once for each class and drawn from then on."""

    def __init__(self) -> None:
        self._known: dict[type, list[str]] = {}

    def draw(self, kind: type, drawer: Drawer, depth: int) -> str:
        """An expression that makes an instance; empty if no call of the class works."""
        if kind not in self._known:
            self._known[kind] = []  # a class that needs itself
            self._known[kind] = self._search(kind, drawer, depth)
        return drawer.random.choice(self._known[kind]) if self._known[kind] else ""

    def _search(self, kind: type, drawer: Drawer, depth: int) -> list[str]:
        if inspect.isabstract(kind) or not is_importable(kind):
            return []
        try:
            wanted = parameters(kind, namespace_of(kind))
        except (ValueError, TypeError):
            return []
        if issubclass(kind, PreTrainedConfig):
            return [tiny] if works(tiny := f"make.tiny({path_of(kind)!r})") else []
        uses = uses_of_constructor(kind)
        inner = Drawer(f"{path_of(kind)}", namespace_of(kind), uses, self)
        expressions: dict[str, None] = {}
        started = time.process_time()
        for _ in range(60):
            if time.process_time() - started > _SECONDS_TO_CONSTRUCT:
                break
            inner.new_call()
            expression = construction(kind, wanted, inner)
            if works(expression):
                expressions.setdefault(expression)
            if len(expressions) >= 6:
                break
        return list(expressions)


def construction(kind: type, wanted: list[ParameterSpec], drawer: Drawer) -> str:
    """A call of a class with drawn arguments."""
    arguments = arguments_source(wanted, {each.name: drawer.parameter(each) for each in wanted})
    call = f"make.named({path_of(kind)!r})({arguments})"
    return f"make.fixed({call})" if issubclass(kind, torch.nn.Module) else call
