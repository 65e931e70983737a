"""The training loop of the embedded families: LoRA weights on a base model in memory.

A step is bound by launching its kernels, not by arithmetic: batch 16 took as long at 210 tokens a sample as
at 865. So on a GPU each batch shape is captured once as a CUDA graph and then replayed, batches hold samples
of similar length padded on the right (causal attention needs no mask then), and only the tokens that carry
loss reach the output layer. On a CPU the same steps run without graphs.
"""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AttentionInterface, AttentionMaskInterface

from pipeline.files import write_atomically
from pipeline.models.families import Family
from pipeline.schema import LabError
from training.examples import IGNORED
from training.jobs.progress import Reporter

_SAVES = 10  # an interrupted training loses at most a tenth of its steps
_WARMUP_STEPS = 10
_MAX_GRAD_NORM = 1.0
_SORTED_BATCHES = 20  # so many batches of samples are drawn at random, then sorted by length
_CPU_BYTES = 4_000_000_000  # for the activations of one forward pass
# cuDNN's attention gives NaN gradients on an H100 for models with large activations (pytorch issue 196678).
_ATTENTION = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]

Row = dict[str, list[int]]
"""``input_ids`` and ``labels`` of one sample (``training.examples``)."""


@dataclass
class TrainingLog:
    """What a training did so far.

    Attributes:
        step: optimizer steps done.
        loss: (step, mean loss per token since the entry before).
        held_out_loss: (step, loss per token on samples that no training set holds).
    """

    step: int = 0
    loss: list[tuple[int, float]] = field(default_factory=list)
    held_out_loss: list[tuple[int, float]] = field(default_factory=list)


@dataclass(frozen=True)
class _Batch:
    """Some rows of a batch as tensors of a shape that occurs often.

    Attributes:
        ids: [rows, length], padded on the right.
        places: [tokens], where in the flattened ids a token that carries loss is predicted.
        labels: [tokens], these tokens; ``IGNORED`` where ``places`` is padded.
    """

    ids: Tensor
    places: Tensor
    labels: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.ids.shape, *self.places.shape)


