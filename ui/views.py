"""Views: what a tab can be opened with. Links between tabs, the address and the history are made of them.

This is the one place that maps a view to the query of an address, and back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Literal, get_args
from urllib.parse import parse_qsl, urlencode

from pipeline.decimals import is_number
from pipeline.evaluation.limits import MAX_THRESHOLD, check_number, check_sampling
from pipeline.schema import VARIANTS, LabError, PromptVariant, SamplingParams

TabName = Literal["compare", "results", "dataset", "checkpoints", "jobs", "about"]
TABS: tuple[TabName, ...] = get_args(TabName)
MAX_QUERY = 8_000
"""Characters of a query. Browsers send the address with every request, and servers refuse long ones."""


@dataclass(frozen=True)
class View:
    """A tab and what it shows. What is empty is left to the tab.

    Attributes:
        family: model family.
        dataset: name of a dataset, where it is not the family's own.
        columns: keys of the columns to compare, such as ``1000/regular``.
        sample: id of a dataset sample.
        variant: whose test samples, where each prompt variant has its own.
        instruction: an own instruction, instead of a sample.
        context: the code of a file around it.
        sampling: how to generate.
        setup: key of an evaluation set-up.
        metric: name of a metric.
        run: id of a stored run, which tells its set-up.
        job: id of a job.
        section: a tab within the tab.
        search: what the samples are searched for.
        kind: which kind of samples is listed.
        threshold: the smallest difference that counts.
        second: name of a metric to hold the first against.
        left_out: ids of samples that are left out of all figures.
        axis: what a curve runs along.
    """

    tab: TabName = "compare"
    family: str = ""
    dataset: str = ""
    columns: tuple[str, ...] = ()
    sample: str = ""
    variant: PromptVariant | Literal[""] = ""
    instruction: str = ""
    context: str = ""
    sampling: SamplingParams | None = None
    setup: str = ""
    metric: str = ""
    run: str = ""
    job: str = ""
    section: str = ""
    search: str = ""
    kind: str = ""
    threshold: float | None = None
    second: str = ""
    left_out: tuple[str, ...] = ()
    axis: str = ""


_TEXTS = tuple(each.name for each in fields(View) if each.type == "str")
_LISTS = {"column": "columns", "left_out": "left_out"}
"""Parameters that an address can have several times, and the field of the view that they fill."""
_NUMBERS = {each.name: float if each.type == "float" else int for each in fields(SamplingParams)}
KEYS = ("tab", "variant", "threshold", *_LISTS, *_TEXTS, *_NUMBERS)
"""The parameters of an address that belong to a view; all others are left alone."""
_LONG: Mapping[str, Any] = {"instruction": "", "context": "", "left_out": ()}
"""Fields that may be too long for an address."""


def to_query(view: View) -> str:
    """Write a view as the query of an address, ``tab=results&metric=chrF``; empty for an empty view.

    Long texts are left out where the query would have more than ``MAX_QUERY`` characters.
    """
    query = _written(view)
    return query if len(query) <= MAX_QUERY else _written(replace(view, **_LONG))


def fits_address(view: View) -> bool:
    """Whether an address can hold the whole view."""
    return len(_written(view)) <= MAX_QUERY


def _written(view: View) -> str:
    if view == View():
        return ""
    pairs: list[tuple[str, object]] = [("tab", view.tab)]
    pairs += [(name, getattr(view, name)) for name in (*_TEXTS, "variant") if getattr(view, name)]
    pairs += [(key, value) for key, name in _LISTS.items() for value in getattr(view, name)]
    if view.threshold is not None:
        pairs.append(("threshold", view.threshold))
    if view.sampling:
        numbers = ((name, getattr(view.sampling, name)) for name in _NUMBERS)
        pairs += [(name, value) for name, value in numbers if value is not None]  # a form's empty field
    return urlencode(pairs)


def from_query(query: str) -> tuple[View, list[str]]:
    """Read the view of an address; returns it, and the parameters that make no sense, which are left out."""
    pairs = parse_qsl(query.removeprefix("?"))
    given, refused = dict(pairs), list[str]()

    def read(name: str, convert: Callable[[str], Any]) -> Any:
        """The value of a parameter; None where it is missing or refused."""
        try:
            return convert(given[name]) if name in given else None
        except (ValueError, LabError):
            refused.append(f"{name}={given[name][:40]}")
            return None

    sampling = {name: read(name, partial(_sampling_number, name)) for name in _NUMBERS}
    numbers = {name: value for name, value in sampling.items() if value is not None}
    named: dict[str, Any] = {name: given[name] for name in _TEXTS if name in given}
    for key, name in _LISTS.items():
        named[name] = tuple(value for each, value in pairs if each == key)
    view = View(
        tab=read("tab", partial(_one_of, TABS)) or "compare",
        variant=read("variant", partial(_one_of, VARIANTS)) or "",
        sampling=SamplingParams(**numbers) if numbers else None,
        threshold=read("threshold", lambda text: check_number("threshold", _number(text), 0, MAX_THRESHOLD)),
        **named,
    )
    return view, refused


def _one_of(names: Sequence[str], text: str) -> str:
    if text not in names:
        raise ValueError(text)
    return text


def _number(text: str) -> float:
    if not is_number(text):
        raise ValueError(text)
    return float(text)


def _sampling_number(name: str, text: str) -> float:
    checked = check_sampling(replace(SamplingParams(), **{name: _number(text)}))  # type: ignore[arg-type]
    return _NUMBERS[name](getattr(checked, name))
