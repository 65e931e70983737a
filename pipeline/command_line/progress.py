"""Progress of a command on stderr: a bar on a terminal, and a line for each report elsewhere."""

from __future__ import annotations

import atexit
import re
import sys
from typing import TYPE_CHECKING

from pipeline.schema import percent_done

if TYPE_CHECKING:
    from rich.progress import Progress

_NUMBER = re.compile(r"\d[\d.,]*")


class ProgressBar:
    """A ``pipeline.schema.Progress`` that shows what it is told.

    On a terminal one line is drawn again and again while only the numbers of the message change. Other
    messages, and what others write to stderr, stay above it. The bar ends at 1, or when it is closed.
    """

    def __init__(self) -> None:
        """Show nothing yet."""
        self._bar: Progress | None = None
        self._shown = ""

    def __call__(self, fraction: float, message: str, details: str = "") -> None:
        """Show a message.

        Args:
            fraction: of the whole, from 0 to 1.
            message: what is done.
            details: what differs from report to report, behind the message.
        """
        text = f"{message} · {details}" if details else message
        if not sys.stderr.isatty():
            print(f"{percent_done(fraction):3}% {text}", file=sys.stderr, flush=True)
            return
        bar = self._bar = self._bar or _open()
        (task,) = bar.tasks
        if self._shown and _NUMBER.sub("", self._shown) != _NUMBER.sub("", message):
            bar.console.print(task.description, markup=False, highlight=False)
        self._shown = message
        bar.update(task.id, completed=fraction, description=text, refresh=True)
        if fraction >= 1:
            self.close()

    def close(self) -> None:
        """Leave the bar as it is; the next report begins another."""
        if self._bar:
            self._bar.stop()
        self._bar, self._shown = None, ""


def _open() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    bar = Progress(
        BarColumn(20),
        TextColumn("{task.percentage:3.0f}% {task.description}", markup=False),
        console=Console(stderr=True, force_jupyter=False),
        auto_refresh=False,
        redirect_stdout=False,  # the result goes there
    )
    bar.add_task("", total=1.0)
    bar.start()
    atexit.register(bar.stop)  # a command that fails shows the cursor again
    return bar
