"""The decoder of Llama and Qwen2 models as an OpenVINO graph, with the stacked adapters as inputs.

The graph is written operation by operation and shares the memory of the model's weights: this takes a second,
where tracing takes a quarter of a minute, so nothing has to be kept on the disk. Layers on one input are not
joined, because their joined weights would be a copy. The shapes of its attention, normalization and caches
are those that OpenVINO's CPU plugin fuses; a cached key is not copied for the query heads that share it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import openvino as ov
import torch
from openvino import opset13 as ops
from torch import Tensor

from pipeline.generation.int8 import Int8

TYPES = {
    torch.int8: ov.Type.i8,
    torch.float32: ov.Type.f32,
    torch.bfloat16: ov.Type.bf16,
    torch.int32: ov.Type.i32,
    torch.int64: ov.Type.i64,
}
MASKED = -65504.0
"""Added to a score that does not count; infinity would make a row of padding not a number."""


@dataclass(frozen=True)
class Projection:
    """Linear layers that read the same input; their adapters are computed as one.

    Attributes:
        name: of its adapters' inputs, which end in ``.a`` [layers · R, in] and ``.b`` [out, layers · R].
        layers: the names of the model's modules.
    """

    name: str
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """The graph, and what belongs to it.

    Its inputs: ``ids`` [rows, columns], ``mask`` [rows, 1, columns, length], ``cos`` and ``sin``
    [rows, 1, columns, head size], ``beam`` (of each row its place in the caches) [rows], ``ranks``
    [rows · columns, R], ``first`` (the column from which on logits are wanted; -1 is the last one) [1], and
    the matrices of each projection. Its output: the logits [rows, wanted columns, vocabulary]. Its states:
    each layer's keys and values [rows, heads, length, head size].

    Attributes:
        weights: the memory that its constants share.
    """

    model: ov.Model
    projections: tuple[Projection, ...]
    weights: list[Any]


def share_memory(values: Tensor) -> tuple[ov.Tensor, Tensor]:
    """The tensor as OpenVINO's, and what has to be kept as long as it is used."""
    values = values.detach().contiguous()
    array = values.view(torch.uint16).numpy() if values.dtype == torch.bfloat16 else values.numpy()
    return ov.Tensor(array, ov.Shape(list(values.shape)), TYPES[values.dtype]), values


def build_graph(model: Any, int8: Mapping[str, Int8]) -> Graph:
    """Write the graph of a transformers model whose linear layers are stacked (``AdapterStack``).

    Args:
        model: in transformers.
        int8: weights by the name of their module; the others are the model's own.
    """
    return _Writer(model, int8).write()


def _ints(*values: int) -> Any:
    return ops.constant(np.array(values, np.int64))


