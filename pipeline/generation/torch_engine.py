"""The local engine: transformers, one base model in memory, every checkpoint a LoRA adapter on it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from pipeline.generation.adapters import Adapter, AdapterStack, read_adapter
from pipeline.generation.bucketing import bucket_by_length, join_caches
from pipeline.generation.engine import Request
from pipeline.generation.model_loading import explain_errors, load_model
from pipeline.generation.prompts import TEMPLATES, Prompt, render_prompt, tokens_for_prompt
from pipeline.generation.sampling import sample_tokens, uniform_draws
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
    FinishReason,
    LabError,
    Progress,
    PromptVariant,
    SamplingParams,
)
from pipeline.settings import Settings

BATCH_ROWS = {"cpu": 32, "cuda": 384}  # of an evaluation; by device
_UPDATE_SECONDS = 0.08
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
    """Generates for many checkpoints in one batch, each row under its own adapter (see ``Engine``)."""

    def __init__(self, family: Family, model: Any, tokenizer: Any, merged: bool = False) -> None:
        """Wrap a loaded model; ``merged`` says that it is a checkpoint itself and takes no adapters."""
        prepare_tokenizer(tokenizer)
        self.family, self.model, self.tokenizer = family, model.eval(), tokenizer
        self._merged = merged
        self.dtype, self.device = model.dtype, model.device
        self.batch_rows = BATCH_ROWS[self.device.type]
        self.stack = AdapterStack(model)
        self._adapters: dict[str, Adapter] = {}
        self._stop_ids = torch.tensor(_stop_ids(model, tokenizer), device=self.device)
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else int(self._stop_ids[0])

    def describe(self) -> str:
        """The model, its precision and its device."""
        device = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU"
        return f"{self.family.title.partition(' (')[0]} · {str(self.dtype).removeprefix('torch.')} · {device}"

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
        return len(encode_prompt(self.tokenizer, text))

    @torch.inference_mode()
    def stream(
        self, requests: Sequence[Request], sampling: SamplingParams, cancel: threading.Event | None = None
    ) -> Iterator[list[Completion]]:
        """Generate for all requests in one batch, streaming; see ``Engine.stream``."""
        adapters = [self._adapter(request.checkpoint) for request in requests]
        prompts = [encode_prompt(self.tokenizer, request.prompt) for request in requests]
        batch = _Batch(requests, self.tokenizer)
        uniform = uniform_draws(
            sampling.seed, [request.seed_key for request in requests], sampling.max_new_tokens
        )
        self.stack.assign(adapters, self.dtype, self.device)
        alive = torch.arange(len(requests), device=self.device)
        uniform = uniform.to(self.device)
        logits, cache, mask = self._prefill(prompts)
        token: Tensor | None = None
        shown = 0.0
        for step in range(sampling.max_new_tokens):
            if token is not None:
                logits, cache = self._forward(token[:, None], mask, cache)
            token = sample_tokens(logits, sampling.temperature, sampling.min_p, uniform[alive, step])
            stopped = torch.isin(token, self._stop_ids)
            batch.add(alive.tolist(), token.tolist(), stopped.tolist())
            if cancel is not None and cancel.is_set():
                break
            if stopped.any():
                rows = (~stopped).nonzero()[:, 0]
                if not len(rows):
                    break
                alive, token, mask = alive[rows], token[rows], mask[rows]
                cache.batch_select_indices(rows)
                self.stack.keep(rows)
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
            if time.perf_counter() - shown > _UPDATE_SECONDS:
                yield batch.snapshot()
                shown = time.perf_counter()
        batch.close("cancelled" if cancel is not None and cancel.is_set() else "length")
        yield batch.snapshot()

    def _prefill(self, prompts: list[list[int]]) -> tuple[Tensor, Any, Tensor]:
        """The prompts' next-token logits [rows, vocabulary], their cache, and its mask [rows, longest].

        Prompts of similar length are processed together: a regular prompt padded to the length of an
        augmented one would cost as much. Their caches are then joined, padded on the left.
        """
        groups = bucket_by_length([len(prompt) for prompt in prompts])
        caches, logits = [], []
        for rows in groups:
            ids, mask = self._pad_left([prompts[row] for row in rows])
            with self.stack.only(torch.tensor(rows, device=self.device)):
                group_logits, cache = self._forward(ids, mask, None)
            logits.append(group_logits)
            caches.append(cache)
        order = torch.tensor([row for rows in groups for row in rows], device=self.device)
        _, mask = self._pad_left(prompts)
        return torch.cat(logits)[order.argsort()], join_caches(groups, caches), mask

    def _forward(self, ids: Tensor, mask: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """Next-token logits [rows, vocabulary] and the cache, after ``ids`` [rows, length]."""
        output = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=(mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1], output.past_key_values

    @torch.inference_mode()
    def bits_per_byte(self, requests: Sequence[Request], references: Sequence[str]) -> list[float]:
        """Bits per UTF-8 byte of each reference given its prompt, under the request's checkpoint.

        One row at a time: kernels round differently for other batch shapes, and a row's value must not
        depend on its neighbors.
        """
        result = [math.nan] * len(requests)
        # By checkpoint, so that each adapter is put on the model once.
        for row in sorted(range(len(requests)), key=lambda row: requests[row].checkpoint.fingerprint):
            result[row] = self._bits_per_byte(requests[row], references[row])
        return result

    def _bits_per_byte(self, request: Request, reference: str) -> float:
        """The sum of -log2 p over the reference's tokens, without the end token, over its bytes."""
        prompt = encode_prompt(self.tokenizer, request.prompt)
        target = encode_completion(self.tokenizer, reference)
        self.stack.assign([self._adapter(request.checkpoint)], self.dtype, self.device)
        ids = torch.tensor([prompt + target], device=self.device)
        hidden = self.model.model(input_ids=ids, use_cache=False).last_hidden_state[0]
        logits = self.model.lm_head(hidden[len(prompt) - 1 : -1]).float()
        nats = torch.nn.functional.cross_entropy(logits, ids[0, len(prompt) :], reduction="sum")
        return float(nats) / math.log(2) / len(reference.encode())

    def _pad_left(self, sequences: list[list[int]]) -> tuple[Tensor, Tensor]:
        longest = max(map(len, sequences))
        ids = [[self._pad] * (longest - len(s)) + s for s in sequences]
        mask = [[0] * (longest - len(s)) + [1] * len(s) for s in sequences]
        return torch.tensor(ids, device=self.device), torch.tensor(mask, device=self.device)

    def _adapter(self, checkpoint: Checkpoint) -> Adapter | None:
        if checkpoint.is_baseline or self._merged:
            return None
        fingerprint = checkpoint.fingerprint
        if fingerprint not in self._adapters:
            adapter = read_adapter(checkpoint, self.family, self.stack.layers)
            self.verify_adapter(adapter)
            self._adapters[fingerprint] = adapter
        return self._adapters[fingerprint]

    @torch.inference_mode()
    def verify_adapter(self, adapter: Adapter) -> None:
        """Check with a short prompt that the adapter changes the logits, but not those of the baseline.

        Raises:
            LabError: one of the two is not true, or the logits are not finite.
        """
        ids = torch.tensor([encode_prompt(self.tokenizer, _PROBE)] * 2, device=self.device)
        self.stack.assign([None, None], self.dtype, self.device)
        bare = self.model(input_ids=ids).logits
        self.stack.assign([None, adapter], self.dtype, self.device)
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


