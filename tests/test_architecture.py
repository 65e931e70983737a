"""The arrows of the architecture: who may import whom, and what starting the app may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_NOT = {
    "pipeline": ("ui", "training", "maintenance", "app", "gradio", "tests"),
    "training": ("ui", "maintenance", "app", "gradio", "tests"),
    "ui": ("maintenance", "app", "tests"),
    "maintenance": ("app", "tests"),
}
HEAVY = ("torch", "transformers", "datasets", "peft", "trl", "sacrebleu", "openai", "ray", "scipy", "plotly")


def imports(file: Path) -> set[str]:
    """Every module that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("package", MAY_NOT)
def test_no_package_imports_what_builds_on_it(package: str) -> None:
    wrong = {
        f"{file.relative_to(ROOT)}: {name}"
        for file in (ROOT / package).rglob("*.py")
        for name in imports(file)
        if name.partition(".")[0] in MAY_NOT[package]
    }
    assert not wrong


def test_the_tabs_know_of_training_only_its_jobs() -> None:
    wrong = {
        f"{file.name}: {name}"
        for file in (ROOT / "ui").rglob("*.py")
        for name in imports(file)
        if name.startswith("training") and not name.startswith("training.jobs")
    }
    assert not wrong


def test_starting_the_app_imports_nothing_heavy() -> None:
    code = f"import sys, app; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
