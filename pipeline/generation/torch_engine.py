"""The local engine: transformers, one base model in memory, every checkpoint a LoRA adapter on it."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import torch

from pipeline.generation.adapters import Adapter, AdapterStack, read_adapter
from pipeline.generation.decoders import TransformersDecoder, find_openvino_obstacle
from pipeline.generation.engine import Request
from pipeline.generation.line import Line, PlaceInLine, Turn
from pipeline.generation.model_loading import explain_errors, load_model
from pipeline.generation.prompts import TEMPLATES, Prompt, render_prompt, tokens_for_prompt
from pipeline.generation.running_batch import Row, RunningBatch
from pipeline.generation.sampling import uniform_draws
from pipeline.generation.scheduler import Scheduler
from pipeline.generation.tokenization import (
    chat_frame,
    decode,
    encode_completion,
    encode_prompt,
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
)
from pipeline.settings import Settings

ROWS = {"cpu": 128, "cuda": 384}
"""Rows of the running batch, by device."""
_CACHE_BYTES = {"cpu": 768e6, "cuda": 24e9}
"""Of their keys and values."""
_PIECE_TOKENS = {"cpu": 256, "cuda": 8192}
"""Tokens of prompts that are read between two steps: about as long as a step takes."""
_PROBE = "def attention(query, key, value):"


def load_engine(
    settings: Settings, family: Family, progress: Progress | None = None, dtype: torch.dtype | None = None
) -> TorchEngine:
    """Load the family's base model on the best device here.

    Raises:
        LabError: the base model cannot be loaded.
    """
    from transformers import AutoTokenizer

    report = progress or (lambda fraction, message: None)
    source = base_model_dir(settings, family, progress)
    report(0.9, "Loading the base model")
    with explain_errors(family, source):
        tokenizer = AutoTokenizer.from_pretrained(source)
    return TorchEngine(family, load_model(family, source, dtype), tokenizer)


class TorchEngine:
    """Generates for many checkpoints in one batch, each row under its own adapter (see ``Engine``).

    On a CPU, OpenVINO writes the tokens. Its graph takes seconds to compile. Meanwhile transformers writes
    for those who watch, and others wait, so that their texts do not depend on the time. Transformers always
    computes the bits per byte and the checks of an adapter.
    """

    def __init__(self, family: Family, model: Any, tokenizer: Any, merged: bool = False) -> None:
        """Wrap a loaded model; ``merged`` says that it is a checkpoint itself and takes no adapters."""
        prepare_tokenizer(tokenizer)
        self.family, self.model, self.tokenizer = family, model.eval(), tokenizer
        self._merged = merged
        self.dtype, self.device = model.dtype, model.device
        self.stack = AdapterStack(model)
        self._adapters: dict[str, Adapter] = {}
        self._tokenizing = threading.Lock()  # the tokenizer keeps its settings between calls
        kind = self.device.type
        decoder = TransformersDecoder(model, self.stack)
        self._batch = RunningBatch(decoder, _stop_ids(model, tokenizer), _PIECE_TOKENS[kind])
        line = Line(ROWS[kind], _CACHE_BYTES[kind] / _bytes_per_token(model))
        self._scheduler = Scheduler(self._batch, line)
        self._openvino: Future[None] | None = None  # None on a GPU, and where something prevents it
        self._obstacle = find_openvino_obstacle(model, self.stack) if kind == "cpu" else None
        if kind == "cpu" and self._obstacle is None:
            threads = ThreadPoolExecutor(1, thread_name_prefix="openvino")
            self._openvino = threads.submit(self._use_openvino)
            threads.shutdown(wait=False)

    def describe(self) -> str:
        """The model, its precision, its device, and on a CPU what writes the tokens."""
        if self.device.type == "cuda":
            place = torch.cuda.get_device_name(self.device)
        elif self._obstacle:
            place = f"CPU · transformers ({self._obstacle})"
        else:
            place = "CPU · OpenVINO"
        return f"{self.family.title.partition(' (')[0]} · {str(self.dtype).removeprefix('torch.')} · {place}"

    def _use_openvino(self) -> None:
        """Compile the graph, and let the running batch go on with it."""
        try:
            from pipeline.generation.openvino_decoder import OpenVinoDecoder

            decoder = OpenVinoDecoder(self.model, self.stack)
            self._scheduler.compute(map(self._batch.go_on_with, [decoder], [decoder.adopt]))
        except Exception as error:  # any part of another library can fail; transformers goes on
            self._obstacle = f"OpenVINO failed: {error}"
            logging.getLogger(__name__).warning("%s", self._obstacle)

    def render(
        self, instruction: str, variant: PromptVariant, context: Context, sampling: SamplingParams
    ) -> Prompt:
        """The prompt, trimmed to leave room for the completion."""
        room = tokens_for_prompt(self.family.sequence_length, sampling.max_new_tokens)
        templates = dict(self.family.templates)
        if variant == "chat":
            before, after = chat_frame(self.tokenizer)
            if not before:
                raise LabError(f"The model of {self.family.name} has no chat template.")
            templates["chat"] = before + (templates.get("chat") or TEMPLATES["chat"]) + after
        return render_prompt(instruction, variant, context, room, self.count_tokens, templates)

    def count_tokens(self, text: str) -> int:
        """How many tokens a prompt takes."""
        return len(self._encode(text))

    def place(self) -> PlaceInLine | None:
        """See ``Engine.place``."""
        return self._scheduler.line.place()

    def stream(
        self, requests: Sequence[Request], sampling: SamplingParams, turn: Turn | None = None
    ) -> Iterator[list[Completion]]:
        """Generate for all requests in the running batch, streaming; see ``Engine.stream``."""
        adapters = self._scheduler.compute(self._adapter(request.checkpoint) for request in requests)
        rows = [
            Row(self._encode(request.prompt), adapter, sampling, _draws(sampling, request.seed_key))
            for request, adapter in zip(requests, adapters, strict=True)
        ]
        turn = turn or Turn()
        if self._openvino and turn.visitor is None:
            wait([self._openvino])
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
        )

    def _encode(self, prompt: str) -> list[int]:
        with self._tokenizing:
            return encode_prompt(self.tokenizer, prompt)

    def bits_per_byte(self, requests: Sequence[Request], references: Sequence[str]) -> list[float]:
        """Bits per UTF-8 byte of each reference given its prompt, under the request's checkpoint.

        One row at a time: kernels round differently for other batch shapes, and a row's value must not
        depend on its neighbors.
        """
        # By checkpoint, so that each adapter is put on the model once.
        order = sorted(range(len(requests)), key=lambda row: requests[row].checkpoint.fingerprint)
        values = self._scheduler.compute(self._bits_per_byte(requests[row], references[row]) for row in order)
        bits = dict(zip(order, values, strict=True))
        return [bits[row] for row in range(len(requests))]

    def _bits_per_byte(self, request: Request, reference: str) -> float:
        """The sum of -log2 p over the reference's tokens, without the end token, over its bytes."""
        prompt = self._encode(request.prompt)
        with self._tokenizing:
            target = encode_completion(self.tokenizer, reference)
        self.stack.assign([self._adapter(request.checkpoint)])
        ids = torch.tensor([prompt + target], device=self.device)
        hidden = self.model.model(input_ids=ids, use_cache=False).last_hidden_state[0]
        logits = self.model.lm_head(hidden[len(prompt) - 1 : -1]).float()
        nats = torch.nn.functional.cross_entropy(logits, ids[0, len(prompt) :], reduction="sum")
        return float(nats) / math.log(2) / len(reference.encode())

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
        ids = torch.tensor([self._encode(_PROBE)] * 2, device=self.device)
        self.stack.assign([None, None])
        bare = self.model(input_ids=ids).logits
        self.stack.assign([None, adapter])
        stacked = self.model(input_ids=ids).logits
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


def _bytes_per_token(model: Any) -> int:
    """Of the keys and values of one token, in all layers."""
    config = model.config
    head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * config.num_key_value_heads * head_size * model.dtype.itemsize)
