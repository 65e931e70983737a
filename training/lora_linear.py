"""A linear layer with LoRA in fewer passes over memory than PEFT's own forward and backward need.

PEFT adds ``scaling * B(A(x))`` to the base layer's output in separate steps, each of which reads and writes
the whole output. Here the product with B is added by the matrix product itself.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def fuse_lora(model: Any) -> None:
    """Give the LoRA layers of a PEFT model, without dropout and with one adapter, the fused product."""
    from peft.tuners.lora import Linear

    for module in model.modules():
        if isinstance(module, Linear):
            module.forward = functools.partial(_forward, module)


def _forward(layer: Any, x: Tensor) -> Tensor:
    (name,) = layer.active_adapters
    base = layer.get_base_layer()
    y: Tensor = _LoraLinear.apply(
        x.flatten(0, -2),
        base.weight,
        base.bias,
        layer.lora_A[name].weight,
        layer.lora_B[name].weight,
        layer.scaling[name],
    )
    return y.unflatten(0, x.shape[:-1])


class _LoraLinear(torch.autograd.Function):
    """``y = x W^T + bias + scaling (x A^T) B^T``; W and the bias are frozen."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scaling: float
    ) -> Tensor:
        """Shapes: x [n, in], weight [out, in], a [r, in], b [out, r]; returns [n, out]."""
        inner = x @ a.T  # [n, r]
        ctx.save_for_backward(x, weight, a, b, inner)
        ctx.scaling = scaling
        return F.linear(x, weight, bias).addmm_(inner, b.T, alpha=scaling)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of x, A and B from that of the output, dy [n, out]."""
        x, weight, a, b, inner = ctx.saved_tensors
        d_inner = (dy @ b) * ctx.scaling  # [n, r]
        dx = (dy @ weight).addmm_(d_inner, a) if ctx.needs_input_grad[0] else None
        return dx, None, None, d_inner.T @ x, (dy.T @ inner) * ctx.scaling, None
