"""What a thread prepares, and what a visitor reads where that fails."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from pipeline.schema import LabError, Progress
from ui.loading import Loading


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EROFS, os.strerror(errno.EROFS)), "Loading failed: Read-only file system."),
        (KeyError("token"), "Loading failed: the server's log says why."),
        (LabError("The hub cannot be reached."), "The hub cannot be reached."),
    ],
)
def test_no_raw_message_of_python_is_shown_where_loading_fails(error: Exception, said: str) -> None:
    def fail(progress: Progress) -> None:
        raise error

    with ThreadPoolExecutor(1) as pool:
        loading = Loading(fail, pool, Event(), "Loading")
        with pytest.raises(LabError):
            loading.result()
    assert (loading.state, loading.message) == ("failed", said)
