"""A verb on a cluster: fetch what it needs from the share, run it, send what it made to the share.

``python -m training.jobs.ray_entrypoint --share URL [--needs FOLDER] -- COMMAND``. Progress, which a local
job has in a file, goes to the log as JSON lines, where the app finds it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.schema import LabError
from pipeline.settings import PROGRESS_FILE, Settings
from training.jobs import job_files as files
from training.jobs import share


def main(url: str, needs: str | None, command: Sequence[str]) -> int:
    """Returns the verb's exit code, or 1 where the share could not be reached."""
    data_dir = Settings.from_env().data_dir
    data_dir.mkdir(parents=True, exist_ok=True)
    try:
        if needs:
            share.pull(data_dir, needs, url)
        code, result = _run([sys.executable, *command[1:]])
        if code == 0 and result and "path" in result:
            shared = Path(str(result["path"])).relative_to(data_dir).as_posix()
            share.push(data_dir, shared, url)
            print(json.dumps({**result, "shared": shared}, ensure_ascii=False), flush=True)
        return code
    except (LabError, OSError, ValueError) as error:
        print(f"error: the results could not be exchanged with {url}: {error}", flush=True)
        return 1


def _run(command: Sequence[str]) -> tuple[int, dict[str, object] | None]:
    environment = {**os.environ, PROGRESS_FILE: "/dev/stdout"}
    verb = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace", env=environment)
    assert verb.stdout is not None
    last = ""
    for line in verb.stdout:
        print(line, end="", flush=True)
        last = line if line.startswith("{") and not files.is_report(line) else last
    return verb.wait(), files.result(last)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", required=True)
    parser.add_argument("--needs")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    sys.exit(main(arguments.share, arguments.needs, arguments.command))
