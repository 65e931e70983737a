"""The fused LoRA layer computes what PEFT's own computes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from training.lora_linear import fuse_lora


@pytest.fixture
def model() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        vocab_size=50,
        attention_bias=True,
    )
    lora = LoraConfig(r=4, lora_alpha=16, target_modules=["q_proj", "up_proj"], init_lora_weights=False)
    return get_peft_model(LlamaForCausalLM(config), lora)


def loss_and_gradients(model: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
    ids = torch.arange(3 * 11).reshape(3, 11) % 50
    model.zero_grad()
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    return loss.detach(), [weight.grad.clone() for weight in model.parameters() if weight.requires_grad]


def test_loss_and_gradients_are_those_of_peft(model: Any) -> None:
    loss, gradients = loss_and_gradients(model)
    fuse_lora(model)
    fused_loss, fused_gradients = loss_and_gradients(model)
    torch.testing.assert_close(fused_loss, loss)
    for fused, gradient in zip(fused_gradients, gradients, strict=True):
        torch.testing.assert_close(fused, gradient)
    assert sum(gradient.abs().sum() for gradient in gradients) > 0
