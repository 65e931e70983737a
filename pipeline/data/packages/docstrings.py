"""Read Google, NumPy and Sphinx docstrings as plain text."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, field

LONGEST_DESCRIPTION = 330
"""The approximate number of characters of the description that are kept."""

# A sentence with a reference or an author instead of a description.
_POINTER = re.compile(
    r"(please )?(see|refer|check|consult)\b|for (more|further|details|usage|an example)|"
    r"(todo|fixme|deprecated|noqa|copied|no-?op|not implemented|internal)\b|more (details|information)|"
    r"instantiating a configuration|part of\b|authors?:|note: *$|this method is deprecated|reference:|"
    r"adapted from|taken from|this (model|tokenizer|class|config\w*) (inherits from|is also a)|"
    r"use it as a regular|users should refer|.*(?<!`)https?://",
    re.IGNORECASE,
)
_PARTS = {
    "arguments": (
        "args",
        "arg",
        "arguments",
        "parameters",
        "params",
        "inputs",
        "keyword args",
        "keyword arguments",
    ),
    "returns": ("returns", "return", "return value", "output", "outputs"),
}
_PART_OF = {head: part for part, heads in _PARTS.items() for head in heads}
# Docstrings that only describe arguments, without a heading, as for transformers' auto_docstring.
_PLACEHOLDER = re.compile(r"\*{0,2}`{0,2}[a-z_]\w*`{0,2}\*{0,2}\s*(\([^)]|:\s*$|: .*optional)")
_SIGNATURE_LINE = re.compile(r"[\w.]+\(.*\)(\s*->.*)?")
_HEAD = re.compile(
    r"(?P<name>(?:Args|Arguments|Parameters|Returns?|Yields|Raises|Examples?|Usage)(?=:)"
    r"|[A-Z][A-Za-z ]{2,30}?(?=\s*:{1,2}\s*$))\s*:{1,2}\s*(?P<text>.*)$"
)
_FIELD = re.compile(r"\s*:(?P<kind>param|arg|return|r?type|raise|yield)\w*\b(?P<what>[^:]*):\s*(?P<text>.*)$")
_RULE = re.compile(r"\s*[-=~^]{3,}\s*")
_NOT_PROSE = re.compile(r"^\s*(>>>|```|\.\. |\$ |\||<Tip|</Tip|\+[-=]|[-=~^]{4,}|!!! |\\begin)")
# ``x (int): text``, ``x: text``, ``- **x** (`int`) -- text``, NumPy's ``x : int`` (the text comes below).
_ENTRY_HEAD = re.compile(
    r"^(?:[-*] )?(?:\*\*|`{1,2})?\\?(?P<name>\*{0,2}[A-Za-z_]\w*)(?:\*\*|`{1,2})?"
    r"(?: : .*|\s*(?:\((?:[^()]|\([^()]*\))*\))?\s*(?::|--?\s)\s*(?P<text>.*))$"
)


@dataclass
class Doc:
    """The content of a docstring: description, arguments and result."""

    description: str = ""
    arguments: dict[str, str] = field(default_factory=dict)
    returns: str = ""


def parse(docstring: str) -> Doc:
    """Parse a docstring of any of the three styles."""
    parts = _split(_outdented(docstring))
    description, arguments = parts["description"], parts["arguments"]
    if description and _PLACEHOLDER.match(description[0]):
        description, arguments = [], description + arguments
    returns = clean(" ".join(next(iter(_paragraphs(parts["returns"])), [])))
    return Doc(
        description=_description(description),
        arguments=_arguments(arguments),
        returns="" if returns.strip("`. ").lower() == "none" else returns,
    )


def _split(lines: list[str]) -> dict[str, list[str]]:
    """Return the lines of description, arguments and result, without examples, notes and other sections."""
    parts: dict[str, list[str]] = {"description": [], "arguments": [], "returns": []}
    part = "description"
    literal = 0  # lines at least as far to the right belong to a literal block (``::``); 0 outside of one
    for number, line in enumerate(lines):
        depth = len(line) - len(line.lstrip())
        if literal and (not line or depth >= literal):
            continue
        literal = depth + 1 if line.endswith("::") else 0
        line = re.sub(r"::$", ":", line)
        underlined = line and number + 1 < len(lines) and _RULE.fullmatch(lines[number + 1])
        head = _HEAD.match(line) if number or line.endswith(":") else None
        item = _FIELD.match(line)
        if _RULE.fullmatch(line) or (number == 0 and _SIGNATURE_LINE.fullmatch(line)):
            continue
        if head or underlined:
            name, text = (head["name"], head["text"]) if head else (line, "")
            part = _PART_OF.get(name.strip().lower(), "other")
            line = text
        elif item:
            part = {"param": "arguments", "arg": "arguments", "return": "returns"}.get(item["kind"], "other")
            name = (item["what"].split() or ["it"])[-1]
            line = f"{name}: {item['text']}" if part == "arguments" else item["text"]
        elif _NOT_PROSE.match(line):
            part = "other"
        if part in parts and (line or not head):
            parts[part].append(line)
    return parts


def _outdented(docstring: str) -> list[str]:
    """Return the docstring's lines without common indentation and without blank lines around them."""
    first, _, rest = docstring.expandtabs().partition("\n")
    whole = textwrap.dedent(rest) if not first.strip() else first.strip() + "\n" + textwrap.dedent(rest)
    return [line.rstrip() for line in whole.strip("\n").split("\n")]


