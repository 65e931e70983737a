"""The settings of a LoRA adapter, from PEFT's ``adapter_config.json``.

Only plain LoRA can be computed here, so this is an allow-list: a field either is applied, has no effect once
training is over, or must be unset. A field that PEFT adds in a later version is refused by its name.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pipeline.models.families import Family, Gguf, base_folder
from pipeline.schema import LabError, quoted

# fmt: off
_APPLIED = {
    "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "target_modules", "exclude_modules",
    "layers_to_transform", "layers_pattern", "peft_type", "task_type", "init_lora_weights",
    "base_model_name_or_path", "revision",
}
_WITHOUT_EFFECT = {  # they are of the training alone, or of another field, which is refused itself
    "auto_mapping", "inference_mode", "lora_dropout", "peft_version", "runtime_config", "ensure_weight_tying",
    "megatron_core", "qalora_group_size", "loftq_config", "eva_config", "corda_config", "lora_ga_config",
}
# fmt: on
_UNSET: tuple[Any, ...] = (None, False, "", "none", [], {})
_INITS = (True, False, "gaussian", "eva", "orthogonal")  # the others change the base model's weights, too
_MOST_ALPHA = 100_000
_LONGEST_PATTERN, _MOST_CHARACTERS = 1_000, 60_000  # of one pattern, of all; for 1,000 modules 35,000 do
_SUPPORTED = re.compile(r"(?:[\w.*+?|)\[\]^$-]|\((?:\?:|(?!\?))|\\[.dwb-]|(?<!\))\{\d(?:,\d?)?\})*", re.ASCII)
"""What patterns of modules consist of. Nested counts such as ``(.{99}){99}`` would take much memory."""
_REVISIONS = (None, "", "main", "unsloth")  # Unsloth wrote its own name here
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class LoraSettings:
    """How an adapter's matrices are applied; every field as in PEFT's ``LoraConfig``."""

    r: int
    lora_alpha: float
    use_rslora: bool
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    target_modules: str | Sequence[str]
    exclude_modules: str | Sequence[str]
    layers_to_transform: Sequence[int]
    layers_pattern: Sequence[str]

    def ranks(self, modules: Sequence[str]) -> dict[str, int]:
        """The rank in each module, such as ``model.layers.0.mlp.up_proj``."""
        return _by_pattern(self.rank_pattern, self.r, modules)

    def scalings(self, modules: Sequence[str]) -> dict[str, float]:
        """The factor of ``B A x`` in each module."""
        ranks = self.ranks(modules)
        alphas = _by_pattern(self.alpha_pattern, self.lora_alpha, modules)
        return {
            module: alphas[module] / (math.sqrt(rank) if self.use_rslora else rank)
            for module, rank in ranks.items()
        }

    def targets(self, modules: Sequence[str]) -> list[str]:
        """Those of the linear layers that the adapter has matrices for, as PEFT decides it."""
        excluded = set(_included(self.exclude_modules, modules))
        others = [module for module in modules if module not in excluded]
        if isinstance(self.target_modules, str):
            return others if _is_all(self.target_modules) else _included(self.target_modules, others)
        layers = set(self.layers_to_transform)
        chosen = _included(self.target_modules, others)
        return [module for module in chosen if self._layer(module) in layers] if layers else chosen

    def _layer(self, module: str) -> int | None:
        """The number of the module's layer, as PEFT's ``check_target_module_exists`` reads it."""
        patterns = [rf"(?:^|.*?\.){re.escape(name)}" for name in self.layers_pattern] or [r".*?\.[^.]*"]
        for pattern in patterns:
            if match := re.match(rf"{pattern}\.(?P<index>\d+)\.", module):
                return int(match["index"])
        return None


def _by_pattern(patterns: Mapping[str, _Value], usual: _Value, modules: Sequence[str]) -> dict[str, _Value]:
    """The value of the first pattern that matches the end of each module's name.

    PEFT's ``get_pattern_key`` finds it so.
    """
    values: dict[str, _Value] = {}
    for pattern, value in patterns.items():
        for module in _matching(rf"^(.*\.)?({pattern})$", modules):
            values.setdefault(module, value)
    return {module: values.get(module, usual) for module in modules}


def _included(names: str | Sequence[str], modules: Sequence[str]) -> list[str]:
    """The modules that a regular expression matches, or that a list has by name or by an end of the name."""
    if isinstance(names, str):
        return _matching(f"^(?:{names})$", modules) if names else []
    return [
        module for module in modules if any(module == name or module.endswith(f".{name}") for name in names)
    ]


def _is_all(modules: str) -> bool:
    return modules.lower() == "all-linear"


def _matching(pattern: str, modules: Sequence[str]) -> list[str]:
    """The modules in whose name a pattern is found.

    By RE2, whose time is linear: with Python's backtracking, ``([a-z]+)+x`` takes years for one module.

    Raises:
        ValueError: RE2 does not know the pattern.
    """
    import pyarrow as pa  # it takes a while, and most adapters have no pattern
    import pyarrow.compute as pc

    found = pc.match_substring_regex(pa.array(modules, pa.string()), pattern=pattern)
    return [module for module, matches in zip(modules, found.to_pylist(), strict=True) if matches]


def parse_lora_settings(name: str, content: bytes, family: Family) -> LoraSettings:
    """Read the settings of checkpoint ``name``.

    Raises:
        LabError: the file is damaged, or the adapter is of another kind or another base model.
    """
    damaged = f"Checkpoint {name} is damaged and cannot be used: adapter_config.json is unreadable"
    try:
        fields = json.loads(content.decode("utf-8-sig"))  # some editors put a byte order mark in front
    except (ValueError, RecursionError) as error:
        raise LabError(f"{damaged} ({error}).") from error
    if not isinstance(fields, dict):
        raise LabError(f"{damaged} (it holds no object).")
    if reason := _unsupported(fields):
        raise LabError(f"Checkpoint {name} cannot be used here: {reason}.")
    try:
        settings = _parse(fields)
        _check_patterns(settings)
    except LabError as error:
        raise LabError(f"Checkpoint {name} cannot be used here: {error}.") from error
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise LabError(f"{damaged} ({error}).") from error
    except KeyError as error:
        raise LabError(f"{damaged} (it has no {error}).") from error
    base = fields.get("base_model_name_or_path")
    if base and not _is_base_of(str(base), family):
        raise LabError(
            f"Checkpoint {name} cannot be used here: it was trained on {base}, and the base model of "
            f"{family.name} is {family.base_names[0]}. If both are the same model, write the latter as "
            "base_model_name_or_path into its adapter_config.json."
        )
    return settings


def _is_base_of(base: str, family: Family) -> bool:
    """Whether a hub id or a local folder is known to be the family's base model."""
    path = base.replace("\\", "/").rstrip("/").lower()
    folder = path.rpartition("/")[2]
    ids = {each.lower() for each in family.base_names}
    if isinstance(family.base, Gguf) and folder == base_folder(family.name, family.base).lower():
        return True  # as this project keeps it
    if re.fullmatch(r"\w[\w.-]*/[\w.-]+", path):
        return path in ids
    return folder in {each.rpartition("/")[2] for each in ids}


