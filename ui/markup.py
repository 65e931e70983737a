"""Text as HTML: escaped, and code highlighted and compared. All of ``ui`` escapes with ``escape``."""

from __future__ import annotations

import difflib
import html
import re
from functools import lru_cache

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from pipeline.scoring.syntax import is_python_so_far
from pipeline.sendable import sendable_text

_LEXER = PythonLexer(stripnl=False, ensurenl=False)
_FORMATTER = HtmlFormatter(nowrap=True)
_CODE_LINE = r"(?:from [\w.]+ import |import \w|(?:async )?def \w+\(|class \w+[(:]|@\w+)"
_CODE_FOLLOWS = re.compile(rf"\n\n+(?={_CODE_LINE})")
_CODE_BEGINS = re.compile(rf"^[ \t]*{_CODE_LINE}", re.MULTILINE)


def escape(value: object) -> str:
    """Return any value as text for HTML, in an element or in a quoted attribute."""
    return html.escape(sendable_text(str(value)))


@lru_cache(maxsize=256)
def python(code: str) -> str:
    """Return Python code as highlighted HTML, for a ``<pre>``."""
    return highlight(sendable_text(code), _LEXER, _FORMATTER).removesuffix("\n")


def answer(text: str, code: str) -> str:
    """A completion: the code that is scored is highlighted, the text around it is muted.

    Prose that is scored, as no code is set apart from it, stays plain.
    """
    lines, taken = text.strip("\n").splitlines(), code.splitlines()
    bare = [line.strip() for line in taken]
    for start in range(len(lines) - len(taken) + 1):
        end = start + len(taken)
        if taken and [line.strip() for line in lines[start:end]] == bare:
            scored = "\n".join(lines[start:end])
            parts = (_aside(lines[:start]), _scored(scored), _aside(lines[end:]))
            return "\n".join(part for part in parts if part)
    return _aside(lines)


def _scored(text: str) -> str:
    """What is scored: as Python where it is that as far as it goes, else from its first line of code on."""
    if is_python_so_far(text):
        return python(text)
    begins = _CODE_BEGINS.search(text)
    at = begins.start() if begins else len(text)
    return escape(text[:at]) + (python(text[at:]) if begins else "")


def _aside(lines: list[str]) -> str:
    return f'<span class="aside">{escape(chr(10).join(lines))}</span>' if any(lines) else ""


def prose(text: str) -> str:
    """Prose as HTML, with text between backticks as code."""
    return re.sub(r"`([^`\s](?:[^`\n]*[^`\s])?)`", r"<code>\1</code>", escape(text))


def instruction(text: str) -> str:
    """An instruction as blocks of HTML: prose, and the code at its end, as HumanEval has it."""
    asked, *code = _CODE_FOLLOWS.split(text, maxsplit=1)
    return f"<p>{prose(asked)}</p>" + "".join(
        f'<pre class="code" tabindex="0">{python(part.rstrip())}</pre>' for part in code
    )


def diff(old: str, new: str) -> str:
    """Return the line-by-line difference from ``old`` to ``new`` as HTML for a ``<pre>``.

    Each line starts with a sign, so that the difference can be read without colors.
    """
    kinds = {"- ": "del", "+ ": "ins", "  ": "same"}
    lines = [
        f'<span class="{kinds[line[:2]]}">{escape(line)}</span>'
        for line in difflib.ndiff(old.splitlines(), new.splitlines())
        if line[:2] in kinds
    ]
    return "".join(lines)