def clean(text: str) -> str:
    """Convert reStructuredText and the Hub's Markdown to plain text with backticks."""
    text = re.sub(r":[a-z:+-]+:`(?:[^`<]*<)?~?\.?([^`>]+)>?`", _role, text)  # :class:`~torch.nn.Module`
    text = re.sub(r"\[`{1,2}~?([^`\]]+)`{1,2}\](?:\([^)]*\))?", _role, text)  # [`~Trainer`]
    text = re.sub(r"`([^`<]+?)\s*<[^`>]+>`_{0,2}", r"\1", text)  # `words <url>`_
    text = re.sub(r"\[([^\]\[]+)\]\((?:http|#|/|\.)[^)]*\)", r"\1", text)  # [words](url)
    text = re.sub(r"\[[\w.-]{1,12}\]_", "", text)  # [1]_
    text = re.sub(r"`{2,3}([^`]+)`{2,3}", r"`\1`", text)
    # Code spans and links in one pass from the left: in "`-` and `_`" no link ends at the second backtick.
    text = re.sub(r"`([^`]+)`(__?(?![\w`]))?", lambda span: span[1] if span[2] else span[0], text)
    text = re.sub(r"\*\*([^*`]+)\*\*", r"\1", text)
    text = re.sub(r"(?<![\w*`])\*([A-Za-z][^*`]*)\*(?![\w*])", r"\1", text)
    text = re.sub(r"</?(?:Tip|br|b|i|p|em|a|code|strong|su[bp]|div|span|hfoptions?)\b[^>]*>", " ", text)
    text = re.sub(r"`{2,}", "`", re.sub(r"\s+([.,;:])(?=\s|$)", r"\1", text))
    text = re.sub(r"`\s*([^`]*[^`\s])\s*`", r"`\1`", text)
    if text.count("`") % 2:  # one is not closed in the source
        text = text.replace("`", "")
    return re.sub(r"\s+", " ", text).strip()


def _role(match: re.Match[str]) -> str:
    short = match[0].split("`")[1].startswith("~")
    return f"`{match[1].rpartition('.')[2] if short else match[1]}`"


def _description(lines: list[str]) -> str:
    """Return the first paragraph with a description, and the following paragraphs of prose that fit."""
    text = ""
    for paragraph in _paragraphs(lines):
        said = " ".join(each for each in _sentences(clean(" ".join(paragraph))) if not _POINTER.match(each))
        if not said:
            continue
        enough = len(text) + len(said) > LONGEST_DESCRIPTION or re.match(r"[-*+] |\d+[.)] ", said)
        if text and enough and not text.endswith(":"):
            break
        text = f"{text} {ended(said)}".strip()
    sentences = _sentences(text)
    while len(sentences) > 1 and sentences[-1].endswith(":"):  # it introduces something that was left out
        sentences.pop()
    if len(sentences) > 1 and _says_the_same(*sentences[:2]):
        del sentences[1]
    return re.sub(r",? ?(as follows?|the following|following)?[:. ]+$", ".", " ".join(sentences))


def _says_the_same(first: str, second: str) -> bool:
    """Whether the second sentence has almost no word that is not in the first one."""
    before, after = (set(re.findall(r"\w+", sentence.lower())) for sentence in (first, second))
    return len(after - before) <= len(after) // 5


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.) +(?=[A-Z`\"(\[])", text) if text else []


def shorten(text: str, most: int) -> str:
    """Return whole sentences up to ``most`` characters; if the first one is longer, it is cut at a word."""
    kept = ""
    for sentence in _sentences(text):
        if kept and len(kept) + 1 + len(sentence) > most:
            break
        kept = f"{kept} {sentence}".strip()
    if len(kept) <= most:
        return kept
    kept = kept[:most].rpartition(" ")[0]
    if kept.count("(") > kept.count(")"):
        kept = kept.rpartition("(")[0]
    if kept.count("`") % 2:
        kept = kept.rpartition("`")[0]
    return kept.rstrip(" ,;:(+-*") + " ..."


def ended(text: str) -> str:
    """Return the text with a full stop, unless it ends with a punctuation mark."""
    return text if text.endswith((".", "!", "?", ":")) else text + "."


def _paragraphs(lines: list[str]) -> list[list[str]]:
    chunks: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            chunks[-1].append(line.strip())
        elif chunks[-1]:
            chunks.append([])
    return [chunk for chunk in chunks if chunk]


def _arguments(lines: list[str]) -> dict[str, str]:
    """Return descriptions by argument name; an entry starts at a line with the least indentation."""
    filled = [line for line in lines if line.strip()]
    margin = min((len(line) - len(line.lstrip()) for line in filled), default=0)
    found: dict[str, list[str]] = {}
    name = ""
    for line in filled:
        head = _ENTRY_HEAD.match(line.strip())
        if len(line) - len(line.lstrip()) == margin and head:
            name = head["name"].lstrip("*")
            found[name] = [re.sub(r"^\([^()]*\)\s*:?\s*", "", head["text"] or "")]
        elif name:
            found[name].append(line.strip())
    return {name: clean(" ".join(words)) for name, words in found.items()}
