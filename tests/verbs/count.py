"""A verb that counts, saves each number, and can be made to misbehave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

from pipeline.command_line.verbs import run_verb
from pipeline.schema import LabError
from pipeline.settings import Settings
from training.jobs.progress import Reporter


def count(
    to: int,
    seconds: float = 0.02,
    name: str = "count",
    fault: Literal["none", "error", "crash", "deaf", "child", "full"] = "none",
    resume: bool = False,
    output: Path | None = None,
) -> dict[str, Any]:
    """Count, slowly.

    Args:
        to: where to stop
        seconds: how long each number takes
        name: of the file that holds the last number
        fault: what goes wrong at the third number
        resume: go on from the last number saved
        output: where to save instead of the data folder
    """
    report = Reporter()
    folder = output or Settings.from_env().data_dir
    saved = folder / f"{name}.txt"
    start = int(saved.read_text()) if resume and saved.exists() else 0
    if fault == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for number in range(start + 1, to + 1):
        time.sleep(seconds)
        part = saved.with_suffix(".part")
        part.write_text(str(number) + " " * (400_000 if fault == "full" else 0))
        part.replace(saved)
        report(number / to, f"counted {number}", step=number, loss=1 / number)
        if number == 3 and fault == "error":
            raise LabError("Three is too many.")
        if number == 3 and fault == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if number == 3 and fault == "child":
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    key, gpu = bool(os.environ.get("OPENAI_API_KEY")), os.environ.get("CUDA_VISIBLE_DEVICES")
    return {"counted": to, "from": start, "key": key, "gpu": gpu}


if __name__ == "__main__":
    sys.exit(run_verb(count))
