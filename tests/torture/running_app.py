"""The whole app in a process of its own, as ``python app.py`` starts it, with what can be wrong around it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from tests.conftest import SHARED
from tests.jobs_kit import ROOT

_FILES = "openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat"
JUMP = """
import runpy, time
began, real = time.time(), time.time
time.time = lambda: real() + (0 if real() - began < {after} else {by})
runpy.run_path("app.py", run_name="__main__")
"""
"""A program that is the app, on a machine whose clock is set while it runs."""


@dataclass(frozen=True)
class RunningApp:
    """A process of the app; ``log`` has what it printed."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def server(self) -> psutil.Process:
        """The process that serves: the first one below strace or a shell that runs app.py."""
        whole = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        return next(each for each in whole if Path(each.name()).name.startswith("python"))

    def kill(self) -> None:
        """Kill the server with signal 9."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)


def new_folder(folder: Path) -> Path:
    """A data folder with the short model and the dataset linked."""
    (folder / "datasets").mkdir(parents=True)
    (folder / "models").symlink_to(SHARED / "short" / "models")
    for file in (SHARED / "datasets").glob("*.parquet"):
        (folder / "datasets" / file.name).symlink_to(file)
    return folder


@contextmanager
def running_app(
    data: Path,
    trace: Path | None = None,
    program: str = "",
    before: str = "",
    env: dict[str, str] | None = None,
    seconds: float = 180,
) -> Iterator[RunningApp]:
    """Start the app on a data folder, and end it with the block.

    Args:
        data: the data folder.
        trace: strace writes there which files are opened for writing.
        program: Python to run instead of ``app.py``.
        before: shell commands to run first, as root of a mount namespace of its own.
        env: more environment variables.
        seconds: how long it may take to start.

    Raises:
        RuntimeError: it did not start; the message has the end of its log.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = data.parent / f"{data.name}.{port}.log"
    command = [sys.executable, *(["-c", program] if program else ["app.py"])]
    if trace:
        command = [
            "strace",
            "-f",
            "-qq",
            "--seccomp-bpf",
            "-e",
            f"trace={_FILES}",
            "-o",
            str(trace),
            *command,
        ]
    if before:
        command = ["unshare", "-m", "sh", "-ec", f'{before}\nexec "$@"', "sh", *command]
    home = data.parent / "home"
    home.mkdir(exist_ok=True)
    environment = {
        **os.environ, "RCL_DATA_DIR": str(data), "HOST": "127.0.0.1", "PORT": str(port), "HOME": str(home),
        "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1", "GRADIO_ANALYTICS_ENABLED": "False",
        "PYTHONUNBUFFERED": "1", **(env or {}),
    }  # fmt: skip
    for inherited in ("GRADIO_TEMP_DIR", "HF_HOME"):
        environment.pop(inherited, None)
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    app = RunningApp(f"http://127.0.0.1:{port}/", process, log)
    try:
        _wait(app, seconds)
        yield app
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                app.kill()


def end_jobs(data: Path) -> None:
    """Kill the jobs on a data folder, which go on when their app ends."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if Path(process.environ().get("RCL_DATA_DIR", "/")).is_relative_to(data):
                process.kill()


def _wait(app: RunningApp, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and app.process.poll() is None:
        try:
            if httpx.get(app.url, timeout=10).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.3)
    raise RuntimeError(f"the app did not start: {app.log.read_text(errors='replace')[-2_000:]}")


def written_outside(trace: Path, allowed: Sequence[Path]) -> list[str]:
    """Files that a traced process has made or opened for writing and that are in none of these folders."""
    found = set()
    roots = [str(each) for folder in allowed for each in (folder, folder.resolve())]
    for line in trace.read_text(errors="replace").splitlines():
        call, _, rest = line.partition("(")
        if " = -1 " in rest or '"' not in rest:
            continue
        if "open" in call and not ("O_WRONLY" in rest or "O_RDWR" in rest or "O_CREAT" in rest):
            continue
        names = rest.split('"')[1::2]
        path = names[-1] if len(names) > 1 and "open" not in call and "mkdir" not in call else names[0]
        if path.startswith("/") and not any(path.startswith(root) for root in (*roots, "/dev/", "/proc/")):
            found.add(path)
        if not path.startswith("/") and "AT_FDCWD" in rest:
            found.add(path)
    return sorted(found)
