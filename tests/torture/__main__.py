"""``python -m tests.torture``: attack a running app, break what is around it, kill it; write one table.

``--share`` cuts all of it: 1 is 5,000 inputs, 50 visitors for 5 minutes, 200 kills and 10,000 calls. Visitors
stay for a minute at least, or they would say nothing of the wait.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pipeline import __version__
from pipeline.versions import package_versions
from tests.jobs_kit import ROOT
from tests.torture.faults import go_wrong
from tests.torture.findings import Findings
from tests.torture.fuzz import fuzz
from tests.torture.kills import SHARES, kill_everything
from tests.torture.running_app import new_folder, running_app, written_outside
from tests.torture.visitors import memory_growth, visit, warm_up

INPUTS, VISITORS, SECONDS, CALLS = 5_000, 50, 300, 10_000
LEAST_SECONDS = 60
TABLE = ROOT / "docs" / "torture.md"
PARTS = ("fuzz", "visitors", "memory", "kills", "faults")
Rows = list[tuple[str, str, str]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the parts, print the table; returns 1 if there was a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="share of the whole, such as 0.1")
    parser.add_argument("--seed", type=int, default=23)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--write", action="store_true", help=f"write {TABLE.relative_to(ROOT)}")
    given = parser.parse_args(argv)
    findings, rows, began = Findings(), [], time.monotonic()
    with tempfile.TemporaryDirectory(prefix="torture-", ignore_cleanup_errors=True) as folder:
        work = Path(folder)
        if "visitors" in given.parts:
            _let_visit(given.share, given.seed, work, findings)
        if {"fuzz", "memory"} & set(given.parts):
            rows += _attack(given.share, given.seed, given.parts, work, findings)
        if "kills" in given.parts:
            with _said("kills"):
                kill_everything(given.share, work, given.seed, findings)
        if "faults" in given.parts:
            with _said("faults"):
                go_wrong(given.share, work, given.seed, findings)
    table = _table(given.share, given.seed, findings, rows, time.monotonic() - began)
    print(table)
    if given.write:
        TABLE.write_text(table, encoding="utf-8")
    return int(bool(findings.faults))


@contextmanager
def _said(part: str) -> Iterator[None]:
    began = time.monotonic()
    print(f"{part} …", file=sys.stderr, flush=True)
    yield
    print(f"{part}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def _let_visit(share: float, seed: int, work: Path, findings: Findings) -> None:
    """Visitors, on an app that nothing slows down."""
    with running_app(new_folder(work / "visited")) as app:
        warm_up(app.url)
        with _said("visitors"):
            visit(app.url, VISITORS, _seconds(share), seed, findings)
    findings.read_log(app.log)


def _seconds(share: float) -> float:
    return max(LEAST_SECONDS, SECONDS * share)


def _attack(share: float, seed: int, parts: Sequence[str], work: Path, findings: Findings) -> Rows:
    """Fuzz and memory, on one app whose files are traced."""
    data, trace = new_folder(work / "data"), work / "trace"
    traced = subprocess.run(["strace", "-V"], capture_output=True).returncode == 0
    rows: Rows = []
    with running_app(data, trace if traced else None) as app:
        warm_up(app.url)
        if "fuzz" in parts:
            with _said("fuzz"):
                fuzz(app.url, round(INPUTS * share), seed, findings)
        if "memory" in parts:
            with _said("memory"):
                growth = memory_growth(app.url, app.server, round(CALLS * share), findings)
            rows.append(("memory growth over the API calls", f"{growth:+.1%}", "under 10%"))
            if growth > 0.1:
                findings.fault("memory", f"{growth:.1%}")
    findings.read_log(app.log)
    if traced:
        outside = written_outside(trace, [data])
        size = sum(Path(path).stat().st_size for path in outside if Path(path).is_file())
        rows.append(("bytes outside the data folder (traced by strace)", f"{size:,}", "0"))
        for path in outside:
            findings.fault("outside the data folder", path)
    return rows


def _table(share: float, seed: int, findings: Findings, rows: Rows, seconds: float) -> str:
    def p95(what: str) -> str:
        value = findings.p95(what)
        return "not measured" if value is None else f"{value * 1000:,.0f} ms"

    done = findings.done
    lines: Rows = [
        ("answers with a 5xx status of ours", str(findings.count("5xx")), "0"),
        ("traces or raw Python messages in answers", str(findings.count("raw message")), "0"),
        (
            "unexpected errors of the page's own callbacks, called as no page does",
            str(done["unexpected errors of the page's own callbacks"]),
            "",
        ),
        ("calls without an answer", str(findings.count("no answer")), "0"),
        ("acknowledged records lost", str(findings.count("lost record")), "0"),
        *rows,
        ("traces in the app's log", str(sum(findings.traces.values())), ""),
        ("page, 95th percentile", p95("page"), "under 500 ms"),
        ("wait for the first token, 95th percentile", p95("wait"), ""),
    ]
    kills = ", ".join(f"{done[kind]} {kind}" for kind in SHARES if done[kind])
    sizes = [
        f"{done['fuzz inputs']:,} fuzz inputs",
        f"{done['visitors']} visitors in {_seconds(share):.0f} s, {done['actions of visitors']:,} actions",
        f"{done['API calls for the memory']:,} API calls for the memory",
        f"kills with signal 9: {kills or 'none'}",
        f"{done['acknowledged votes']:,} votes and {done['acknowledged jobs']} jobs stored before kills",
        f"{done['faults around the app']} faults around the app, {done['damaged files']} damaged files",
    ]
    versions = ", ".join(f"{name} {version}" for name, version in sorted(package_versions().items()))
    found = "\n".join(f"- {kind}: {words}" for kind, each in findings.faults.items() for words in each[:20])
    traces = "\n".join(f"- {words} ({number} times)" for words, number in findings.traces.most_common(20))
    refused = "\n".join(f"| {kind} | {number:,} |" for kind, number in findings.refusals.most_common(25))
    return (
        "# Torture\n\n"
        "`make torture` attacks a running app over loopback, kills it, and breaks what is around it; "
        "`make torture SHARE=0.1` does a tenth of that. It wrote this table.\n\n"
        f"{datetime.now(UTC):%Y-%m-%d}, version {__version__}, seed {seed}, share {share:g} of the whole, "
        f"{seconds:.0f} s on {os.cpu_count()} cores, load {os.getloadavg()[1]:.1f}. The times are those of a "
        "loaded machine if the load is more than the cores. The model is the embedded one, cut behind its "
        f"fourth layer. {platform.system()}, Python {platform.python_version()}, {versions}.\n\n"
        + "".join(f"- {each}\n" for each in sizes)
        + "\n| what | found | allowed |\n|---|---|---|\n"
        + "".join(f"| {what} | {found} | {allowed} |\n" for what, found, allowed in lines)
        + (f"\nThe faults:\n\n{found}\n" if found else "")
        + (f"\nThe ends of the traces:\n\n{traces}\n" if traces else "")
        + f"\n| refused with | times |\n|---|---|\n{refused}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
