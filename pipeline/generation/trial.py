"""Try whether a base model can be used: read it, wrap its layers, and let it write and read a few tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from pipeline.generation.adapters import StackedLinear
from pipeline.generation.engine import Request
from pipeline.generation.model_loading import explain_errors, load_model
from pipeline.generation.torch_engine import TorchEngine
from pipeline.models.families import Family
from pipeline.schema import Checkpoint, Context, LabError, Progress, SamplingParams

_TOKENS = 4
_LEAST_LENGTH = 256


@dataclass(frozen=True)
class Tried:
    """What is known of a base model that can be used.

    Attributes:
        lora_targets: ends of the names of its linear layers.
        longest: the most tokens that it reads, each of which can attend to all before it.
        parameters: how many it has.
        chat: whether its tokenizer has a chat template.
    """

    lora_targets: tuple[str, ...]
    longest: int
    parameters: int
    chat: bool


def try_base(family: Family, progress: Progress) -> Tried:
    """Load a base model and use it as the engine does.

    Args:
        family: whose base is a hub id or a folder.
        progress: gets the progress.

    Raises:
        LabError: why it cannot be used.
    """
    from transformers import AutoConfig, AutoTokenizer

    source = str(family.base)
    progress(0.1, f"reading the configuration and the tokenizer of {source}")
    with explain_errors(family, source):
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        tokenizer: Any = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    limits = [getattr(config, name, None) for name in ("max_position_embeddings", "sliding_window")]
    longest = min(filter(None, limits), default=family.sequence_length)
    _check_texts(config, tokenizer, longest)
    progress(0.2, f"loading {config.model_type}, and letting it write {_TOKENS} tokens")
    model = load_model(family, source)
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        raise _unusable("its tokenizer has more tokens than the model has embeddings")
    chat = bool(tokenizer.chat_template)
    with explain_errors(family, source):
        engine = TorchEngine(family, model, tokenizer)
        targets = _targets(engine.stack.layers, config.model_type)
        _check_head(model)
        _write(engine)
    return Tried(targets, longest, model.num_parameters(), chat)


def _unusable(why: str) -> LabError:
    return LabError(f"This base model cannot be used here: {why}.")


def _check_texts(config: Any, tokenizer: Any, longest: int) -> None:
    if getattr(config, "is_encoder_decoder", False):
        raise _unusable(f"{config.model_type} has an encoder, and this app runs models with a decoder alone")
    if not tokenizer.is_fast:
        raise _unusable("it has no fast tokenizer (tokenizer.json)")
    if tokenizer.eos_token_id is None:
        raise _unusable("its tokenizer names no end token (eos_token)")
    if longest < _LEAST_LENGTH:
        raise _unusable(f"it reads at most {longest} tokens, and prompts with answers take {_LEAST_LENGTH}")


def _targets(layers: Mapping[str, StackedLinear], model_type: str) -> tuple[str, ...]:
    """The ends of the names of the wrapped layers: ``q_proj`` of ``model.layers.0.self_attn.q_proj``."""
    if not layers:
        raise _unusable(
            f"{model_type} has no linear layers (torch.nn.Linear in “layers”) that an adapter could be put on"
        )
    return tuple(dict.fromkeys(name.rpartition(".")[2] for name in layers))


@torch.inference_mode()
def _check_head(model: Any) -> None:
    """Check that the output layer alone makes the logits: likelihood and training compute them from it."""
    ids = torch.tensor([[1, 2, 3, 4]], device=model.device)
    whole = model(input_ids=ids).logits
    states = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    if not whole.isfinite().all():
        raise _unusable("it computes values that are not finite")
    if not torch.equal(model.get_output_embeddings()(states), whole):
        raise _unusable(f"{model.config.model_type} changes its logits after the output layer")


def _write(engine: TorchEngine) -> None:
    """Let two rows of different length be written and read, as in a comparison."""
    sampling = SamplingParams(0.0, max_new_tokens=_TOKENS)
    baseline = Checkpoint(engine.family.name, "baseline")
    requests = []
    for text in ("Add two numbers.", "Write a function that returns the larger of two numbers."):
        prompt = engine.render(text, "regular", Context(), sampling)
        requests.append(Request(baseline, prompt.text, text))
    for _ in engine.stream(requests, sampling):
        pass
    engine.bits_per_byte(requests, ["return a + b"] * 2)