def _parse(fields: dict[str, Any]) -> LoraSettings:
    layers = fields.get("layers_to_transform")
    pattern = fields.get("layers_pattern") or []
    return LoraSettings(
        r=_rank(fields["r"]),
        lora_alpha=_alpha(fields["lora_alpha"]),
        use_rslora=_flag(fields.get("use_rslora")),
        rank_pattern={key: _rank(value) for key, value in (fields.get("rank_pattern") or {}).items()},
        alpha_pattern={key: _alpha(value) for key, value in (fields.get("alpha_pattern") or {}).items()},
        target_modules=_modules(fields.get("target_modules")),
        exclude_modules=_modules(fields.get("exclude_modules")),
        layers_to_transform=[
            _layer(each) for each in ([layers] if isinstance(layers, int) else layers or [])
        ],
        layers_pattern=[str(each) for each in ([pattern] if isinstance(pattern, str) else pattern)],
    )


def _rank(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"a rank of {quoted(value)}")
    return value


def _layer(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"a layer of {quoted(value)}")
    return value


def _alpha(value: Any) -> float:
    if type(value) not in (int, float) or not 0 < value <= _MOST_ALPHA:
        raise ValueError(
            f"a lora_alpha of {quoted(value)}, which must be above 0 and at most {_MOST_ALPHA:,}"
        )
    return float(value)


def _flag(value: Any) -> bool:
    if value not in (None, False, True):
        raise ValueError(f"a use_rslora of {quoted(value)}")
    return bool(value)


def _modules(value: Any) -> str | list[str]:
    return value if isinstance(value, str) else [str(each) for each in value or []]


def _check_patterns(settings: LoraSettings) -> None:
    """Check all patterns, so that none can take long or be read otherwise than PEFT reads it.

    Raises:
        LabError: a pattern is not supported, or they are too many.
        ValueError: a pattern is no regular expression.
    """
    modules = [settings.target_modules, settings.exclude_modules]
    patterns = [each for each in modules if isinstance(each, str) and not _is_all(each)]
    patterns += [*settings.rank_pattern, *settings.alpha_pattern]
    if sum(map(len, patterns)) > _MOST_CHARACTERS:
        raise LabError(f"its patterns have more than {_MOST_CHARACTERS:,} characters together")
    for pattern in patterns:
        if len(pattern) > _LONGEST_PATTERN or not _SUPPORTED.fullmatch(pattern):
            raise LabError(
                f"its pattern {quoted(pattern)} has something that is not supported here. A pattern can have "
                f"{_LONGEST_PATTERN:,} characters: letters, digits, _ - . * + ? | ^ $, groups, sets, "
                "\\d, \\w, \\b, and counts such as {2} or {1,} after a single character"
            )
        try:
            _matching(pattern, [""])
        except ValueError as error:
            raise ValueError(f"the pattern {quoted(pattern)} is not a regular expression") from error
    for name in settings.layers_pattern:
        if not re.fullmatch(r"[\w.]{1,100}", name):
            raise LabError(f"its layers_pattern {quoted(name)} is not the name of a list of layers")


def _is_unset(value: Any) -> bool:
    """Whether a field that is not known here has no effect; Python takes 0 and 0.0 for False."""
    return any(value == unset and type(value) is type(unset) for unset in _UNSET)


def _unsupported(fields: Mapping[str, Any]) -> str:
    """Why the adapter is not plain LoRA; empty if it is."""
    if (kind := fields.get("peft_type")) != "LORA":
        return f"it is not a LoRA adapter (peft_type: {kind or 'missing'})"
    if (task := fields.get("task_type")) not in (None, "CAUSAL_LM"):
        return f"it was trained for another task than writing text: {task} (task_type)"
    if (init := fields.get("init_lora_weights", True)) not in _INITS:
        return f"its training also changed the base model (init_lora_weights: {init})"
    if (revision := fields.get("revision")) not in _REVISIONS:
        return f"it was trained on the revision {revision} of its base model"
    if not fields.get("target_modules"):
        return "it names no modules (target_modules)"
    others = sorted(set(fields) - _APPLIED - _WITHOUT_EFFECT)
    used = [f"{field}: {json.dumps(fields[field])[:60]}" for field in others if not _is_unset(fields[field])]
    return f"it is not a plain LoRA adapter ({', '.join(used)})" if used else ""
