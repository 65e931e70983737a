"""``python -m maintenance.harness``: measure how often execution is wrong, and write the study."""

from __future__ import annotations

import sys

from maintenance.harness.study import study
from training import command_line as cli

if __name__ == "__main__":
    sys.exit(cli.run_verb(study))
