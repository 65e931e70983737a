"""Views as addresses."""

from __future__ import annotations

import pytest

from pipeline.schema import SamplingParams
from ui.views import View, from_query, to_query


@pytest.mark.parametrize(
    "view",
    [
        View(),
        View("jobs", job="abc"),
        View("results", setup="smollm2-135m-12ab", metric="BERTScore F1 (MiniLM-L6)", run="a b&c=d"),
        View("dataset", "smollm2-135m", sample="pkg/a.py::f.<locals>.g", variant="augmented"),
        View("compare", columns=("baseline/regular", "200/regular"), sampling=SamplingParams(0, 0.2, 8, 7)),
        View("compare", instruction="Add ½ + ½\nin two lines", context="import torch\n"),
    ],
)  # fmt: skip
def test_a_view_is_read_back_from_its_address(view: View) -> None:
    assert from_query(to_query(view)) == view


@pytest.mark.parametrize(
    ("query", "view"),
    [
        ("?__theme=dark&view=api", View()),
        ("tab=nowhere&metric=chrF", View(metric="chrF")),
        ("temperature=hot", View()),
        ("seed=7", View(sampling=SamplingParams(seed=7))),
        ("variant=telepathy&column=", View()),
        ("tab=jobs&job=%00%ff", View("jobs", job="\0\ufffd")),
    ],
)
def test_what_makes_no_sense_in_an_address_is_left_out(query: str, view: View) -> None:
    assert from_query(query) == view
