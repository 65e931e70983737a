"""What a thread prepares, and what a visitor reads where that fails."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from pipeline.schema import LabError, Progress, percent_done
from ui.loading import Loading


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EROFS, os.strerror(errno.EROFS)), "Loading failed: Read-only file system."),
        (KeyError("token"), "Loading failed: the server's log says why."),
        (LabError("The hub cannot be reached."), "The hub cannot be reached."),
        (LabError(""), "Loading failed: the server's log says why."),
        (SystemExit(1), "Loading failed: the server's log says why."),
    ],
)
def test_no_raw_message_of_python_is_shown_where_loading_fails(error: BaseException, said: str) -> None:
    def fail(progress: Progress) -> None:
        raise error

    with ThreadPoolExecutor(1) as pool:
        loading = Loading(fail, pool, Event(), "Loading")
        with pytest.raises(LabError):
            loading.result()
    assert (loading.state, loading.message) == ("failed", said)


def test_only_what_is_done_is_shown_as_done() -> None:
    go_on = Event()

    def work(progress: Progress) -> None:
        progress(0.999, "Downloading")
        go_on.wait(10)

    with ThreadPoolExecutor(1) as pool:
        loading = Loading(work, pool, Event(), "Loading")
        said = next(message for message in loading.wait() if message.startswith("Downloading"))
        go_on.set()
    assert said == "Downloading… 99%"
    assert [percent_done(share / 100) for share in range(101)] == list(range(101))