class _Batch:
    """The completions of one batch as they grow."""

    def __init__(self, requests: Sequence[Request], tokenizer: Any) -> None:
        self.requests, self.tokenizer = requests, tokenizer
        self.tokens: list[list[int]] = [[] for _ in requests]
        self.reasons: list[FinishReason | None] = [None] * len(requests)
        self.seconds = [0.0] * len(requests)
        self.start, self.first = time.perf_counter(), 0.0

    def add(self, rows: list[int], tokens: list[int], stopped: list[bool]) -> None:
        now = time.perf_counter() - self.start
        self.first = self.first or now
        for row, token, stop in zip(rows, tokens, stopped, strict=True):
            self.seconds[row] = now
            if stop:
                self.reasons[row] = "stop"
            else:
                self.tokens[row].append(token)

    def close(self, reason: FinishReason) -> None:
        self.reasons = [known or reason for known in self.reasons]

    def snapshot(self) -> list[Completion]:
        texts = decode(self.tokenizer, self.tokens)
        return [
            Completion(
                fingerprint=request.checkpoint.fingerprint,
                # A character whose last bytes are still to come decodes to the replacement character.
                text=text if reason else text.rstrip("\ufffd"),
                tokens=len(tokens),
                finish_reason=reason,
                seconds=seconds,
                seconds_to_first=self.first,
            )
            for request, text, tokens, reason, seconds in zip(
                self.requests, texts, self.tokens, self.reasons, self.seconds, strict=True
            )
        ]
