"""Draws calls of a function, a method or a class, from what its definition uses."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from maintenance.suites.definition_uses import ParameterSpec, parameters, uses
from maintenance.suites.expressions import arguments_source
from maintenance.suites.inputs import UNDRAWABLE, Constructors, Drawer
from pipeline.scoring.execution.spec import Call, TestSpec
from pipeline.scoring.execution.suites import place

_METHODS_WITH_SYMBOLS = frozenset(
    {"__call__", "__len__", "__getitem__", "__contains__", "__iter__", "__add__", "__str__", "__repr__"}
)

Values = dict[str, str | None]
"""A drawn expression for each parameter, None if it is left out."""


class CallGenerator:
    """Draws calls, and takes values again that were part of calls that returned."""

    def __init__(
        self,
        drawer: Drawer,
        wanted: Sequence[ParameterSpec],
        build: Callable[[Values], Call | None],
        constants: Sequence[str] = (),
    ) -> None:
        self.drawer, self.wanted, self.build = drawer, wanted, build
        self.constants = constants
        self.recorded: list[dict[str, str]] = []
        self._kept: list[Values] = []
        self._last: Values = {}
        self._new = 0.5  # share of calls with new values only

    def draw(self) -> Call | None:
        """The next recorded call, or one with drawn arguments."""
        if self.recorded:
            self._new = 0.1
            call = self.recorded.pop(0)
            self._last = {each.name: call.get(each.name) for each in self.wanted}
            return self.build(self._last)
        random = self.drawer.random
        self.drawer.new_call()
        values: Values = {each.name: self.drawer.parameter(each) for each in self.wanted}
        if self._kept and random.random() > self._new:
            base = random.choice(self._kept)
            share = 1.3 / max(1, len(self.wanted))
            values = {
                name: value if random.random() < share else base[name] for name, value in values.items()
            }
        self._last = values
        return self.build(values)

    def keep(self) -> None:
        """Remember the arguments of the last call."""
        self._kept.append(self._last)
        del self._kept[:-40]


def call_generator(spec: TestSpec) -> CallGenerator:
    """What draws calls of the definition that a spec tests.

    Raises:
        LookupError: it is not there.
        ValueError: it has no signature or no parameters.
    """
    module = place.load_module(spec.module)
    holder, name, original = place.find(module, spec.entry)
    namespace = dict(vars(module))
    drawer = Drawer(spec.sample_id, namespace, uses(spec.reference), Constructors())
    if isinstance(original, type):
        return _for_class(original, spec.entry, drawer, namespace)
    if isinstance(holder, type):
        return _for_method(holder, name, original, spec.entry, drawer, namespace)
    wanted = parameters(inspect.unwrap(original), namespace)
    if not wanted:
        raise ValueError("it has no parameters")
    return CallGenerator(drawer, wanted, lambda values: _call(name, wanted, values))


def _for_method(
    holder: type, name: str, original: Any, entry: str, drawer: Drawer, namespace: Mapping[str, Any]
) -> CallGenerator:
    owner = entry.rpartition(".")[0]
    if name == "__init__":
        wanted = parameters(holder, namespace)
        is_module = issubclass(holder, torch.nn.Module)
        return CallGenerator(drawer, wanted, lambda values: _call(owner, wanted, values, fixed=is_module))
    if isinstance(original, staticmethod | classmethod):
        wanted = parameters(getattr(holder, name), namespace)
        return CallGenerator(drawer, wanted, lambda values: _call(f"{owner}.{name}", wanted, values))
    is_property = isinstance(original, property)
    wanted = [] if is_property else parameters(inspect.unwrap(original), namespace)[1:]

    def build(values: Values) -> Call | None:
        instance = values["self"]
        if instance is None or instance == UNDRAWABLE:
            return None
        made = instance if instance.startswith("it = ") else f"it = {instance}"
        if is_property:
            return Call(made, f"it.{name}")
        call = _call(f"it.{name}", wanted, values)
        return Call(f"{made}\n{call.inputs}".rstrip(), call.expression, ("it", *call.watched))

    return CallGenerator(drawer, [ParameterSpec("self", holder, "", "SELF"), *wanted], build)


def _for_class(kind: type, entry: str, drawer: Drawer, namespace: Mapping[str, Any]) -> CallGenerator:
    """Make an object and call every method, each once."""
    wanted = parameters(kind, namespace)
    methods = dict(_methods(kind, namespace))
    is_module = issubclass(kind, torch.nn.Module)
    inherited = getattr(kind, "forward", None)
    if is_module and "forward" not in methods and inspect.isfunction(inherited):
        methods["forward"] = parameters(inherited, namespace)[1:]
    of_methods = [
        dataclasses.replace(each, name=f"{name}.{each.name}")
        for name, own in methods.items()
        for each in own or ()
    ]
    constants = _constants(kind)
    has_fields = dataclasses.is_dataclass(kind) or hasattr(kind, "to_dict") or not methods

    def build(values: Values) -> Call | None:
        call = _call(entry, wanted, values, fixed=is_module)
        if not methods:
            return call
        inputs = [call.inputs, f"it = {call.expression}"]
        steps: list[str] = []
        for name, own in methods.items():
            mine = {each.name: values[f"{name}.{each.name}"] for each in own or ()}
            step = _call(f"it.{name}", own or (), mine, prefix=f"{name.strip('_')}_")
            inputs.append(step.inputs)
            steps.append(f"it.{name}" if own is None else step.expression)
        return Call(
            "\n".join(filter(None, inputs)), steps_source(steps, constants), ("it",) if has_fields else ()
        )

    return CallGenerator(drawer, [*wanted, *of_methods], build, constants)


def _methods(kind: type, namespace: Mapping[str, Any]) -> list[tuple[str, list[ParameterSpec] | None]]:
    """A class's own public methods with their parameters, None for a property."""
    methods: list[tuple[str, list[ParameterSpec] | None]] = []
    for name, member in vars(kind).items():
        if name.startswith("__") and name not in _METHODS_WITH_SYMBOLS:
            continue
        if isinstance(member, property):
            methods.append((name, None))
        elif isinstance(member, staticmethod | classmethod):
            methods.append((name, parameters(getattr(kind, name), namespace)))
        elif inspect.isfunction(member):
            methods.append((name, parameters(member, namespace)[1:]))
    return methods