def train(
    model: Any,
    rows: Sequence[Row],
    held_out: Sequence[Row],
    family: Family,
    work: Path,
    epochs: int,
    seed: int,
    max_steps: int | None,
    report: Reporter,
    resume: bool,
) -> TrainingLog:
    """Train the model's LoRA weights in place.

    AdamW without weight decay in fp32, on a copy of the weights; the model computes in its own precision. The
    learning rate rises over ten steps and then falls linearly to zero. The loss is the mean over all tokens
    of a batch that carry loss.

    Args:
        model: a PEFT model whose LoRA weights are new, or those of a training that goes on.
        rows: the training set; its order is drawn from the seed.
        held_out: rows whose loss is measured ten times on the way; may be empty.
        family: gives learning rate and batch size.
        work: folder for what an interrupted training goes on from.
        epochs: passes over the rows.
        seed: of their order.
        max_steps: stop after so many optimizer steps.
        report: told how far it is.
        resume: whether to go on from the last save in ``work``.

    Raises:
        LabError: a loss or gradient is not finite; the last save stays.
    """
    steps = -(-len(rows) // family.batch_size) * epochs
    steps = min(steps, max_steps) if max_steps else steps
    stepper = _Stepper(model, family.learning_rate)
    log = _load(stepper, work) if resume else TrainingLog()
    every, save_every = max(1, steps // 100), max(1, steps // _SAVES)
    recent: list[float] = []
    for number, batch in enumerate(batches(rows, family.batch_size, epochs, seed), start=1):
        if number > steps:
            break
        if number <= log.step:
            continue  # done before the interruption
        loss, norm = stepper.step(batch, family.learning_rate * _schedule(number - 1, steps))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise LabError(_not_finite(number, steps, loss, norm, work))
        log.step = number
        recent.append(loss)
        if number % every == 0 or number == steps:
            log.loss.append((number, round(sum(recent) / len(recent), 4)))
            recent.clear()
            report(0.02 + 0.96 * number / steps, f"step {number} of {steps}", step=number, loss=loss)
        if number % save_every == 0 or number == steps:
            if held_out:
                log.held_out_loss.append((number, round(stepper.loss(held_out), 4)))
            _save(stepper, log, work)
    return log


def _schedule(step: int, steps: int) -> float:
    """The share of the peak learning rate at a step, counted from 0."""
    warmup = min(_WARMUP_STEPS, steps // 10)
    return (step + 1) / (warmup + 1) if step < warmup else (steps - step) / max(1, steps - warmup)


def batches(rows: Sequence[Row], size: int, epochs: int, seed: int) -> Iterator[list[Row]]:
    """Batches of samples of similar length, in an order that only the seed decides."""
    for epoch in range(epochs):
        draw = random.Random(f"{seed}/{epoch}")
        order = list(range(len(rows)))
        draw.shuffle(order)
        span = _SORTED_BATCHES * size
        alike = [
            index
            for start in range(0, len(order), span)
            for index in sorted(order[start : start + span], key=lambda i: -len(rows[i]["input_ids"]))
        ]
        drawn = [alike[start : start + size] for start in range(0, len(alike), size)]
        draw.shuffle(drawn)
        for batch in drawn:
            yield [rows[index] for index in batch]


class _Stepper:
    """The weights, the optimizer and, on a GPU, the captured graphs."""

    def __init__(self, model: Any, learning_rate: float) -> None:
        base = model.get_base_model()
        _use_causal_attention(base)
        model.train()
        self.device = base.device
        self.graphs = self.device.type == "cuda"
        self.body, self.head = base.model, base.lm_head.weight
        self.weights = [p for p in model.parameters() if p.requires_grad]
        self.masters = [p.detach().float().clone() for p in self.weights]
        for weight, master in zip(self.weights, self.masters, strict=True):
            weight.data = weight.data.to(base.dtype)
            master.grad = torch.zeros_like(master)
        self.rate = torch.tensor(learning_rate, device=self.device)
        self.optimizer = torch.optim.AdamW(
            self.masters, lr=self.rate, weight_decay=0.0, fused=True, capturable=self.graphs
        )
        self.share = torch.zeros((), device=self.device)  # 1 over the tokens of the batch that carry loss
        self.limit = max(1, tokens_at_once(base.config, self.device))
        self._captured: dict[Any, tuple[torch.cuda.CUDAGraph, _Batch | None, Any]] = {}
        self._pool: Any = None

    def step(self, rows: Sequence[Row], rate: float) -> tuple[float, float]:
        """One optimizer step; returns loss per token and gradient norm."""
        tokens = sum(label != IGNORED for row in rows for label in row["labels"])
        self.share.fill_(1 / tokens)
        self.rate.fill_(rate)
        losses = [self._run(self._accumulate, part).clone() for part in self._parts(rows)]
        norm = self._run(self._update, None)
        return float(torch.stack(losses).sum()), float(norm)

    @torch.no_grad()
    def loss(self, rows: Sequence[Row]) -> float:
        """Loss per token, without training on it."""
        tokens = sum(label != IGNORED for row in rows for label in row["labels"])
        self.share.fill_(1 / tokens)
        return float(sum(float(self._forward(part)) for part in self._parts(rows)))

    def _parts(self, rows: Sequence[Row]) -> Iterator[_Batch]:
        """The batch in parts that fit the memory, all of one shape."""
        length = _up(max(len(row["input_ids"]) for row in rows), 128 if self.graphs else 1)
        size = max(1, min(len(rows), self.limit // length))
        for start in range(0, len(rows), size):
            yield self._tensors(rows[start : start + size], size, length)

    def _tensors(self, rows: Sequence[Row], size: int, length: int) -> _Batch:
        ids = torch.zeros(size, length, dtype=torch.long)
        places: list[int] = []
        labels: list[int] = []
        for index, row in enumerate(rows):
            ids[index, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
            for place, label in enumerate(row["labels"]):
                if label != IGNORED:
                    places.append(index * length + place - 1)
                    labels.append(label)
        spare = _up(len(places), 512 if self.graphs else 1) - len(places)
        return _Batch(
            ids.to(self.device),
            torch.tensor(places + [0] * spare).to(self.device),
            torch.tensor(labels + [IGNORED] * spare).to(self.device),
        )

    def _forward(self, batch: _Batch) -> Tensor:
        with sdpa_kernel(_ATTENTION):
            hidden = self.body(input_ids=batch.ids, use_cache=False).last_hidden_state
        logits = F.linear(hidden.flatten(0, 1).index_select(0, batch.places), self.head).float()
        total = F.cross_entropy(logits, batch.labels, ignore_index=IGNORED, reduction="sum")
        return total * self.share

    def _accumulate(self, batch: _Batch) -> Tensor:
        loss = self._forward(batch)
        loss.backward()
        gradients = [weight.grad for weight in self.weights]
        torch._foreach_add_([master.grad for master in self.masters], gradients)
        return loss.detach()

    def _update(self, _: None) -> Tensor:
        norm = torch.nn.utils.clip_grad_norm_(self.masters, _MAX_GRAD_NORM, foreach=True)
        self.optimizer.step()
        torch._foreach_copy_([weight.data for weight in self.weights], self.masters)
        torch._foreach_zero_([master.grad for master in self.masters])
        return norm

    def _run(self, work: Any, batch: Any) -> Any:
        """Do a piece of work: the first time as it is, from then on as the graph captured of it."""
        if not self.graphs:
            self._forget_gradients()
            return work(batch)
        key = (work.__name__, batch.shape if batch else ())
        if key in self._captured:
            graph, inputs, result = self._captured[key]
            if batch:
                for name in ("ids", "places", "labels"):
                    getattr(inputs, name).copy_(getattr(batch, name))
            graph.replay()
            return result
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            self._forget_gradients()
            result = work(batch).clone()
        torch.cuda.current_stream().wait_stream(aside)
        self._forget_gradients()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            captured = work(batch)
        self._pool = self._pool or graph.pool()
        self._captured[key] = graph, batch, captured
        return result

    def _forget_gradients(self) -> None:
        for weight in self.weights:
            weight.grad = None


def _use_causal_attention(base: Any) -> None:
    """Let every token attend to those before it, without a mask: padding stands on the right."""

    def causal(
        module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, scaling: float, **_: Any
    ) -> tuple[Tensor, None]:
        out = F.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scaling, enable_gqa=query.shape[1] != key.shape[1]
        )
        return out.transpose(1, 2).contiguous(), None

    AttentionInterface.register("causal", causal)
    AttentionMaskInterface.register("causal", lambda *_, **__: None)
    base.set_attn_implementation("causal")


def tokens_at_once(config: Any, device: torch.device) -> int:
    """How many tokens one forward and backward pass may hold.

    Rests on about 34 hidden and 8 inner vectors of bf16 kept for each token and layer; measured 36 GB for
    16,384 tokens of the 135M model.
    """
    per_layer = 34 * config.hidden_size + 8 * config.intermediate_size
    per_token = 2 * config.num_hidden_layers * per_layer
    budget = torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else _CPU_BYTES
    return int(budget // per_token)


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _not_finite(number: int, steps: int, loss: float, norm: float, work: Path) -> str:
    what = f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient norm is {norm}"
    saved = _last_save(work)
    kept = f"The save of step {saved.name.partition('-')[2]} stays." if saved else "Nothing was saved yet."
    return (
        f"Training stopped at step {number} of {steps}: {what}. No checkpoint was made. {kept} "
        "A lower learning rate may help."
    )


def _last_save(work: Path) -> Path | None:
    saves = [file.parent for file in work.glob("step-*/log.json")]
    return max(saves, key=lambda folder: int(folder.name.partition("-")[2]), default=None)


def _save(stepper: _Stepper, log: TrainingLog, work: Path) -> None:
    """Write weights, optimizer and log; the log comes last, and older saves go then."""
    folder = work / f"step-{log.step}"
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for index, master in enumerate(stepper.masters):
        state = stepper.optimizer.state[master]
        tensors |= {f"{index}.weight": master, f"{index}.step": state["step"].reshape(1)}
        tensors |= {f"{index}.{name}": state[name] for name in ("exp_avg", "exp_avg_sq")}
    try:
        save_file(
            {name: tensor.detach().cpu() for name, tensor in tensors.items()}, folder / "state.safetensors"
        )
        write_atomically(folder / "log.json", json.dumps(vars(log)))
    except OSError as error:
        raise LabError(
            f"The training could not be saved in {work}: {error}. Make room, then resume."
        ) from error
    for old in work.glob("step-*"):
        if old != folder:
            shutil.rmtree(old, ignore_errors=True)


def _load(stepper: _Stepper, work: Path) -> TrainingLog:
    """Continue from the last save; from the beginning if there is none."""
    folder = _last_save(work)
    if folder is None:
        return TrainingLog()
    tensors = load_file(folder / "state.safetensors", device=str(stepper.device))
    for index, (weight, master) in enumerate(zip(stepper.weights, stepper.masters, strict=True)):
        master.data.copy_(tensors[f"{index}.weight"])
        weight.data.copy_(master)
        step = tensors[f"{index}.step"].reshape(())
        stepper.optimizer.state[master] = {
            "step": step if stepper.graphs else step.cpu(),
            "exp_avg": tensors[f"{index}.exp_avg"],
            "exp_avg_sq": tensors[f"{index}.exp_avg_sq"],
        }
    raw = json.loads((folder / "log.json").read_text(encoding="utf-8"))
    return TrainingLog(
        raw["step"], *([(step, value) for step, value in raw[name]] for name in ("loss", "held_out_loss"))
    )