@dataclass
class _Writer:
    """Writes the graph from the input to the output."""

    model: Any
    int8: Mapping[str, Int8]
    parameters: list[Any] = field(default_factory=list)
    states: list[Any] = field(default_factory=list)
    weights: list[Any] = field(default_factory=list)
    projections: list[Projection] = field(default_factory=list)

    def __post_init__(self) -> None:
        config = self.model.config
        self.heads, self.cached_heads = config.num_attention_heads, config.num_key_value_heads
        self.width = config.hidden_size
        self.head_size = getattr(config, "head_dim", None) or self.width // self.heads
        self.kind = TYPES[self.model.dtype]
        self.ids = self._input("ids", [-1, -1], ov.Type.i64)
        self.mask = self._input("mask", [-1, 1, -1, -1], ov.Type.f32)
        self.cos, self.sin = (
            self._input(name, [-1, 1, -1, self.head_size], ov.Type.f32) for name in ("cos", "sin")
        )
        self.beam = self._input("beam", [-1], ov.Type.i32)
        self.first = self._input("first", [1], ov.Type.i64)
        ranks = self._float(self._input("ranks", [-1, -1], self.kind))
        self.ranks = {number: ops.concat([ranks] * number, 1) for number in (1, 2, 3)}
        shape = ops.shape_of(self.ids)
        self.rows, self.columns = (ops.gather(shape, _ints(at), _ints(0)) for at in (0, 1))

    def write(self) -> Graph:
        """The whole graph."""
        core = self.model.model
        x = ops.gather(self._constant(core.embed_tokens.weight), self.ids, ops.constant(np.int64(0)))
        x = ops.reshape(x, _ints(-1, self.width), False)  # [rows · columns, width]
        for number, layer in enumerate(core.layers):
            x = ops.add(x, self._attention(self._norm(x, layer.input_layernorm), layer.self_attn, number))
            x = ops.add(x, self._mlp(self._norm(x, layer.post_attention_layernorm), layer.mlp, number))
        x = ops.reshape(x, ops.concat([self.rows, self.columns, _ints(self.width)], 0), False)
        x = ops.slice(x, self.first, _ints(np.iinfo(np.int32).max), _ints(1), _ints(1))
        logits = self._product(self._norm(x, core.norm), "lm_head", self.model.lm_head)
        graph = ov.Model([ops.result(logits)], self.states, self.parameters, "decoder")
        return Graph(graph, tuple(self.projections), self.weights)

    def _input(self, name: str, shape: list[int], kind: Any) -> Any:
        parameter = ops.parameter(shape, kind, name=name)
        parameter.output(0).get_tensor().set_names({name})
        self.parameters.append(parameter)
        return parameter

    def _float(self, values: Any) -> Any:
        """The plugin computes in its own precision, and drops the conversion."""
        return values if self.kind == ov.Type.f32 else ops.convert(values, "f32")

    def _shared(self, values: Tensor) -> Any:
        tensor, memory = share_memory(values)
        self.weights += [tensor, memory]
        return ov.op.Constant(tensor, shared_memory=True)

    def _constant(self, values: Tensor) -> Any:
        constant = self._shared(values)
        if values.dtype == torch.float32:
            return constant
        floats = ops.convert(constant, "f32")
        floats.get_rt_info()["decompression_0"] = True  # else the plugin keeps a copy in fp32
        return floats

    def _norm(self, x: Any, module: Any) -> Any:
        """Root mean square normalization."""
        mean = ops.reduce_mean(ops.power(x, np.float32(2)), _ints(-1), True)
        root = ops.sqrt(ops.add(mean, np.float32(module.variance_epsilon)))
        x = ops.multiply(x, ops.divide(np.float32(1), root))
        return ops.multiply(x, self._constant(module.weight.float()))

    def _linear(self, x: Any, parent: Any, path: str, names: tuple[str, ...]) -> list[Any]:
        """Linear layers on one input, each with its stacked adapters (see ``adapters``)."""
        bases = [getattr(parent, name).base for name in names]
        sizes = [base.out_features for base in bases]
        projection = Projection(f"{path}.{names[0]}", tuple(f"{path}.{name}" for name in names))
        self.projections.append(projection)
        a = self._input(f"{projection.name}.a", [-1, bases[0].in_features], self.kind)
        b = self._input(f"{projection.name}.b", [sum(sizes), -1], self.kind)
        ranks = ops.multiply(ops.matmul(x, self._float(a), False, True), self.ranks[len(names)])
        changes = ops.variadic_split(ops.matmul(ranks, self._float(b), False, True), 1, _ints(*sizes))
        return [
            ops.add(self._base(x, name, base), change)
            for name, base, change in zip(projection.layers, bases, changes.outputs(), strict=True)
        ]

    def _base(self, x: Any, name: str, module: Any) -> Any:
        """A linear layer without its adapters."""
        y = self._product(x, name, module)
        return y if module.bias is None else ops.add(y, self._constant(module.bias.float()))

    def _product(self, x: Any, name: str, module: Any) -> Any:
        """With a layer's weights; the plugin makes int8 ones whole as it multiplies, and keeps no copy."""
        if weight := self.int8.get(name):
            values = ops.convert(self._shared(weight.values), "f32")
            whole = ops.multiply(values, self._shared(weight.scales))
            matrix = ops.reshape(whole, _ints(*module.weight.shape), False)
        else:
            matrix = self._constant(module.weight)
        return ops.matmul(x, matrix, False, True)

    def _attention(self, x: Any, module: Any, number: int) -> Any:
        path = f"model.layers.{number}.self_attn"
        query, keys, values = self._linear(x, module, path, ("q_proj", "k_proj", "v_proj"))
        query = self._rotate(self._split_heads(query, self.heads))
        keys = self._cached(self._rotate(self._split_heads(keys, self.cached_heads)), number, "keys")
        values = self._cached(self._split_heads(values, self.cached_heads), number, "values")
        x = ops.scaled_dot_product_attention(query, keys, values, self.mask, causal=False)
        x = ops.reshape(ops.transpose(x, _ints(0, 2, 1, 3)), _ints(-1, self.heads * self.head_size), False)
        (x,) = self._linear(x, module, path, ("o_proj",))
        return x

    def _split_heads(self, x: Any, heads: int) -> Any:
        """[rows · columns, heads · head size] to [rows, heads, columns, head size]."""
        shape = ops.concat([self.rows, self.columns, _ints(heads, self.head_size)], 0)
        return ops.transpose(ops.reshape(x, shape, False), _ints(0, 2, 1, 3))

    def _rotate(self, x: Any) -> Any:
        """Rotary position embedding."""
        first, second = ops.variadic_split(x, -1, _ints(self.head_size // 2, self.head_size // 2)).outputs()
        turned = ops.concat([ops.multiply(second, np.float32(-1)), first], -1)
        return ops.add(ops.multiply(x, self.cos), ops.multiply(turned, self.sin))

    def _cached(self, x: Any, number: int, kind: str) -> Any:
        """Append to a state; returns all of it, each head as often as query heads share it."""
        name, heads, size = f"{number}.{kind}", self.cached_heads, self.head_size
        empty = ops.broadcast(np.float32(0), ops.concat([self.rows, _ints(heads, 0, size)], 0))
        past = ops.read_value(empty, name, ov.Type.f32, ov.PartialShape([-1, heads, -1, size]))
        whole = ops.concat([ops.gather(past, self.beam, ops.constant(np.int64(0))), x], -2)
        self.states.append(ops.assign(whole, name))
        if heads == self.heads:
            return whole
        length = ops.gather(ops.shape_of(whole), _ints(2), _ints(0))
        shape = ops.concat([self.rows, _ints(heads, self.heads // heads), length, _ints(size)], 0)
        shared = ops.broadcast(ops.unsqueeze(whole, _ints(2)), shape, broadcast_spec="BIDIRECTIONAL")
        return ops.reshape(shared, _ints(0, self.heads, -1, size), True)

    def _mlp(self, x: Any, module: Any, number: int) -> Any:
        path = f"model.layers.{number}.mlp"
        gate, up = self._linear(x, module, path, ("gate_proj", "up_proj"))
        (x,) = self._linear(ops.multiply(ops.swish(gate), up), module, path, ("down_proj",))
        return x
