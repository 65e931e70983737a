"""Views: what a tab can be opened with. Links between tabs, the address and the history are made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, get_args
from urllib.parse import parse_qsl, urlencode

from pipeline.schema import VARIANTS, PromptVariant, SamplingParams

TabName = Literal["compare", "results", "dataset", "jobs", "about"]
TABS: tuple[TabName, ...] = get_args(TabName)


@dataclass(frozen=True)
class View:
    """A tab and what it shows. What is empty is left to the tab.

    Attributes:
        family: model family.
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
    """

    tab: TabName = "compare"
    family: str = ""
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


_TEXTS = tuple(each.name for each in fields(View) if each.type == "str")
_NUMBERS = {each.name: float if each.type == "float" else int for each in fields(SamplingParams)}
KEYS = ("tab", "column", "variant", *_TEXTS, *_NUMBERS)
"""The parameters of an address that belong to a view; all others are left alone."""


def to_query(view: View) -> str:
    """Write a view as the query of an address, ``tab=results&metric=chrF``; empty for an empty view."""
    if view == View():
        return ""
    pairs: list[tuple[str, object]] = [("tab", view.tab)]
    pairs += [(name, getattr(view, name)) for name in (*_TEXTS, "variant") if getattr(view, name)]
    pairs += [("column", key) for key in view.columns]
    if view.sampling:
        numbers = ((name, getattr(view.sampling, name)) for name in _NUMBERS)
        pairs += [(name, value) for name, value in numbers if value is not None]  # a form's empty field
    return urlencode(pairs)


def from_query(query: str) -> View:
    """Read the view of an address. What makes no sense is left out: an address is not a form."""
    pairs = parse_qsl(query.removeprefix("?"))
    given = dict(pairs)
    return View(
        tab=next((name for name in TABS if name == given.get("tab")), "compare"),
        variant=next((name for name in VARIANTS if name == given.get("variant")), ""),
        columns=tuple(value for name, value in pairs if name == "column"),
        sampling=_sampling(given, list(_NUMBERS)),
        **{name: given[name] for name in _TEXTS if name in given},
    )


def _sampling(given: dict[str, str], names: Sequence[str]) -> SamplingParams | None:
    try:
        numbers = {name: _NUMBERS[name](given[name]) for name in names if name in given}
        return SamplingParams(**numbers) if numbers else None  # type: ignore[arg-type]
    except ValueError:
        return None
