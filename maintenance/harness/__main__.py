"""``python -m maintenance.harness``: measure how often execution is wrong, and write the study."""

from __future__ import annotations

import sys

from maintenance.harness.study import study
from pipeline.command_line.verbs import run_verb

if __name__ == "__main__":
    sys.exit(run_verb(study))
