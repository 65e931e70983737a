"""The layers of a Llama or Qwen2 model with few and large operations, for the static decoder.

Layers that read the same input, and A of their stacked adapters, are one matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.generation.adapters import AdapterStack


class Layer:
    """A decoder layer: attention without its caches, and the feed-forward part."""

    def __init__(self, layer: Any, number: int, stack: AdapterStack, heads: int, size: int) -> None:
        def linear(part: str, *names: str) -> Linear:
            return Linear([f"model.layers.{number}.{part}.{name}" for name in names], stack)

        self._heads, self._size = heads, size  # cached heads, and the numbers in a head
        self._first_norm, self._second_norm = layer.input_layernorm, layer.post_attention_layernorm
        self._in = linear("self_attn", "q_proj", "k_proj", "v_proj")
        self._out = linear("self_attn", "o_proj")
        self._up = linear("mlp", "gate_proj", "up_proj")
        self._down = linear("mlp", "down_proj")
        self.linears = (self._in, self._out, self._up, self._down)

    def project(self, x: Tensor, ranks: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """Queries [tokens, query heads, size], and keys and values [tokens, 2, heads, size].

        With a minus in the first half of ``sin``, ``x * cos + roll(x) * sin`` is the rotary embedding.
        """
        every = self._in(normalize(x, self._first_norm), ranks).unflatten(1, (-1, self._size))
        turned = every[:, : -self._heads]  # all but the values
        torch.addcmul(turned * cos, turned.roll(self._size // 2, -1), sin, out=turned)
        return every[:, : -2 * self._heads], every[:, -2 * self._heads :].unflatten(1, (2, -1))

    def finish(self, x: Tensor, found: Tensor, ranks: Tensor) -> Tensor:
        """The layer's output, from its input and what attention found: both [tokens, width]."""
        x = self._out(found, ranks, x)
        gate, up = self._up(normalize(x, self._second_norm), ranks).chunk(2, 1)
        return self._down(functional.silu(gate) * up, ranks, x)


class Linear:
    """Linear layers that read the same input, with their stacked adapters (see ``adapters``)."""

    def __init__(self, names: Sequence[str], stack: AdapterStack) -> None:
        self._layers = [stack.layers[name] for name in names]
        self._outputs = [layer.base.out_features for layer in self._layers]
        self.make_room(0)

    def make_room(self, ranks: int) -> None:
        """Lay out the weights, with room for adapters of so many ranks in all.

        The layers get their parts of the one matrix, so there is no second copy of them.
        """
        bases, rows = [layer.base for layer in self._layers], len(self._layers) * ranks
        room = bases[0].weight.new_zeros(rows, bases[0].in_features)
        self._matrix = torch.cat([*(base.weight.detach() for base in bases), room])  # [out + layers · R, in]
        *weights, self._a = self._matrix.split([*self._outputs, rows])
        for base, weight in zip(bases, weights, strict=True):
            base.weight.data = weight
        self._bias = None
        if bases[0].bias is not None:
            self._bias = torch.cat([*(base.bias.detach() for base in bases), room.new_zeros(rows)])
        self._b = room.new_zeros(sum(self._outputs), rows)

    def copy_adapters(self, ranks: int) -> None:
        """Copy the adapters that are stacked now; zeros stand where they have nothing."""
        self._a.zero_()
        self._b.zero_()
        room, output = len(self._a) // len(self._layers), 0
        for place, (layer, outputs) in enumerate(zip(self._layers, self._outputs, strict=True)):
            if layer.a is not None and layer.b is not None:
                self._a[place * room : place * room + ranks] = layer.a
                self._b[output : output + outputs, place * room : place * room + ranks] = layer.b
            output += outputs

    def __call__(self, x: Tensor, ranks: Tensor, residual: Tensor | None = None) -> Tensor:
        """``x`` [tokens, in] to [tokens, out]; ``ranks`` says which ranks each token uses.

        ``residual`` is overwritten with the sum.
        """
        found = functional.linear(x, self._matrix, self._bias)
        y, a_x = found.split([len(self._b), len(self._a)], 1)
        if residual is not None:
            y = residual.add_(y)
        if len(self._a):
            y.addmm_(a_x * ranks[:, : len(self._a)], self._b.t())
        return y


def normalize(x: Tensor, module: Any) -> Tensor:
    """Root mean square normalization."""
    return functional.rms_norm(x, (x.shape[-1],), module.weight, module.variance_epsilon)


def round_up(number: int, step: int) -> int:
    """The next multiple of ``step``."""
    return -(-number // step) * step
