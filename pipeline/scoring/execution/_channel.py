"""Messages between two processes: JSON with its length before it, over two pipes. Nothing is unpickled."""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LARGEST = 32 << 20
"""Bytes in one message; an honest one is far smaller."""
_HEAD = 8
_GLANCE = 0.25  # seconds between two looks at what the other side does meanwhile


class GarbledError(Exception):
    """What came is no message."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One end of a conversation.

    Attributes:
        reads: file descriptor of the pipe to read from.
        writes: file descriptor of the pipe to write to.
        watch: called now and then while waiting with a deadline; it may raise to end the wait.
    """

    reads: int
    writes: int
    watch: Callable[[], None] = lambda: None

    def send(self, message: Any, until: float | None = None) -> None:
        """Send a message.

        Raises:
            TimeoutError: the other side did not take it before ``until`` (``time.monotonic``).
            BrokenPipeError: the other side is gone.
        """
        body = json.dumps(message).encode()
        data = memoryview(len(body).to_bytes(_HEAD, "big") + body)
        while data:
            self._wait(self.writes, select.POLLOUT, until)
            data = data[os.write(self.writes, data[:4096] if until else data) :]

    def receive(self, until: float | None = None) -> Any:
        """Wait for a message.

        Raises:
            TimeoutError: none came before ``until``.
            EOFError: the other side is gone.
            GarbledError: what came is no message.
        """
        size = int.from_bytes(self._read(_HEAD, until), "big")
        if size > LARGEST:
            raise GarbledError
        try:
            return json.loads(self._read(size, until))
        except (ValueError, RecursionError) as error:
            raise GarbledError from error

    def _read(self, size: int, until: float | None) -> bytes:
        parts = []
        while size:
            self._wait(self.reads, select.POLLIN, until)
            part = os.read(self.reads, min(size, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _wait(self, descriptor: int, event: int, until: float | None) -> None:
        if until is None:
            return
        poll = select.poll()
        poll.register(descriptor, event)
        while not poll.poll(1000 * max(0.0, min(_GLANCE, until - time.monotonic()))):
            self.watch()
            if time.monotonic() >= until:
                raise TimeoutError

    def close(self) -> None:
        """Close both pipes."""
        os.close(self.reads)
        os.close(self.writes)
