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
from typing import Any

from pipeline.models.families import Family, Gguf, base_folder
from pipeline.schema import LabError

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
_REVISIONS = (None, "", "main", "unsloth")  # Unsloth wrote its own name here


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

    def rank(self, module: str) -> int:
        """The rank in one module, such as ``model.layers.0.mlp.up_proj``."""
        return self.rank_pattern.get(_matching(self.rank_pattern, module), self.r)

    def scaling(self, module: str) -> float:
        """The factor of ``B A x`` in one module."""
        alpha = self.alpha_pattern.get(_matching(self.alpha_pattern, module), self.lora_alpha)
        rank = self.rank(module)
        return alpha / (math.sqrt(rank) if self.use_rslora else rank)

    def targets(self, module: str) -> bool:
        """Whether the adapter has matrices for this linear layer, as PEFT decides it."""
        if _includes(self.exclude_modules, module):
            return False
        if isinstance(self.target_modules, str):
            return self.target_modules.lower() == "all-linear" or _includes(self.target_modules, module)
        if not _includes(self.target_modules, module):
            return False
        return not self.layers_to_transform or self._layer(module) in self.layers_to_transform

    def _layer(self, module: str) -> int | None:
        """The number of the module's layer, as PEFT's ``check_target_module_exists`` reads it."""
        patterns = [rf"(?:^|.*?\.){pattern}" for pattern in self.layers_pattern] or [r".*?\.[^.]*"]
        for pattern in patterns:
            if match := re.match(rf"{pattern}\.(?P<index>\d+)\.", module):
                return int(match["index"])
        return None


def _matching(patterns: Mapping[str, Any], module: str) -> str:
    """The first pattern that matches the end of the module's name, as PEFT's ``get_pattern_key`` finds it."""
    return next((key for key in patterns if re.match(rf"(.*\.)?({key})$", module)), module)


def _includes(modules: str | Sequence[str], module: str) -> bool:
    """Whether a regular expression matches the module, or a list has it or an end of its name."""
    if isinstance(modules, str):
        return bool(modules) and re.fullmatch(modules, module) is not None
    return any(module == name or module.endswith(f".{name}") for name in modules)


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
    except (ValueError, TypeError, AttributeError, OverflowError, re.error) as error:
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
        rank_pattern={_regex(k): _rank(v) for k, v in (fields.get("rank_pattern") or {}).items()},
        alpha_pattern={_regex(k): _alpha(v) for k, v in (fields.get("alpha_pattern") or {}).items()},
        target_modules=_modules(fields.get("target_modules")),
        exclude_modules=_modules(fields.get("exclude_modules")),
        layers_to_transform=[
            _layer(each) for each in ([layers] if isinstance(layers, int) else layers or [])
        ],
        layers_pattern=[_regex(each) for each in ([pattern] if isinstance(pattern, str) else pattern)],
    )


def _rank(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"a rank of {value!r}")
    return value


def _layer(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"a layer of {value!r}")
    return value


def _alpha(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"a lora_alpha of {value!r}")
    return float(value)


def _flag(value: Any) -> bool:
    if value not in (None, False, True):
        raise ValueError(f"a use_rslora of {value!r}")
    return bool(value)


def _regex(value: str) -> str:
    re.compile(value)
    return value


def _modules(value: Any) -> str | list[str]:
    if isinstance(value, str):
        return _regex(value) if value.lower() != "all-linear" else value
    return [str(each) for each in value or []]


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
