"""Puts a definition under test where its reference stands: into its module, or into its class.

A model writes one definition and nothing around it. It runs with the names of the reference's module, and
what calls the reference in the package calls the definition instead. The reference is taken out of every
loaded module first, so a definition that imports the original by its name does not find it.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

_PLACE = "__place__"


@dataclass(frozen=True, slots=True)
class Place:
    """A place that waits for a definition.

    Attributes:
        holders: what held the reference under which name: its class, or every module that imported it.
        kind: how a method is bound: ``staticmethod``, ``classmethod``, ``property`` or another type's name.
        accessors: setter and deleter of a property.
    """

    holders: tuple[tuple[Any, str], ...]
    kind: str = ""
    accessors: tuple[Any, Any] = (None, None)


def module_name(repo: str, file: str) -> str:
    """The name under which a file of a package is imported."""
    return f"{repo}/{file}".removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def load_module(name: str) -> ModuleType:
    """Import a module by its name."""
    return importlib.import_module(name)


def find(module: ModuleType, entry: str) -> tuple[Any, str, Any]:
    """Find a definition. Returns its module or class, its bare name, and the definition.

    Raises:
        LookupError: the module does not define it, or defines it inside a function.
    """
    *owners, name = entry.split(".")
    holder: Any = module
    for each in owners:
        holder = vars(holder).get(each)
        if not isinstance(holder, type):
            raise LookupError(f"{entry} is defined inside a function")
    if name not in vars(holder):
        raise LookupError(f"{module.__name__} has no {entry}")
    return holder, name, vars(holder)[name]


def enter(space: dict[str, Any], module: str, entry: str) -> None:
    """Copy a module's names into a namespace, and remove the reference from both."""
    loaded = load_module(module)
    holder, name, original = find(loaded, entry)
    holders = ((holder, name),) if isinstance(holder, type) else modules_with(name, original)
    for each, held_as in holders:
        delattr(each, held_as)
    accessors = (original.fset, original.fdel) if isinstance(original, property) else (None, None)
    space.update(vars(loaded))
    space[_PLACE] = Place(holders, type(original).__name__, accessors)


def install(space: dict[str, Any], entry: str) -> None:
    """Put the definition of the code under test in the place of the reference."""
    place: Place = space.pop(_PLACE)
    holder, name = place.holders[0]
    written = space[entry.rpartition(".")[2]]
    if isinstance(holder, type):
        del space[name]
        if (twin := vars(sys.modules[holder.__module__]).get(name)) is not None:
            space[name] = twin  # a function of the module that has the method's name
        _rebind_class_cell(written, holder)
        written = _bound_like(written, place)
    for each, held_as in place.holders:
        setattr(each, held_as, written)


def modules_with(name: str, value: Any) -> tuple[tuple[Any, str], ...]:
    """Every loaded module that holds an object under its name; one that is loaded as two counts once."""
    modules = {id(module): module for module in list(sys.modules.values()) if isinstance(module, ModuleType)}
    return tuple((module, name) for module in modules.values() if vars(module).get(name) is value)


def _bound_like(written: Any, place: Place) -> Any:
    """A bare function becomes what the reference is: a static method, a class method, or a property."""
    if isinstance(written, FunctionType):
        if place.kind == "property":
            return property(written, *place.accessors)
        if place.kind in ("staticmethod", "classmethod"):
            return (staticmethod if place.kind == "staticmethod" else classmethod)(written)
    return written


def _rebind_class_cell(written: Any, owner: type) -> None:
    """Let ``super()`` in a method mean the real class instead of the one that was written around it."""
    function = written.fget if isinstance(written, property) else getattr(written, "__func__", written)
    while function is not None:
        names = getattr(getattr(function, "__code__", None), "co_freevars", ())
        for name, cell in zip(names, getattr(function, "__closure__", None) or (), strict=True):
            if name == "__class__":
                cell.cell_contents = owner
        function = getattr(function, "__wrapped__", None)
