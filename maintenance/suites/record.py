"""Records the arguments that a package's own examples give to its functions, as source expressions.

The examples in the docstrings of a package call its public functions, and these call its private ones with
arguments as they occur. Each recorded call comes in variants: as it was, and with other numbers and words of
the same shape and range.
"""

from __future__ import annotations

import contextlib
import doctest
import enum
import functools
import inspect
import random
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from maintenance.suites.trial import deadline, quiet
from pipeline.schema import Sample
from pipeline.scoring.execution.suites import place

VARIANTS = 6
MOST_RECORDS = 10
MOST_LITERAL = 24
_STORY = "__rcl_story__"


class NoSource(Exception):
    """A value that no expression makes."""


@dataclass
class Story:
    """How an object came to be what it is: for each variant, statements that make it as ``it``."""

    variants: list[list[str]]
    busy: bool = False
    intact: bool = True


@dataclass
class Recording:
    """What was recorded of one definition.

    Attributes:
        values: for each call and variant, an expression for each parameter; ``self`` holds statements.
        stories: for a class, for each object and variant, statements and the expressions of its method calls.
    """

    values: list[dict[str, str]] = field(default_factory=list)
    stories: list[list[str]] = field(default_factory=list)


class Recorder:
    """Wraps the definitions of samples, and keeps what they are called with."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.found: dict[str, Recording] = {}
        self.seen: dict[str, int] = {}
        self.classes: dict[type, list[str]] = {}
        self.package = samples[0].repo
        for sample in samples:
            try:
                module = place.load_module(place.module_name(sample.repo, sample.file))
                holder, name, original = place.find(module, sample.function_name)
            except BaseException:
                continue
            if isinstance(original, type):
                self.classes.setdefault(original, []).append(sample.id)
            elif isinstance(holder, type):
                self.classes.setdefault(holder, [])
                self._wrap_method(holder, name, original, sample.id)
            else:
                wrapped = self._wrapped(original, sample.id, bound=False)
                for each, held_as in place.modules_with(name, original):
                    setattr(each, held_as, wrapped)
        for kind in [*self.classes, *_subclasses(self.classes)]:
            self._follow(kind)

    def _wrap_method(self, holder: type, name: str, original: Any, sample_id: str) -> None:
        if isinstance(original, property) and original.fget:
            wrapped: Any = property(self._wrapped(original.fget, sample_id, bound=True), original.fset)
        elif isinstance(original, staticmethod):
            wrapped = staticmethod(self._wrapped(original.__func__, sample_id, bound=False))
        elif isinstance(original, classmethod):
            wrapped = classmethod(self._wrapped(original.__func__, sample_id, bound=False, skip=1))
        elif inspect.isfunction(original) and name != "__init__":
            wrapped = self._wrapped(original, sample_id, bound=True)
        else:
            return
        setattr(holder, name, wrapped)

    def _wrapped(self, function: Any, sample_id: str, bound: bool, skip: int = 0) -> Any:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.seen.get(sample_id, 0) < MOST_RECORDS:
                with contextlib.suppress(NoSource, ValueError, TypeError, RecursionError):
                    self._keep(sample_id, function, args[skip:], kwargs, bound, skip)
            return function(*args, **kwargs)

        return call

    def _keep(
        self,
        sample_id: str,
        function: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        bound: bool,
        skip: int,
    ) -> None:
        signature = inspect.signature(inspect.unwrap(function))
        if skip:
            signature = signature.replace(parameters=list(signature.parameters.values())[skip:])
        values = signature.bind(*args, **kwargs).arguments
        made: list[dict[str, str]] = []
        story = None
        if bound:
            first = next(iter(values))
            story = _story(values.pop(first))
            if story is None or not story.intact:
                raise NoSource
        for variant in range(VARIANTS):
            expressions: dict[str, str] = {}
            for name, value in values.items():
                kind = signature.parameters[name].kind.name
                if kind == "VAR_KEYWORD":
                    if value:
                        raise NoSource
                    continue
                expressions[name] = source_of(list(value) if kind == "VAR_POSITIONAL" else value, variant)
            if story is not None:
                expressions["self"] = "\n".join(story.variants[variant])
            if expressions not in made:
                made.append(expressions)
        kept = self.found.setdefault(sample_id, Recording()).values
        if made[0] not in kept:
            kept.extend(made)
            self.seen[sample_id] = self.seen.get(sample_id, 0) + 1

    def _follow(self, kind: type) -> None:
        """Keep the story of each object of a class: how it was made and which methods were called."""
        original = kind.__init__  # type: ignore[misc]
        path = f"{kind.__module__}:{kind.__qualname__}"

        @functools.wraps(original)
        def make(it: Any, *args: Any, **kwargs: Any) -> None:
            if type(it) is kind and _story(it) is None:
                try:
                    variants = [
                        [f"it = make.named({path!r})({_given(args, kwargs, variant)})"]
                        for variant in range(VARIANTS)
                    ]
                    story = Story(variants)
                except (NoSource, RecursionError):
                    story = Story([], intact=False)
                story.busy = True
                original(it, *args, **kwargs)
                story.busy = False
                object.__setattr__(it, _STORY, story)
            else:
                original(it, *args, **kwargs)

        try:
            kind.__init__ = make  # type: ignore[misc]
        except (AttributeError, TypeError):
            return
        for name in dir(kind):
            if name.startswith("_") and name != "__call__":
                continue
            member = inspect.getattr_static(kind, name)
            if inspect.isfunction(member) and (
                name in ("forward", "__call__") or member.__module__.startswith(self.package)
            ):
                with contextlib.suppress(AttributeError, TypeError):
                    setattr(kind, name, self._told(kind, name, member))

    def _told(self, kind: type, name: str, member: Any) -> Any:
        @functools.wraps(member)
        def call(it: Any, *args: Any, **kwargs: Any) -> Any:
            story = _story(it) if type(it) is kind else None
            if story is None or story.busy or not story.intact:
                return member(it, *args, **kwargs)
            shown = "it" if name == "__call__" else f"it.{name}"
            try:
                events = [f"{shown}({_given(args, kwargs, variant)})" for variant in range(VARIANTS)]
            except (NoSource, RecursionError):
                story.intact = False
                return member(it, *args, **kwargs)
            story.busy = True
            try:
                return member(it, *args, **kwargs)
            finally:
                story.busy = False
                for variant, event in enumerate(events):
                    if len(story.variants[variant]) < 12:
                        story.variants[variant].append(event)
                self._keep_story(kind, story)

        return call

    def _keep_story(self, kind: type, story: Story) -> None:
        for sample_id in self.classes.get(kind, ()):
            kept = self.found.setdefault(sample_id, Recording()).stories
            for variant in story.variants:
                if list(variant) not in kept and len(kept) < MOST_RECORDS * VARIANTS:
                    kept.append(list(variant))


def run_examples(modules: Sequence[str], seconds: float = 8.0) -> None:
    """Run the examples in the docstrings of modules; those that fail or take long are left."""
    parser = doctest.DocTestParser()
    for name in modules:
        try:
            module = place.load_module(name)
        except BaseException:
            continue
        for docstring in _docstrings(module):
            try:
                examples = parser.get_examples(docstring)
            except ValueError:
                continue
            names: dict[str, Any] = dict(vars(module))
            torch.manual_seed(0)
            with deadline(seconds), quiet():
                for example in examples:
                    try:
                        exec(compile(example.source, "<example>", "single"), names)
                    except Exception:
                        continue


def _docstrings(module: types.ModuleType) -> Iterator[str]:
    for value in list(vars(module).values()):
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if getattr(value, "__doc__", None) and (inspect.isfunction(value) or inspect.isclass(value)):
            yield str(value.__doc__)
        if inspect.isclass(value):
            for member in list(vars(value).values()):
                member = getattr(member, "__func__", getattr(member, "fget", member))
                if inspect.isfunction(member) and member.__doc__ and ">>>" in member.__doc__:
                    yield member.__doc__


def _subclasses(kinds: Any) -> list[type]:
    found: dict[type, None] = {}
    left = list(kinds)
    while left:
        for each in type.__subclasses__(left.pop()):
            if each not in found and each not in kinds:
                found[each] = None
                left.append(each)
    return list(found)


def _story(value: Any) -> Story | None:
    story = getattr(value, "__dict__", {}).get(_STORY)
    return story if isinstance(story, Story) else None


def _given(args: tuple[Any, ...], kwargs: dict[str, Any], variant: int) -> str:
    return ", ".join(
        [
            *(source_of(each, variant) for each in args),
            *(f"{name}={source_of(each, variant)}" for name, each in kwargs.items()),
        ]
    )


def source_of(value: Any, variant: int = 0, depth: int = 0) -> str:
    """An expression that makes a value, or one like it for a variant other than 0.

    Raises:
        NoSource: there is none.
    """
    if depth > 4:
        raise NoSource
    if isinstance(value, enum.Enum):
        return _named(f"{type(value).__module__}:{type(value).__qualname__}.{value.name}")
    if type(value) in (list, tuple, set, dict):
        return _container(value, variant, depth)
    if isinstance(value, torch.Tensor) and type(value) in (torch.Tensor, torch.nn.Parameter):
        return _tensor(value, variant)
    if isinstance(value, np.ndarray) and value.dtype.kind in "fib":
        return _tensor(torch.from_numpy(value.copy()), variant) + ".numpy()"
    if source := _plain(value, variant):
        return source
    story = _story(value)
    if story and story.intact and len(story.variants[variant]) == 1:
        made = story.variants[variant][0].removeprefix("it = ")
        has_weights = isinstance(value, torch.nn.Module) and list(value.parameters())
        return f"make.fixed({made})" if has_weights else made
    if callable(value) and getattr(value, "__module__", None):
        name = getattr(value, "__qualname__", "<")
        if "<" not in name:
            return _named(f"{value.__module__}:{name}")
    raise NoSource


def _named(path: str) -> str:
    return f"make.named({path!r})"


def _plain(value: Any, variant: int) -> str:
    """An expression for a value without parts; empty where it is of another kind."""
    if type(value) in (int, bool, bytes, torch.dtype) or value is None:
        return repr(value)
    if type(value) is str:
        if len(value) > 300:
            raise NoSource
        return repr(_other_words(value, variant))
    if type(value) is float:
        finite = value == value and abs(value) != float("inf")
        return repr(value) if finite else f"float({str(value)!r})"
    if isinstance(value, torch.Size):
        return f"torch.Size({tuple(value)})"
    if isinstance(value, torch.device):
        return f"torch.device({str(value)!r})"
    return ""


def _container(value: Any, variant: int, depth: int) -> str:
    if len(value) > 24:
        raise NoSource
    if type(value) is dict:
        pairs = ((source_of(k, 0, depth + 1), source_of(v, variant, depth + 1)) for k, v in value.items())
        return "{" + ", ".join(f"{key}: {item}" for key, item in pairs) + "}"
    parts = [source_of(each, variant, depth + 1) for each in value]
    if type(value) is tuple:
        return "(" + "".join(f"{part}, " for part in parts) + ")"
    listed = f"[{', '.join(parts)}]"
    return listed if type(value) is list else f"set({listed})"


def _tensor(value: torch.Tensor, variant: int) -> str:
    if value.layout != torch.strided or value.is_complex() or value.is_quantized or value.is_meta:
        raise NoSource
    value = value.detach()
    size = value.numel()
    if (variant == 0 and size <= MOST_LITERAL) or size <= 1:
        suffix = "" if value.dtype in (torch.float32, torch.int64, torch.bool) else f", dtype={value.dtype}"
        if size == 0:
            return f"torch.empty({tuple(value.shape)}, dtype={value.dtype})"
        return f"torch.tensor({_rounded(value.tolist())}{suffix})"
    if size > 20_000:
        raise NoSource
    shape = ", ".join(str(each) for each in value.shape)
    seed = f"{variant}, {shape}"
    if value.dtype == torch.bool:
        return f"make.booleans({seed})"
    low, high = value.min().item(), value.max().item()
    if not value.is_floating_point():
        made = f"make.integers({variant}, {int(high - low) + 1}, {shape})" + (f" + {int(low)}" if low else "")
        made = f"({made})" if low else made
    elif low != low or high != high or high - low == float("inf"):
        raise NoSource
    elif bool((value == value.round()).all()):
        made = f"(make.integers({variant}, {int(high - low) + 1}, {shape}) + {int(low)}).float()"
    elif low >= 0 and high <= 1:
        sums = next(
            (
                axis
                for axis in range(value.ndim - 1, -1, -1)
                if value.shape[axis] > 1 and torch.allclose(value.float().sum(axis), torch.ones(1), atol=1e-3)
            ),
            None,
        )
        made = f"make.uniform({seed})" if sums is None else f"make.normal({seed}).softmax({sums})"
    elif low >= 0:
        made = f"make.uniform({seed}) * {round(high, 2)}"
    else:
        made = f"make.normal({seed}) * {round(value.std().item() or 1, 2)}"
    made = f"({made})" if " * " in made else made
    usual = torch.float32 if value.is_floating_point() else torch.int64
    return made if value.dtype == usual else f"{made}.to({value.dtype})"


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _other_words(text: str, variant: int) -> str:
    words = text.split(" ")
    if variant == 0 or len(words) < 3:
        return text
    rng = random.Random(f"{variant}/{text}")
    match variant % 3:
        case 0:
            rng.shuffle(words)
        case 1:
            del words[rng.randrange(len(words))]
        case _:
            words[rng.randrange(len(words))] = rng.choice(words)
    return " ".join(words)
