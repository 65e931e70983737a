"""Where code that a model wrote runs: a process that can read Python's packages and compute, nothing else.

What confines a candidate on Linux, with no privilege and no dependency:

- Landlock: it reads Python, its packages and the system's libraries, and changes its scratch folder only;
- seccomp: no network, no other program, no second process or thread, no signal to another process;
- limits on processor time, memory, files and their sizes; the clock is watched from outside;
- an environment without secrets, no input, no output, one channel, and what comes through it is JSON.

Where the system does not offer this (macOS, Windows, old kernels), nothing is executed unless the user allows
execution without it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.schema import LabError, counted
from pipeline.scoring.execution import _restrict
from pipeline.scoring.execution._channel import Channel, GarbledError
from pipeline.scoring.execution._restrict import Limits

_ROOT = Path(__file__).resolve().parents[3]
_SECONDS_TO_IMPORT = 600.0  # hundreds of modules, on a machine that may be busy
_KEPT = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")
"""What the sandbox's process keeps of this one's environment: where Python is found."""
_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONNOUSERSITE": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


class EndedError(Exception):
    """The candidate's process ended, or was ended, before it answered. The text is the reason."""

    def __init__(self, reason: str, *, too_long: bool = False) -> None:
        super().__init__(reason)
        self.too_long = too_long


def unavailable(unsafe: bool = False) -> str:
    """Return why nothing can be executed here, in words; empty if it can.

    Args:
        unsafe: whether the user allows execution where the system cannot confine it.
    """
    if not hasattr(os, "fork"):
        return "Execution is off: it needs a system that can fork a process, such as Linux."
    if unsafe or not (lacking := _restrict.missing()):
        return ""
    return (
        f"Execution is off, because code that a model wrote could not be confined here: {lacking}. Setting "
        "RCL_UNSAFE_EXECUTION=1 runs it nevertheless; then it can read and change your files, use the "
        "network and start programs, as any program of yours can."
    )


