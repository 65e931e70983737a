"""How callbacks run: quietly, or one at a time on the model; and errors that the user can mend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from pipeline.schema import LabError

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
"""For callbacks that only redraw a part of the page."""

ON_MODEL: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}
"""For callbacks that need the model: one runs at a time, the others queue and see their position."""


@contextmanager
def in_words() -> Iterator[None]:
    """Turn a ``LabError`` into the message that the page shows, or that an API client gets."""
    try:
        yield
    except LabError as error:
        raise gr.Error(str(error), title="That did not work", print_exception=False) from error
