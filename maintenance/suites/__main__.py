"""``python -m maintenance.suites --suite packages``: choose samples and calls, write what ships."""

from __future__ import annotations

import gc
import os
import sys
from typing import Any

import torch

from maintenance.suites.assemble import confirm, record, until_enough, write_suite
from maintenance.suites.build import probe_rows
from pipeline.command_line.verbs import run_verb
from pipeline.scoring.execution.suites.load import HELD_OUT, PackageSuite, suite_rows
from pipeline.scoring.execution.suites.place import load_module
from pipeline.settings import Settings

_PRELOADED: dict[PackageSuite, tuple[str, ...]] = {
    "packages": (
        "transformers.modeling_utils", "transformers.modeling_outputs", "transformers.image_transforms",
        "transformers.tokenization_utils_base", "torch._dynamo", "torch.distributed.tensor",
    ),
    "metrics": (HELD_OUT,),
}  # fmt: skip
_HASH_SEED = "1"  # candidates run with 0, so a reference that depends on it is found


def build_suite(
    suite: PackageSuite, samples: int = 400, workers: int = 1, resume: bool = False
) -> dict[str, Any]:
    """Choose the samples and calls of a suite, and write them to assets/suites.

    Args:
        suite: which suite
        samples: the most that are kept, the first ones in the dataset's order
        workers: processes that work at the same time
        resume: go on where the last build of the suite stopped

    Returns:
        The number of samples, and how many rows were left after each step.
    """
    settings = Settings.from_env()
    torch.set_num_threads(1)
    rows = suite_rows(settings, suite)
    log = settings.data_dir / "suites" / f"{suite}.jsonl"
    log.parent.mkdir(parents=True, exist_ok=True)
    if not resume:
        log.unlink(missing_ok=True)
    for name in _PRELOADED[suite]:
        load_module(name)
    recorded = record(list(rows)) if suite == "metrics" else {}
    gc.collect()
    gc.freeze()  # so that forks share the pages
    probes = until_enough(
        rows, samples, log, lambda part: confirm(suite, part, probe_rows(part, suite, recorded, workers))
    )
    return write_suite(settings, suite, rows, probes)


if __name__ == "__main__":
    # The build is a process with this environment from its start: it decides hashes and threads.
    if os.environ.get("PYTHONHASHSEED") != _HASH_SEED:
        os.environ |= {
            "PYTHONHASHSEED": _HASH_SEED,
            "HF_HUB_OFFLINE": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
        }
        os.execv(sys.executable, [sys.executable, "-m", "maintenance.suites", *sys.argv[1:]])
    sys.exit(run_verb(build_suite))
