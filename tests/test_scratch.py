"""Nothing is written outside the data folder, and what a killed process leaves there is deleted."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from pipeline.settings import Settings
from tests.conftest import isolated
from tests.jobs_kit import ROOT

_KILLED = """
import os, signal, sys, tempfile
from pathlib import Path
from pipeline.files import open_scratch
open_scratch(Path(sys.argv[1]))
tempfile.mkdtemp()
os.kill(os.getpid(), int(sys.argv[2]))
"""


def left_by(folder: Path, signal: int) -> int:
    """How many scratch folders are there after a process that made a file in its own and got the signal."""
    subprocess.run([sys.executable, "-c", _KILLED, str(folder), str(signal)], cwd=ROOT)
    return len(list((folder / "scratch").iterdir()))


def test_temporary_files_go_with_the_process_and_those_of_a_killed_one_with_the_next(tmp_path: Path) -> None:
    assert left_by(tmp_path, 0) == 0
    assert left_by(tmp_path, 9) == 1
    assert left_by(tmp_path, 0) == 0


def test_the_app_writes_in_its_data_folder_alone(short: Settings, tmp_path: Path) -> None:
    own = isolated(short, tmp_path / "data")
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    env = {
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("XDG_", "GRADIO_", "MPL"))
        },
        "RCL_DATA_DIR": str(own.data_dir),
        "PORT": url.rstrip("/").rpartition(":")[2],
        "HOME": str(home),
        "TMPDIR": str(temporary),
    }
    app = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=env, stderr=subprocess.PIPE)
    try:
        config = None
        while config is None:
            assert app.poll() is None, app.stderr.read() if app.stderr else ""
            try:
                config = httpx.get(f"{url}config").json()
            except httpx.TransportError:
                time.sleep(0.2)
        shown = {one["id"]: one["props"].get("value") for one in config["components"]}
        inputs = {each["api_name"]: [shown[one] for one in each["inputs"]] for each in config["dependencies"]}
        with httpx.Client(base_url=f"{url}gradio_api/run/", timeout=300) as client:
            for name, values in {
                "score": ["def f(): pass", "def f(): return 1", "Write f.", "smollm2-135m"],
                "results": ["", "", []],
                "export": inputs["export"],
            }.items():
                answer = client.post(name, json={"data": values})
                assert answer.status_code == 200, f"{name}: {answer.text}"
        assert not [file for folder in (home, temporary) for file in folder.rglob("*")]
    finally:
        app.kill()
        app.wait()