def _constants(kind: type) -> list[str]:
    """Expressions for a class's plain public attributes."""
    return [
        f"it.{name}"
        for name, value in vars(kind).items()
        if not name.startswith("_") and isinstance(value, bool | int | float | str)
    ]


def steps_source(steps: Sequence[str], constants: Sequence[str]) -> str:
    """What several steps give, and attributes; one step that raises does not keep the others from running."""
    if len(steps) == 1 and not constants:
        return steps[0]
    tried = [f"make.tried(lambda: {each})" for each in steps] if len(steps) > 1 else steps
    return f"[{', '.join([*tried, *constants])}]"


def _call(
    function: str, wanted: Sequence[ParameterSpec], values: Values, *, fixed: bool = False, prefix: str = ""
) -> Call:
    """A call with what can change bound to names, and everything else in place."""
    lines: list[str] = []
    watched: list[str] = []
    shown: Values = {}
    for each in wanted:
        value = shown[each.name] = values.get(each.name)
        if value is None or _is_plain(value):
            continue
        name = prefix + each.name
        name += "_" * (name in (function, "it", "make", "torch"))
        lines.append(f"{name} = {value}")
        watched.append(name)
        shown[each.name] = name
    expression = f"{function}({arguments_source(wanted, shown)})"
    return Call("\n".join(lines), f"make.fixed({expression})" if fixed else expression, tuple(watched))


def _is_plain(value: str) -> bool:
    """Whether an expression is a constant, which no call can change."""
    try:
        node = ast.parse(value, mode="eval").body
    except SyntaxError:
        return False
    if isinstance(node, ast.UnaryOp):
        node = node.operand
    return isinstance(node, ast.Constant | ast.Lambda | ast.Name | ast.Attribute)
