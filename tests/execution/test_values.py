"""Which values are equal, encoded as in a candidate's process and read as in the one that compares."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import json
import pathlib
import re
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.scoring.execution.equality import difference, short
from pipeline.scoring.execution.values import TooLargeError, decode, encode

Point = collections.namedtuple("Point", "x y")


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Number(enum.IntEnum):
    ONE = 1


@dataclass
class Config:
    width: int = 2
    name: str = "a"
    _cache: int = 0


class Hidden:
    def __init__(self, value: int) -> None:
        self._value = value


def told(expected: Any, got: Any) -> str | None:
    one, other = (json.loads(json.dumps(encode(value))) for value in (expected, got))
    return difference(one, other, 1e-4, 1e-6)


def linear(value: float) -> torch.nn.Module:
    layer = torch.nn.Linear(2, 2)
    torch.nn.init.constant_(layer.weight, value)
    torch.nn.init.zeros_(layer.bias)
    return torch.nn.Sequential(layer, torch.nn.ReLU())


EQUAL = [
    (None, None),
    (1, 1.0),
    (1.0, 1.00001),
    (float("nan"), float("nan")),
    (float("inf"), float("inf")),
    (0.0, -0.0),
    (10**100, 10**100),
    (1 + 2j, 1.00001 + 2j),
    (np.float32(0.1), 0.1),
    (np.int64(3), 3),
    (np.bool_(True), True),
    ("\ud800", "\ud800"),
    (b"a", bytearray(b"a")),
    ([1, [2.0]], [1, [2.0000001]]),
    ((1, 2), Point(1, 2)),
    (torch.Size([1, 2]), (1, 2)),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({1: "a"}, {1.0: "a"}),
    (collections.OrderedDict(a=1), {"a": 1}),
    ({1.0, 2.0}, {2.0000001, 1.0}),
    (frozenset("ab"), {"b", "a"}),
    (range(3), range(3)),
    (iter([1, 2]), (n for n in (1, 2))),
    (np.ones(2, np.float32), np.ones(2, np.float64)),
    (np.array(["a", None], object), np.array(["a", None], object)),
    (np.array(["2020-01-01"], "M8[D]"), np.array(["2020-01-01"], "M8[D]")),
    (torch.ones(2), torch.ones(2, dtype=torch.float64) + 1e-5),
    (torch.tensor(float("nan")), torch.tensor(float("nan"))),
    (torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bfloat16) * 1.01),
    (torch.eye(2).to_sparse(), torch.eye(2)),
    (torch.ones(2, requires_grad=True), torch.ones(2)),
    (torch.empty(2, device="meta"), torch.empty(2, device="meta")),
    (torch.float32, torch.float32),
    (torch.device("cpu"), torch.device("cpu")),
    (linear(1.0), linear(1.0)),
    (Color.RED, Color.RED),
    (Config(), Config(_cache=7)),
    (Hidden(1), Hidden(1)),
    (decimal.Decimal("1.5"), decimal.Decimal("1.5")),
    (pathlib.Path("a"), pathlib.Path("a")),
    (re.compile("a"), re.compile("a")),
    (datetime.date(2020, 1, 1), datetime.date(2020, 1, 1)),
    (ValueError("a", 1), ValueError("a", 1)),
    (torch.nn.ReLU, torch.nn.ReLU),
    (torch.relu, torch.relu),
    (lambda: 1, lambda: 2),
]
DIFFERENT = [
    (None, False),
    (True, 1),
    (False, 0),
    (1, 2),
    (1.0, 1.01),
    (1.0, float("nan")),
    (float("inf"), float("-inf")),
    (10**100, 10**100 + 1),
    (1, "1"),
    ("a", b"a"),
    ([1], (1,)),
    ([1], [1, 2]),
    ({"a": 1}, {"a": 2}),
    ({"a": 1}, {"b": 1}),
    ({"a": 1}, {}),
    ({1, 2}, {1, 3}),
    ([1], {1}),
    (range(3), [0, 1, 2]),
    (iter([1, 2]), [1, 2]),
    (np.ones(2), [1.0, 1.0]),
    (np.ones(2), torch.ones(2)),
    (np.ones(2), np.ones((2, 1))),
    (np.ones(2), np.ones(2, int)),
    (np.array(["a"]), np.array(["b"])),
    (torch.ones(2), torch.tensor([1.0, 1.1])),
    (torch.ones(()), 1.0),
    (torch.ones(2).bool(), torch.ones(2).int()),
    (torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bfloat16) * 1.1),
    (torch.empty(2, device="meta"), torch.zeros(2)),
    (torch.float32, torch.float64),
    (torch.device("cpu"), torch.device("meta")),
    (linear(1.0), linear(2.0)),
    (linear(1.0), linear(1.0).eval()),
    (Color.RED, Color.BLUE),
    (Number.ONE, 1),
    (Config(), Config(width=3)),
    (Hidden(1), Hidden(2)),
    (decimal.Decimal("1.5"), decimal.Decimal("1.6")),
    (pathlib.Path("a"), pathlib.Path("b")),
    (re.compile("a"), re.compile("b")),
    (datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)),
    (ValueError("a"), ValueError("b")),
    (ValueError("a"), TypeError("a")),
    (torch.nn.ReLU, torch.nn.GELU),
    (torch.relu, torch.tanh),
    (torch.nn.ReLU(), torch.nn.GELU()),
]


@pytest.mark.parametrize(("expected", "got"), EQUAL)
def test_equal_values_do_not_differ(expected: Any, got: Any) -> None:
    assert told(expected, got) is None


@pytest.mark.parametrize(("expected", "got"), DIFFERENT)
def test_different_values_differ_in_words(expected: Any, got: Any) -> None:
    assert told(expected, got)


def test_a_difference_says_where_it_is() -> None:
    assert told({"a": [1, 2]}, {"a": [1, 3]}) == "['a'][1] is 3 instead of 2"
    assert told(torch.zeros(2, 2), torch.eye(2)) == "[0, 0] is 1.0 instead of 0.0"
    assert told(torch.zeros(2), torch.zeros(3)) == "the value has the shape (3,) instead of (2,)"
    assert told(torch.zeros(2), torch.zeros(2).int()) == "the value has elements of int32 instead of float32"
    assert told(Config(), Config(name="b")) == ".name is 'b' instead of 'a'"


def test_large_sets_are_compared_in_little_time() -> None:
    start = time.monotonic()
    assert told(set(range(10_000)), set(range(10_000))) is None
    assert told(set(range(10_000)), set(range(1, 10_001)))
    assert told({n + 0.5 for n in range(10_000)}, {n + 0.25 for n in range(10_000)})
    assert time.monotonic() - start < 5


def test_a_value_that_holds_itself_is_encoded() -> None:
    one: list[Any] = [1]
    one.append(one)
    assert told(one, one) is None


def test_an_endless_iterator_is_read_up_to_a_bound() -> None:
    def count() -> Any:
        while True:
            yield 1

    assert len(encode(count())[1]) == 1000


def test_an_iterator_that_raises_keeps_what_it_gave() -> None:
    def one_then_error() -> Any:
        yield 1
        raise KeyError

    assert encode(one_then_error()) == ["iterator", [1], "KeyError"]


@pytest.mark.parametrize("kind", ["tensor", "list", "text", "number"])
def test_what_is_too_large_is_not_encoded(kind: str) -> None:
    large = {"tensor": torch.zeros(10**7), "list": [0] * 10**5, "text": "a" * 10**7, "number": 1 << 10**8}
    with pytest.raises(TooLargeError):
        encode(large[kind])


def test_what_is_too_deep_is_not_encoded() -> None:
    deep: list[Any] = []
    for _ in range(1000):
        deep = [deep]
    with pytest.raises(TooLargeError):
        encode(deep)


FORGED = [
    [],
    ["tensor"],
    ["tensor", "float32", [10**9], "<f4", "AA=="],
    ["tensor", "float32", [1], "O", "AAAAAAAAAAA="],
    ["list"],
    ["list", 3],
    ["list", {"a": 1}],
    ["dict", [1]],
    ["object"],
    {"a": 1},
    ["int", "zz"],
    ["complex"],
]


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("expected", [[1], torch.zeros(1), {"a": 1}, Config(), 10**100, 1j, None])
def test_a_forged_value_equals_nothing(expected: Any, forged: Any) -> None:
    assert difference(encode(expected), forged, 1e-4, 1e-6)
    assert short(forged)


@pytest.mark.parametrize(
    "value", [None, True, 1, 10**50, 1.5, 1j, "a", b"a", [1, (2, {3})], {"a": {1: None}}, range(3)]
)
def test_builtin_values_are_read_back(value: Any) -> None:
    assert decode(json.loads(json.dumps(encode(value)))) == value


def test_an_object_with_its_own_equality_is_not_read_back() -> None:
    with pytest.raises(ValueError):
        decode(encode(Hidden(1)))
