"""Records the arguments that a package's own examples give to its functions, as source expressions.

The examples in the docstrings of a package call its public functions, and these call its private ones with
arguments as they occur. Each recorded call comes in variants: as it was, and with other numbers and words of
the same shape and range.
"""

from __future__ import annotations

import contextlib
import doctest
import functools
import inspect
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from maintenance.suites.trial import deadline, quiet
from maintenance.suites.value_source import STORY, NoSource, Story, source_of, story_of
from pipeline.schema import Sample
from pipeline.scoring.execution.suites import place

VARIANTS = 6
MOST_RECORDS = 10


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
        self.recordings: dict[str, Recording] = {}
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
            story = story_of(values.pop(first))
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
        kept = self.recordings.setdefault(sample_id, Recording()).values
        if made[0] not in kept:
            kept.extend(made)
            self.seen[sample_id] = self.seen.get(sample_id, 0) + 1

    def _follow(self, kind: type) -> None:
        """Keep the story of each object of a class: how it was made and which methods were called."""
        original = kind.__init__  # type: ignore[misc]
        path = f"{kind.__module__}:{kind.__qualname__}"

        @functools.wraps(original)
        def make(it: Any, *args: Any, **kwargs: Any) -> None:
            if type(it) is kind and story_of(it) is None:
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
                object.__setattr__(it, STORY, story)
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
            story = story_of(it) if type(it) is kind else None
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
                self._keepstory_of(kind, story)

        return call

    def _keepstory_of(self, kind: type, story: Story) -> None:
        for sample_id in self.classes.get(kind, ()):
            kept = self.recordings.setdefault(sample_id, Recording()).stories
            for variant in story.variants:
                if list(variant) not in kept and len(kept) < MOST_RECORDS * VARIANTS:
                    kept.append(list(variant))


def run_examples(modules: Sequence[str], seconds: float = 8.0) -> None:
    """Run the examples in the docstrings of modules; those that fail or take too long are skipped."""
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
    classes: dict[type, None] = {}
    left = list(kinds)
    while left:
        for each in type.__subclasses__(left.pop()):
            if each not in classes and each not in kinds:
                classes[each] = None
                left.append(each)
    return list(classes)


def _given(args: tuple[Any, ...], kwargs: dict[str, Any], variant: int) -> str:
    return ", ".join(
        [
            *(source_of(each, variant) for each in args),
            *(f"{name}={source_of(each, variant)}" for name, each in kwargs.items()),
        ]
    )
