"""Loading a base model with fresh LoRA weights on it: plain PEFT, or Unsloth's kernels on a GPU."""

from __future__ import annotations

import importlib.util
import logging
from typing import Any, Literal

from pipeline.generation.tokenization import prepare_tokenizer
from pipeline.models.families import Family
from pipeline.models.weights import base_model_dir, best_dtype
from pipeline.schema import LabError, Progress, Recipe
from pipeline.settings import Settings

TrainingBackend = Literal["auto", "unsloth", "peft"]


def choose(backend: TrainingBackend, family: Family) -> Literal["unsloth", "peft"]:
    """Take Unsloth where it can run and the model is large enough to gain from it, else PEFT.

    On the embedded 135M model Unsloth's compile time alone is longer than PEFT's whole training.

    Raises:
        LabError: Unsloth was asked for by name and cannot run here.
    """
    import torch

    installed = importlib.util.find_spec("unsloth") is not None
    if backend == "unsloth" and not (installed and torch.cuda.is_available()):
        missing = (
            "it is not installed (pip install -r requirements-gpu.txt)"
            if not installed
            else "there is no GPU"
        )
        raise LabError(f"--backend unsloth cannot run here: {missing}. Use --backend peft or auto.")
    if backend != "auto":
        return backend
    gains = installed and torch.cuda.is_available() and not family.embedded
    return "unsloth" if gains else "peft"


def load(
    settings: Settings,
    family: Family,
    recipe: Recipe,
    backend: Literal["unsloth", "peft"],
    seed: int,
    progress: Progress,
) -> tuple[Any, Any]:
    """The base model with new LoRA weights, and its tokenizer."""
    import torch

    # Since torch 2.11, cuDNN's attention gives NaN gradients on H100 and H200 where a mask is passed and the
    # length is 64 modulo 128 (pytorch issue 196678); Qwen2.5 meets it within 15 steps.
    torch.backends.cuda.enable_cudnn_sdp(False)
    source = str(base_model_dir(settings, family, progress))
    load_model = _load_with_unsloth if backend == "unsloth" else _load_with_peft
    model, tokenizer = load_model(source, family, recipe, seed)
    prepare_tokenizer(tokenizer)
    return model, tokenizer


def _load_with_unsloth(source: str, family: Family, recipe: Recipe, seed: int) -> tuple[Any, Any]:
    from unsloth import FastLanguageModel  # must come before transformers: it patches it

    model, tokenizer = FastLanguageModel.from_pretrained(
        source,
        max_seq_length=family.sequence_length,
        load_in_4bit=not family.embedded,
        trust_remote_code=False,
    )
    model = FastLanguageModel.get_peft_model(
        model,
        r=recipe.lora_r,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=0,
        target_modules=list(family.lora_targets),
        use_gradient_checkpointing="unsloth",
        random_state=seed,
    )
    return model, tokenizer


def _load_with_peft(source: str, family: Family, recipe: Recipe, seed: int) -> tuple[Any, Any]:
    # PEFT imports it, and on a CPU it warns of 4-bit kernels that no training here uses.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    import torch
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed

    cuda = torch.cuda.is_available()
    if not family.embedded and not cuda:
        raise LabError(f"{family.title}: training needs a CUDA GPU, and this machine has none.")
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    model = AutoModelForCausalLM.from_pretrained(
        source,
        dtype=best_dtype(),
        device_map={"": 0} if cuda else None,
        use_safetensors=True,
        trust_remote_code=False,
    )
    if getattr(model, "is_quantized", False):
        model = prepare_model_for_kbit_training(model)
    model.config.use_cache = False  # with a cache, packed samples would attend to each other
    set_seed(seed)  # the LoRA matrices start from random numbers
    config = LoraConfig(
        r=recipe.lora_r,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=0.0,
        target_modules=list(family.lora_targets),
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config), tokenizer
