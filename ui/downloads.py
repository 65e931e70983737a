"""Files that a visitor downloads: written on the server when a button is pressed, gone with the app."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import uuid
import weakref
from pathlib import Path

from pipeline.sendable import sendable_text

KEPT = 20
"""Exports that stay in the folder of a tab: Gradio serves a copy, and a visitor can make any number."""


class Downloads:
    """A temporary folder for what is exported, made for the first export: the disk can be read-only."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.gettempdir()) / f"research-code-lab-{uuid.uuid4().hex}"
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    def place(self, name: str) -> Path:
        """The path of a new file in a folder of its own; the oldest ones go."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        for old in sorted(folder.parent.iterdir(), key=lambda one: one.stat().st_mtime)[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)
        return folder / name

    def write(self, name: str, suffix: str, text: str) -> str:
        """Write a file and return its path; each content has a folder, as two visitors may want one name."""
        text = sendable_text(text)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        folder = self._folder / hashlib.sha256(text.encode()).hexdigest()[:12]
        folder.mkdir(exist_ok=True)
        safe = re.sub(r"[^\w.-]", "-", name)[:80]  # a name may hold what a file's may not
        file = folder / f"{safe}.{suffix}"
        file.write_text(text, encoding="utf-8")
        for old in sorted(folder.parent.iterdir(), key=lambda one: one.stat().st_mtime)[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)
        return str(file)


def start_download(elem_id: str) -> str:
    """JavaScript that presses a hidden download button once it has its file."""
    return f"() => setTimeout(() => document.getElementById('{elem_id}').click(), 200)"