class Sandbox:
    """A process that has imported what candidates need and forks one for each. Threads may share it."""

    def __init__(self, preload: Iterable[str] = (), limits: Limits | None = None, *, unsafe: bool = False):
        """Prepare; the process starts with the first candidate.

        Args:
            preload: modules to import once for all candidates.
            limits: what one candidate may use.
            unsafe: whether to run where the system cannot confine a candidate.

        Raises:
            LabError: nothing can be executed here.
        """
        if reason := unavailable(unsafe):
            raise LabError(reason)
        self.limits = limits or Limits()
        self._preload = list(preload)
        self._confined = not _restrict.missing()
        self._home = tempfile.TemporaryDirectory(prefix="rcl-sandbox-", ignore_cleanup_errors=True)
        self._folder = Path(self._home.name)
        self._lock = threading.Lock()
        self._zygote: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every process of it and delete its folder."""
        with self._lock:
            self._stop()
        self._home.cleanup()

    @contextlib.contextmanager
    def process(self) -> Iterator[Process]:
        """A fresh confined process; it is ended, and its files deleted, when the block ends."""
        scratch = Path(tempfile.mkdtemp(dir=self._folder))
        here_reads, there_writes = os.pipe()
        there_reads, here_writes = os.pipe()
        channel = Channel(here_reads, here_writes, lambda: _check_size(scratch, self.limits))
        try:
            try:
                number = self._ask({"fork": str(scratch)}, (there_reads, there_writes))["process"]
            finally:
                os.close(there_reads)
                os.close(there_writes)
            process = Process(self, number, channel)
            try:
                if refused := process.ask(None):
                    raise LabError(f"The sandbox could not confine a process: {refused['message']}.")
                yield process
            finally:
                process.end()
        finally:
            channel.close()
            _delete(scratch)

    def _ask(self, message: dict[str, Any], descriptors: tuple[int, ...] = ()) -> dict[str, Any]:
        """Ask the zygote. A new one starts if there is none, or if it ended while it had no work."""
        with self._lock:
            try:
                return self._tell(message, descriptors)
            except (OSError, EOFError):
                self._stop()
            try:
                return self._tell(message, descriptors)
            except (OSError, EOFError) as error:
                self._stop()
                raise LabError(
                    "The process that runs candidates ended or does not answer. Is there enough memory?"
                ) from error

    def _tell(self, message: dict[str, Any], descriptors: tuple[int, ...]) -> dict[str, Any]:
        control = self._control or self._start()
        socket.send_fds(control, [json.dumps(message).encode()], descriptors)
        return _answer(control)

    def _start(self) -> socket.socket:
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        control.settimeout(_SECONDS_TO_IMPORT)
        self._control = control
        order = {
            "preload": self._preload,
            "root": str(_ROOT),
            "confined": self._confined,
            "limits": asdict(self.limits),
        }
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        own = {"PYTHONPATH": str(_ROOT), "HOME": str(self._folder), "TMPDIR": str(self._folder)}
        command = [sys.executable, "-P", "-m", "pipeline.scoring.execution.zygote"]
        self._zygote = subprocess.Popen(
            [*command, str(theirs.fileno()), json.dumps(order)],
            cwd=self._folder,
            env={**_ENVIRONMENT, **kept, **own},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        _answer(control)
        return control

    def _stop(self) -> None:
        if self._control:
            self._control.close()
            self._control = None
        if self._zygote:
            self._zygote.kill()  # its children die with it
            self._zygote.wait()
            self._zygote = None


def _answer(control: socket.socket) -> dict[str, Any]:
    data = control.recv(1 << 16)
    if not data:
        raise EOFError
    answer: dict[str, Any] = json.loads(data)
    return answer


class Process:
    """One candidate's process."""

    def __init__(self, sandbox: Sandbox, number: int, channel: Channel) -> None:
        self._sandbox = sandbox
        self._number = number
        self._channel = channel
        self._until = time.monotonic() + sandbox.limits.wall_seconds
        self._ended: EndedError | None = None

    def ask(self, message: dict[str, Any] | None) -> Any:
        """Send a message, if there is one, and wait for the answer.

        Raises:
            EndedError: the process ended or ran out of its time.
        """
        if self._ended:
            raise self._ended
        try:
            if message is not None:
                self._channel.send(message, self._until)
            return self._channel.receive(self._until)
        except TimeoutError:
            seconds = self._sandbox.limits.wall_seconds
            self.end(EndedError(f"it ran longer than {seconds:.0f} seconds", too_long=True))
        except _TooMuchWrittenError:
            self.end(EndedError("it wrote too many or too large files"))
        except GarbledError:
            self.end(EndedError("what it sent cannot be read"))
        except (EOFError, OSError):
            self.end()
        assert self._ended is not None
        raise self._ended

    def end(self, reason: EndedError | None = None) -> None:
        """End the process, if it has not ended, and remember why."""
        if self._ended:
            return
        self._ended = reason or EndedError("it ended its own process")
        end = self._sandbox._ask({"end": self._number})
        most = self._sandbox.limits.cpu_seconds
        if not reason and (end["signal"] == signal.SIGXCPU or end["cpu_seconds"] >= most):
            words = f"it took more than {counted(most, 'second')} of processor time"
            self._ended = EndedError(words, too_long=True)
        elif not reason and end["signal"] not in (0, signal.SIGKILL):
            self._ended = EndedError(f"it crashed ({signal.Signals(end['signal']).name})")


class _TooMuchWrittenError(Exception):
    """The scratch folder holds more than it may."""


def _check_size(scratch: Path, limits: Limits) -> None:
    """Look through a scratch folder, and no further than it takes to know that it is too large."""
    size = files = 0
    folders = [str(scratch)]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    files += 1
                    size += entry.stat(follow_symlinks=False).st_size
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    if size > limits.scratch_size or files > limits.scratch_files:
                        raise _TooMuchWrittenError
        except FileNotFoundError:  # deleted meanwhile
            continue
        except OSError as error:  # hidden, or deeper than a path may be
            raise _TooMuchWrittenError from error


def _delete(folder: Path) -> None:
    """Delete a folder, even if a candidate nested it deeply or removed its permissions."""
    try:
        folder.rmdir()
    except OSError:
        subprocess.run(["chmod", "-R", "u+rwX", str(folder)], check=False, capture_output=True)
        subprocess.run(["rm", "-rf", str(folder)], check=False, capture_output=True)
