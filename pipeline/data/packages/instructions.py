"""Make an instruction, as a researcher would write it, from a docstring and a signature."""

from __future__ import annotations

import ast
import re

from pipeline.data.packages.docstring_verbs import VERBS
from pipeline.data.packages.docstrings import LONGEST_DESCRIPTION, Doc, ended, parse, shorten

LONGEST = 600
"""The maximum number of characters of an instruction."""
_SIGNATURE, _ENTRY = 260, 110

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

_LIKE_ANOTHER = re.compile(
    r"(same as|similar to|like|alias|override[sn]?|inherited|dummy|legacy|equivalent to)\b", re.IGNORECASE
)
_OPENING = re.compile(
    r"^(This|The|A|An)?\s*(helper|utility|convenience|simple|wrapper)?\s*"
    r"(function|method|class|module|operator|routine|helper|utility|decorator|property)\s+"
    r"(that |which )?(?=[a-z]+s\b)",
    re.IGNORECASE,
)


def instruction(node: Definition, owner: str | None, docstring: str) -> str | None:
    """Return the instruction to write this definition, or None if the docstring has no description.

    Args:
        node: the function, method or class.
        owner: the class that it is a method of.
        docstring: its docstring as in the source.
    """
    doc = parse(docstring)
    signature = _signature(node)
    if len(signature) > _SIGNATURE or not _describes(doc):
        return None
    if not doc.description and (isinstance(node, ast.ClassDef) or not doc.returns):
        return None  # arguments alone do not say what it does
    text = f"Write {_kind(node, owner)} `{signature}`" + (f" of the class `{owner}`" if owner else "")
    text += _joined(node, shorten(doc.description, LONGEST_DESCRIPTION)) if doc.description else "."
    described = bool(doc.description)
    for extra in _extras(node, doc):
        if len(text) + 1 + len(extra) <= LONGEST:
            text += " " + extra
            described |= extra.startswith(("Args", "Returns"))
    return text if described and len(text) <= LONGEST else None


def needs_class(node: Definition, owner: str | None) -> bool:
    """Whether a method uses attributes of its class or instance, which no instruction names."""
    if owner is None or isinstance(node, ast.ClassDef) or not node.args.args:
        return False
    if any(ast.unparse(decorator) == "staticmethod" for decorator in node.decorator_list):
        return False
    first = node.args.args[0].arg
    return any(
        isinstance(part, ast.Attribute)
        and isinstance(part.ctx, ast.Load)
        and isinstance(part.value, ast.Name)
        and part.value.id == first
        for part in ast.walk(node)
    )


def _describes(doc: Doc) -> bool:
    """Whether there is enough description: a short sentence, or arguments and a result."""
    said = len(_words(doc.description))
    detail = sum(len(_words(text)) for text in (*doc.arguments.values(), doc.returns))
    if _LIKE_ANOTHER.match(doc.description) and said < 8:
        return False
    if re.search(r"(?<![`\w])\{[a-z_]+\}", doc.description):  # a template that is filled in at run time
        return False
    return said >= 4 or said + detail >= 6


def _words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z]{2,}", text)


def _kind(node: Definition, owner: str | None) -> str:
    if isinstance(node, ast.ClassDef):
        return "a class"
    decorators = {
        ast.unparse(decorator).partition("(")[0].rpartition(".")[2] for decorator in node.decorator_list
    }
    kind = "method" if owner else "function"
    if "property" in "".join(decorators):
        kind = "property"
    elif decorators & {"staticmethod", "classmethod"}:
        kind = "static method" if "staticmethod" in decorators else "class method"
    return f"an async {kind}" if isinstance(node, ast.AsyncFunctionDef) else f"a {kind}"


def _signature(node: Definition) -> str:
    """Return names and defaults, no annotations: ``forward(self, x, mask=None)``, ``Block(nn.Module)``."""
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in node.bases)
        return f"{node.name}({bases})" if bases else node.name
    a = node.args
    bare = ast.arguments(
        posonlyargs=[ast.arg(arg.arg) for arg in a.posonlyargs],
        args=[ast.arg(arg.arg) for arg in a.args],
        vararg=ast.arg(a.vararg.arg) if a.vararg else None,
        kwonlyargs=[ast.arg(arg.arg) for arg in a.kwonlyargs],
        kw_defaults=a.kw_defaults,
        kwarg=ast.arg(a.kwarg.arg) if a.kwarg else None,
        defaults=a.defaults,
    )
    return f"{node.name}({ast.unparse(bare)})"


def _joined(node: Definition, description: str) -> str:
    """Return the description as the end of a sentence that starts with ``Write a function ...``."""
    plain = _OPENING.sub("", description)
    first, _, rest = plain.partition(" ")
    verb = first.lower()
    if verb.endswith("ly") and verb not in VERBS:  # "Recursively apply ..."
        verb = rest.partition(" ")[0].lower()
    stems = {verb[:-1], verb[:-2], verb[:-3] + "y"} if verb.endswith("s") else set()
    # A class is described by a noun ("Pool implementation which ..."), so there it is no verb.
    if verb in VERBS and plain == description and not isinstance(node, ast.ClassDef):
        return f" to {first.lower()} {rest}"
    if stems & VERBS:
        return f" that {first.lower()} {rest}"
    return f": {description}"


def _extras(node: Definition, doc: Doc) -> list[str]:
    """Return short sentences on arguments, result, fields and methods, the most useful ones first."""
    extras: list[str] = []
    if isinstance(node, ast.ClassDef):
        methods = [
            _signature(item) for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        fields = [
            item.target.id
            for item in node.body
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        ]
        extras += [f"Methods: {_ticked(methods)}."] if methods else []
        extras += [f"Fields: {_ticked(fields)}."] if fields else []
        names = None
    else:
        a = node.args
        every = [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))]
        names = {arg.arg for arg in every}
    told = {
        name: re.sub(r"(?<! \.\.)\.$", "", shorten(text, _ENTRY))
        for name, text in doc.arguments.items()
        if (names is None or name in names) and len(text.split()) > 1
    }
    if doc.returns:
        extras.insert(0, "Returns: " + ended(shorten(doc.returns, _ENTRY + 30)))
    room = 240
    entries: list[str] = []
    for name, text in told.items():
        entry = f"`{name}`: {text}"
        if room - len(entry) < 0:
            break
        room -= len(entry) + 2
        entries.append(entry)
    if entries:
        extras.insert(0, "Args: " + ended("; ".join(entries)))
    return extras


def _ticked(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
