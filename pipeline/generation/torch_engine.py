"""The local engine: transformers, one base model in memory, every checkpoint a LoRA adapter on it."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pipeline.generation.adapters import Adapter, AdapterStack, read_adapter
from pipeline.generation.decoders import (
    Decoder,
    TransformersDecoder,
    find_obstacle,
    find_openvino_obstacle,
)
from pipeline.generation.engine import Request
from pipeline.generation.int8 import Compressor, compress, int8_file
from pipeline.generation.line import Line, PlaceInLine, Turn
from pipeline.generation.model_loading import explain_errors, load_model
from pipeline.generation.prompt_writer import PromptWriter
from pipeline.generation.prompts import Prompt
from pipeline.generation.running_batch import Row, RunningBatch
from pipeline.generation.sampling import Odds, uniform_draws
from pipeline.generation.scheduler import Scheduler
from pipeline.generation.static_decoder import StaticDecoder
from pipeline.generation.tokenization import (
    decode,
    encode_completion,
    prepare_tokenizer,
)
from pipeline.models.families import Family
from pipeline.models.weights import base_model_dir
from pipeline.schema import (
    Checkpoint,
    Completion,
    Context,
    LabError,
    Progress,
    PromptVariant,
    SamplingParams,
    TokenChoice,
)
from pipeline.settings import Settings

ROWS = {"cpu": 128, "cuda": 384}
"""Rows of the running batch, by device."""
_CACHE_BYTES = 768e6
"""Of their keys and values on a CPU."""
_CACHE_SHARE = 0.3
"""Of their keys and values on a GPU, as a share of the memory that the model leaves free."""
_PIECE_TOKENS = {"cpu": 512, "cuda": 8192}
"""Tokens of prompts that are read between two steps: about as long as a step takes."""
_PROBE = "def attention(query, key, value):"


def load_engine(
    settings: Settings,
    family: Family,
    progress: Progress | None = None,
    dtype: torch.dtype | None = None,
    plain: str = "",
) -> TorchEngine:
    """Load the family's base model on the best device here; see ``TorchEngine`` for ``plain``.

    Without a ``dtype`` it is the one that is best here, which for a large model on a CPU is int8 weights.

    Raises:
        LabError: the base model cannot be loaded.
    """
    from transformers import AutoTokenizer

    report = progress or (lambda fraction, message: None)
    source = base_model_dir(settings, family, progress)
    report(0.9, "Loading the base model")
    with explain_errors(family, source):
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    model, compressor = load_model(family, source, dtype), None
    if dtype is None and isinstance(source, Path):  # converted here: it has a place for its int8 weights
        compressor = partial(compress, int8_file(source), report)
    return TorchEngine(family, model, tokenizer, plain=plain, compressor=compressor)


class TorchEngine:
    """Generates for many checkpoints in one batch, each row under its own adapter (see ``Engine``).

    The static decoder computes on a GPU, and OpenVINO on a CPU; transformers where they cannot.
    """

    def __init__(
        self,
        family: Family,
        model: Any,
        tokenizer: Any,
        merged: bool = False,
        plain: str = "",
        compressor: Compressor | None = None,
    ) -> None:
        """Wrap a loaded model.

        Args:
            family: of the model.
            model: in transformers.
            tokenizer: of the model.
            merged: whether it is a checkpoint itself and takes no adapters.
            plain: why transformers writes and nothing faster; empty where nothing prevents that.
            compressor: gives the weights that OpenVINO computes with in int8; None where nothing keeps them.

        Raises:
            LabError: the int8 weights cannot be kept.
        """
        prepare_tokenizer(tokenizer)
        self.family, self.model, self.tokenizer = family, model.eval(), tokenizer
        self._merged = merged
        self.dtype, self.device = model.dtype, model.device
        self.stack = AdapterStack(model)
        self._adapters: dict[str, Adapter] = {}
        self._prompts = PromptWriter(family, tokenizer)
        self._tokenizing = self._prompts.lock
        kind, stop_ids = self.device.type, _stop_ids(model, tokenizer)
        obstacle = find_openvino_obstacle if kind == "cpu" else find_obstacle
        self._obstacle = plain or obstacle(model, self.stack)
        self._precision = str(self.dtype).removeprefix("torch.")
        self._decoder = self._choose_decoder(compressor)
        batch = RunningBatch(self._decoder, stop_ids, _PIECE_TOKENS[kind])
        line = Line(ROWS[kind], _cache_bytes(self.device) / _bytes_per_token(model))
        self._scheduler = Scheduler(batch, line)

    def describe(self) -> str:
        """The model, its precision, its device, and what writes the tokens."""
        place, writer = "CPU", "OpenVINO"
        if self.device.type == "cuda":
            place, writer = torch.cuda.get_device_name(self.device), "CUDA graphs"
        if self._obstacle:
            writer = f"transformers ({self._obstacle})"
        return f"{self.family.title.partition(' (')[0]} · {self._precision} · {place} · {writer}"

    def _choose_decoder(self, compressor: Compressor | None) -> Decoder:
        """The fast one, which on a CPU compiles for seconds; transformers where something prevents it."""
        if self._obstacle:
            return TransformersDecoder(self.model, self.stack)
        if self.device.type == "cuda":
            return StaticDecoder(self.model, self.stack)
        int8 = compressor(self.model, self.stack) if compressor else {}
        try:
            from pipeline.generation.openvino_decoder import OpenVinoDecoder

            decoder = OpenVinoDecoder(self.model, self.stack, int8)
        except Exception as error:  # any part of another library can fail
            self._obstacle = f"OpenVINO failed: {error}"
            logging.getLogger(__name__).warning("%s", self._obstacle)
            return TransformersDecoder(self.model, self.stack)
        if decoder.rounding:
            self._precision += f" with {decoder.rounding}"
        return decoder

    def render(
        self, instruction: str, variant: PromptVariant, context: Context, sampling: SamplingParams
    ) -> Prompt:
        """The prompt, trimmed to leave room for the completion."""
        return self._prompts.render(instruction, variant, context, sampling)

    def count_tokens(self, text: str) -> int:
        """How many tokens a prompt takes."""
        return self._prompts.count_tokens(text)

    def place(self) -> PlaceInLine | None:
        """See ``Engine.place``."""
        return self._scheduler.line.place()

    def stream(
        self, requests: Sequence[Request], sampling: SamplingParams, turn: Turn | None = None
    ) -> Iterator[list[Completion]]:
        """Generate for all requests in the running batch, streaming; see ``Engine.stream``."""
        adapters = self._scheduler.compute(self._adapter(request.checkpoint) for request in requests)
        turn = turn or Turn()
        rows = [
            Row(
                self._prompts.encode(request.prompt),
                adapter,
                sampling,
                _draws(sampling, request.seed_key),
                odds=None if turn.visitor is None else [],
            )
            for request, adapter in zip(requests, adapters, strict=True)
        ]
        completions = [Completion(request.checkpoint.fingerprint, "", 0, None, 0.0) for request in requests]
        for _ in self._scheduler.stream(rows, turn):
            for index, row in enumerate(rows):
                if completions[index].finish_reason is None:
                    completions[index] = self._completion(requests[index], row, turn.visitor is not None)
            yield list(completions)

    def _completion(self, request: Request, row: Row, watched: bool) -> Completion:
        """What a row has so far; an unfinished one has no text where nobody watches."""
        reason, tokens = row.finish_reason, list(row.tokens)  # in this order: another thread adds to them
        text = ""
        if tokens and (reason or watched):
            with self._tokenizing:
                text = decode(self.tokenizer, [tokens])[0]
        return Completion(
            fingerprint=request.checkpoint.fingerprint,
            # A character whose last bytes are still to come decodes to the replacement character.
            text=text if reason else text.rstrip("\ufffd"),
            tokens=len(tokens),
            finish_reason=reason,
            seconds=max(0.0, row.last - row.started),
            seconds_to_first=max(0.0, row.first - row.started),
            note=row.note,
            choices=self._choices(row.odds[: len(tokens)]) if reason and row.odds else (),
        )

    def _choices(self, odds: Sequence[Odds]) -> tuple[TokenChoice, ...]:
        """The odds of a row's tokens as texts."""
        ids = sorted({token for one in odds for token, _ in one})
        with self._tokenizing:
            texts = dict(zip(ids, decode(self.tokenizer, [[token] for token in ids]), strict=True))
        return tuple(
            TokenChoice(
                texts[written], probability, tuple((texts[token], chance) for token, chance in others)
            )
            for (written, probability), *others in odds
        )

    def bits_per_byte(self, requests: Sequence[Request], references: Sequence[str]) -> list[float]:
        """Bits per UTF-8 byte of each reference given its prompt, under the request's checkpoint."""
        prompts = [self._prompts.encode(request.prompt) for request in requests]
        with self._tokenizing:
            targets = [encode_completion(self.tokenizer, reference) for reference in references]
        # By checkpoint, so that an adapter is put on the model once where texts are read one by one.
        order = sorted(range(len(requests)), key=lambda row: requests[row].checkpoint.fingerprint)
        groups = [
            [order[text] for text in group]
            for group in self._decoder.group_texts([len(prompts[row]) + len(targets[row]) for row in order])
        ]
        nats = self._scheduler.compute(self._nats(group, requests, prompts, targets) for group in groups)
        by_row = {
            row: value
            for group, values in zip(groups, nats, strict=True)
            for row, value in zip(group, values, strict=True)
        }
        return [by_row[row] / math.log(2) / len(text.encode()) for row, text in enumerate(references)]

    def _nats(
        self,
        rows: Sequence[int],
        requests: Sequence[Request],
        prompts: Sequence[list[int]],
        targets: Sequence[list[int]],
    ) -> list[float]:
        """Of each of these rows, the sum of -ln p over its target's tokens, without the end token."""
        adapters = [self._adapter(requests[row].checkpoint) for row in rows]
        return self._decoder.nats(adapters, [prompts[row] for row in rows], [targets[row] for row in rows])

    def _adapter(self, checkpoint: Checkpoint) -> Adapter | None:
        if checkpoint.is_baseline or self._merged:
            return None
        fingerprint = checkpoint.fingerprint
        if fingerprint not in self._adapters:
            adapter = read_adapter(checkpoint, self.family, self.stack.layers).to(self.model)
            self.verify_adapter(adapter)
            self._adapters[fingerprint] = adapter
        return self._adapters[fingerprint]

    @torch.inference_mode()
    def verify_adapter(self, adapter: Adapter) -> None:
        """Check with a short prompt that the adapter changes the logits, but not those of the baseline.

        Raises:
            LabError: one of the two is not true, or the logits are not finite.
        """
        bare, stacked = self._probe([None, None]), self._probe([None, adapter])
        if not stacked.isfinite().all():
            raise LabError(
                f"Checkpoint {adapter.name} cannot be used: with it the model computes values that are not "
                "finite. Its training went wrong."
            )
        if not torch.equal(stacked[0], bare[0]):
            raise LabError(
                f"The baseline's answers change when {adapter.name} is loaded beside it. This is a bug."
            )
        if torch.equal(stacked[1], bare[1]):
            raise LabError(f"Checkpoint {adapter.name} changes nothing: its answers are the baseline's.")

    def _probe(self, adapters: Sequence[Adapter | None]) -> torch.Tensor:
        """The logits after a short prompt [rows, vocabulary]: transformers' on a GPU, where they repeat."""
        on_cpu = self.device.type == "cpu"
        decoder = self._decoder if on_cpu else TransformersDecoder(self.model, self.stack)
        ids = torch.tensor([self._prompts.encode(_PROBE)] * len(adapters))
        decoder.load(adapters)
        return decoder.forward(adapters, ids, torch.arange(ids.shape[1]).expand_as(ids), None)[0]


def _stop_ids(model: Any, tokenizer: Any) -> list[int]:
    """The tokens that end an answer; of the tokenizer, which is the base's, if a merged model names none.

    Raises:
        LabError: neither names one.
    """
    for eos in (model.generation_config.eos_token_id, model.config.eos_token_id, tokenizer.eos_token_id):
        if eos is not None:
            return list(eos) if isinstance(eos, list) else [eos]
    raise LabError(
        "The model cannot be used: neither it nor its tokenizer names an end token (eos_token_id)."
    )


def _draws(sampling: SamplingParams, key: str) -> Sequence[float]:
    return uniform_draws(sampling.seed, key, sampling.max_new_tokens) if sampling.temperature > 0 else ()


def _cache_bytes(device: torch.device) -> float:
    """How many bytes of keys and values the rows of the batch can have."""
    return _CACHE_BYTES if device.type == "cpu" else _CACHE_SHARE * torch.cuda.mem_get_info(device)[0]


def _bytes_per_token(model: Any) -> int:
    """Of the keys and values of one token, in all layers."""
    config = model.config
    head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * head_size * model.dtype.itemsize)
