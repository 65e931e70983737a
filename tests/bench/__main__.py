"""Every measurement in one run: a table of the ratios, and all figures as JSON in ``assets/studies/``.

Each bench is a process of its own, and measures us and others in turn. Those that need a GPU are run by
themselves: ``tests.bench.gpu``, ``tests.bench.training`` and ``tests.bench.training_loop``.

Run: python -m tests.bench [--output FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.files import write_atomically
from pipeline.settings import ASSETS
from pipeline.versions import package_versions

BENCHES = ("engine", "visitors", "codebertscore")


def main() -> None:
    """Run them one after another, print the table, and store everything."""
    import torch

    device = "gpu" if torch.cuda.is_available() else "cpu"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ASSETS / "studies" / f"bench_{device}.json")
    output = parser.parse_args().output
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    results = {name: _run(name) for name in BENCHES}
    machine = torch.cuda.get_device_name() if device == "gpu" else f"{os.cpu_count()} cores, {_processor()}"
    study = {
        "bench": "all",
        "command": "python -m tests.bench",
        "machine": machine,
        "load_before": load,
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {**package_versions(), "openvino": version("openvino")},
        "results": results,
    }
    write_atomically(output, (json.dumps(study, indent=1) + "\n").encode())
    print(f"{machine}, load {load} before the start")
    for row in (("what", "ours", "other", "ratio"), *table(results)):
        print("| " + " | ".join(row) + " |")


def _run(name: str) -> dict[str, Any]:
    print(f"Running {name}", file=sys.stderr)
    command = [sys.executable, "-m", f"tests.bench.{name}"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def table(results: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """What was measured, our median, the other's, and how many times better ours is."""
    engine, visitors, scores = (results[name] for name in BENCHES)
    speeds = engine["tokens_per_second"]
    for name, ratio in engine["ratio"].items():
        what = f"{engine['columns']} columns, tokens/s: {name}"
        yield what, f"{speeds['ours']:g}", f"{speeds[name]:g}", f"{ratio:g}"
    twelve = visitors["twelve_visitors_tokens_per_second"]
    yield (
        "12 visitors, tokens/s: one after another",
        f"{twelve['together']:g}",
        f"{twelve['one_after_another']:g}",
        f"{visitors['ratio_to_one_after_another']:g}",
    )
    seconds = scores["seconds"]
    for what, ratio in scores["ratio"].items():
        yield (
            f"BERTScore of {scores['pairs'][what]} pairs, {what}, seconds: code_bert_score",
            f"{seconds[f'ours, {what}']:g}",
            f"{seconds[f'package, {what}']:g}",
            f"{ratio:g}",
        )
    crowd = visitors["crowd_first_text_seconds"]
    yield "50 visitors, first text, median seconds", f"{crowd['median']:g}", "", ""
    yield "50 visitors, first text, 95th percentile", f"{crowd['p95']:g}", "", ""


def _processor() -> str:
    """Its name; Linux has it in a file only."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
