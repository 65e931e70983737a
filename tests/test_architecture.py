"""The arrows of the architecture: who may import whom, and what starting the app may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from ui.views import TABS

ROOT = Path(__file__).resolve().parent.parent
ROOMS = (
    "pipeline",
    "pipeline.command_line",
    "pipeline.data",
    "pipeline.models",
    "pipeline.generation",
    "pipeline.scoring",
    "pipeline.evaluation",
    "pipeline.exchange",
    "pipeline.stats",
    "pipeline.analysis",
    "pipeline.corpus",
    "training.jobs",
    "training",
    "ui",
    "maintenance",
    "app",
    "rcl",
)
"""From the bottom up: a module imports its own room and those before it. Tests are above all."""
HEAVY = (
    "torch",
    "transformers",
    "openvino",
    "datasets",
    "peft",
    "trl",
    "sacrebleu",
    "openai",
    "ray",
    "scipy",
    "plotly",
)


@cache
def modules() -> dict[str, ast.Module]:
    """The syntax tree of each of our modules, by its dotted name."""
    files = [ROOT / "app.py", ROOT / "rcl.py"]
    for folder in ("pipeline", "training", "ui", "maintenance"):
        files += (ROOT / folder).rglob("*.py")
    trees = {}
    for file in files:
        parts = file.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        trees[name] = ast.parse(file.read_text(encoding="utf-8"))
    return trees


def imports(tree: ast.Module) -> set[str]:
    """Every module that a module imports: at its top, inside a function, or for its types only."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports are not followed here"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in modules() else str(node.module) for name in inner}
    return names


def attributes(tree: ast.Module) -> list[ast.Attribute]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]


def graph() -> dict[str, set[str]]:
    """Our modules, and which of our modules each imports."""
    return {name: (imports(tree) & modules().keys()) - {name} for name, tree in modules().items()}


def room(module: str) -> str:
    return max((one for one in ROOMS if f"{module}.".startswith(f"{one}.")), key=len)


def test_no_room_imports_one_above_it() -> None:
    wrong = {
        f"{importer} imports {imported}"
        for importer, names in graph().items()
        for imported in names
        if ROOMS.index(room(imported)) > ROOMS.index(room(importer))
    }
    assert not wrong


def names_of(tree: ast.Module) -> set[str]:
    """Every name that a module defines, assigns or imports."""
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def test_the_measurements_import_only_names_that_exist() -> None:
    # No other test runs them, and the type checker does not read them.
    missing = {
        f"{file.name}: {node.module}.{alias.name}"
        for file in (ROOT / "tests" / "bench").glob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module in modules()
        for alias in node.names
        if f"{node.module}.{alias.name}" not in modules()
        and alias.name not in names_of(modules()[node.module])
    }
    assert not missing


def circle(imported: Mapping[str, set[str]]) -> str:
    """A circle of imports in words; empty if there is none."""
    try:
        TopologicalSorter(imported).prepare()
    except CycleError as error:
        return " imports ".join(reversed(error.args[1]))
    return ""


def test_no_modules_import_each_other_in_a_circle_however_late() -> None:
    assert not circle(graph())


def test_no_folders_import_each_other_in_a_circle() -> None:
    def folder(module: str) -> str:
        return module if (ROOT / module.replace(".", "/")).is_dir() else module.rpartition(".")[0]

    folders: dict[str, set[str]] = {}
    for importer, names in graph().items():
        folders.setdefault(folder(importer), set()).update(map(folder, names))
    assert not circle({name: others - {name} for name, others in folders.items()})


def test_no_module_is_imported_by_a_name_that_only_the_running_program_knows() -> None:
    """Such an import would hide a circle from these tests."""
    of_others = {  # load the packages that candidates use
        "pipeline.scoring.execution.suites.place",
        "pipeline.scoring.execution.zygote",
    }
    hidden = {
        name
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if {getattr(node, "attr", None), getattr(node, "id", None)} & {"import_module", "__import__"}
    }
    assert hidden == of_others


def test_only_the_pages_know_gradio_and_none_of_ours_knows_the_tests() -> None:
    wrong = {
        f"{module} imports {name}"
        for module, tree in modules().items()
        for name in imports(tree)
        if name.partition(".")[0] == "tests"
        or (name.partition(".")[0] == "gradio" and ROOMS.index(room(module)) < ROOMS.index("ui"))
    }
    assert not wrong


def test_settings_alone_reads_the_environment() -> None:
    """The others hand it to a child process, prepare it for a package, or mend what HTTP clients read."""
    of_a_child = {
        "maintenance.suites.__main__",
        "maintenance.suites.trial",
        "pipeline.data.own.apart",
        "pipeline.scoring.execution.sandbox",
        "pipeline.scoring.execution.zygote",
        "training.jobs.local_backend",
        "training.jobs.ray_entrypoint",
        "training.jobs.supervisor",
    }
    for_a_package = {"app", "pipeline", "training.evaluate", "training.finetune", "training.jobs.tracking"}
    of_http_clients = {"pipeline.network", "ui.broken_settings"}
    users = {
        name
        for name, tree in modules().items()
        if any(ast.unparse(node) in ("os.environ", "os.getenv") for node in attributes(tree))
    }
    assert users == {"pipeline.settings"} | of_a_child | for_a_package | of_http_clients


def test_the_tabs_know_of_training_only_its_jobs() -> None:
    wrong = {
        f"{module} imports {name}"
        for module, names in graph().items()
        for name in names
        if room(module) == "ui" and room(name) == "training"
    }
    assert not wrong


def test_a_tab_imports_no_other_tab_and_what_tabs_share_imports_none() -> None:
    """Tabs meet in ``ui.views`` only; the API and ``app.py`` stand above them."""

    def tab(module: str) -> str:
        package, _, rest = module.partition(".")
        part = rest.partition(".")[0]
        return part if package == "ui" and part in (*TABS, "api") else ""

    wrong = {
        f"{importer} imports {imported}"
        for importer, names in graph().items()
        for imported in names
        if room(importer) == "ui" and tab(importer) != "api" and tab(imported) not in ("", tab(importer))
    }
    assert not wrong


def test_no_test_reads_or_patches_what_is_private() -> None:
    def private(name: str) -> bool:
        return name.startswith("_") and not name.startswith("__")

    def names(node: ast.AST) -> list[str]:
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) not in ("self", "cls"):
            return [node.attr]
        if isinstance(node, ast.ImportFrom):
            return [alias.name for alias in node.names]
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "setattr":
            target, *more = map(ast.unparse, node.args)
            return [] if target.startswith("torch.") else [each.strip("'\"") for each in more[:1]]
        return []

    wrong = {
        f"{file.name}: {ast.unparse(node)}"
        for file in (ROOT / "tests").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if any(map(private, names(node)))
    }
    assert not wrong


def test_no_function_has_more_than_65_lines_beside_its_docstring() -> None:
    long = {}
    for module, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = sum((each.end_lineno or 0) - each.lineno + 1 for each in body)
                lines += node.body[0].lineno - node.lineno
                long |= {f"{module}.{node.name}": lines} if lines > 65 else {}
    assert long == {}


def test_no_two_classes_have_the_same_name() -> None:
    """A private one is known in its own module only."""
    homes: dict[str, list[str]] = {}
    for module, tree in modules().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(module)
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


def test_starting_the_app_imports_nothing_heavy() -> None:
    code = f"import sys, app; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
