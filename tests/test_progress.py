"""What a command shows of its progress: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

from tests.jobs_kit import ROOT

COMMAND = """
import sys
from pipeline.command_line.progress import ProgressBar
show = ProgressBar()
show(0.0, "reading [the] dataset")
for step in range(1, 41):
    show(step / 50, f"step {step} of 40", f"loss {1 / step:.3f}")
    if step == 20:
        print("a warning of somebody else", file=sys.stderr)
show(1.0, "done")
print("{}")
"""


def on_a_terminal(command: str) -> tuple[str, str]:
    """What a Python program writes to stderr, a terminal, and to stdout, a pipe."""
    ours, its = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=its, text=True
    )
    os.close(its)
    said = b""
    try:
        while piece := os.read(ours, 65_536):
            said += piece
    except OSError:  # the end of a terminal
        os.close(ours)
    return said.decode(), done.stdout


def test_a_terminal_gets_a_bar_that_keeps_what_else_is_said() -> None:
    said, result = on_a_terminal(COMMAND)
    assert result == "{}\n"
    assert "\N{BOX DRAWINGS HEAVY HORIZONTAL}" in said
    kept = [line.rsplit("\r", 1)[-1] for line in said.split("\r\n")]
    assert sum("step" in line for line in kept) <= 3  # drawn in place
    assert any("reading [the] dataset" in line for line in kept)
    assert any("a warning of somebody else" in line for line in kept)
    assert said.endswith("\x1b[?25h")  # the cursor is shown again


def test_a_pipe_gets_a_line_for_each_report() -> None:
    done = subprocess.run([sys.executable, "-c", COMMAND], cwd=ROOT, capture_output=True, text=True)
    lines = done.stderr.splitlines()
    assert lines[:2] == ["  0% reading [the] dataset", "  2% step 1 of 40 \N{MIDDLE DOT} loss 1.000"]
    assert len(lines) == 43
    assert done.stdout == "{}\n"
