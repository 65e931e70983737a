"""Views as addresses."""

from __future__ import annotations

import pytest

from pipeline.schema import SamplingParams
from ui.views import View, fits_address, from_query, to_query


@pytest.mark.parametrize(
    "view",
    [
        View(),
        View("jobs", job="abc"),
        View("results", kind="flips", search="a b", threshold=0.5, section="pairs"),
        View("results", second="chrF", left_out=("a::b", "c")),
        View("results", setup="smollm2-135m-12ab", metric="BERTScore F1 (MiniLM-L6)", run="a b&c=d"),
        View("dataset", "smollm2-135m", sample="pkg/a.py::f.<locals>.g", variant="augmented"),
        View("compare", columns=("baseline/regular", "200/regular"), sampling=SamplingParams(0, 0.2, 8, 7)),
        View("compare", instruction="Add ½ + ½\nin two lines", context="import torch\n"),
    ],
)  # fmt: skip
def test_a_view_is_read_back_from_its_address(view: View) -> None:
    assert from_query(to_query(view)) == (view, [])


@pytest.mark.parametrize(
    ("query", "view", "refused"),
    [
        ("?__theme=dark&view=api", View(), []),
        ("tab=nowhere&metric=chrF", View(metric="chrF"), ["tab=nowhere"]),
        ("temperature=hot", View(), ["temperature=hot"]),
        ("seed=1_0&max_new_tokens=8.5", View(), ["max_new_tokens=8.5", "seed=1_0"]),
        ("threshold=%EF%BC%91", View(), ["threshold=１"]),
        ("temperature=nan&seed=7", View(sampling=SamplingParams(seed=7)), ["temperature=nan"]),
        ("max_new_tokens=99999&min_p=-1", View(), ["min_p=-1", "max_new_tokens=99999"]),
        ("threshold=-inf&tab=results", View("results"), ["threshold=-inf"]),
        ("variant=telepathy&column=", View(), ["variant=telepathy"]),
        ("tab=jobs&job=%00%ff", View("jobs", job="\0\ufffd"), []),
    ],
)
def test_what_makes_no_sense_in_an_address_is_left_out_and_named(
    query: str, view: View, refused: list[str]
) -> None:
    assert from_query(query) == (view, refused)


def test_an_address_stays_short_enough_for_every_server() -> None:
    view = View("compare", "smollm2-135m", instruction="Sort.", context="x = 1\n" * 5_000)
    assert not fits_address(view)
    assert from_query(to_query(view)) == (View("compare", "smollm2-135m"), [])
    assert fits_address(View(instruction="Sort."))
