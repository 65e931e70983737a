"""Reading a dataset of the Hugging Face Hub, in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipeline.data.own.apart import ProcessLimits, give_rows, take_rows, why
from pipeline.data.own.table import Collector, Table
from pipeline.network import HUB_ID, HUB_URL, with_settings
from pipeline.schema import LabError

LIMITS = ProcessLimits(megabytes=3_000, seconds=300)
"""Whole groups of rows are unpacked."""
_SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


def read_hub(hub_id: str, split: str = "train") -> Table:
    """Read a dataset of the hub; raises ``LabError`` if that is no id, or it is too large or not there."""
    if not HUB_ID.fullmatch(hub_id):
        raise LabError(f"A dataset's id on the Hugging Face Hub looks like owner/name, not {hub_id[:80]!r}.")
    rows = Collector(hub_id)
    take_rows(rows, "pipeline.data.own.read_hub", LIMITS, [split], secrets=_SECRETS)
    return rows.table()


def _read(hub_id: str, split: str) -> Iterator[tuple[str, Any]]:
    try:
        import datasets

        # Streaming: nothing of a dataset that is too large is downloaded beyond the limit.
        for row in datasets.load_dataset(hub_id, split=split, streaming=True):
            yield "row", {name: _cell(value) for name, value in row.items()}
    except MemoryError:
        raise
    except Exception as error:  # errors of the hub, the network and the parsers have no common base
        problem = with_settings(why(error), HUB_URL)
        raise LabError(
            f"The dataset {hub_id} cannot be read from the Hugging Face Hub: {problem}."
        ) from error


def _cell(value: Any) -> Any:
    return None if isinstance(value, list | dict | bytes) else value


if __name__ == "__main__":
    give_rows(_read)
