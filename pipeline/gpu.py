"""Whether there is a GPU, also on a Hugging Face ZeroGPU Space, where only some calls have one."""

from __future__ import annotations

from pipeline.settings import on_zero_gpu


def has_gpu() -> bool:
    """Whether this process may use a GPU at any time. On ZeroGPU ``torch`` claims that it may."""
    import torch  # takes seconds

    return torch.cuda.is_available() and not on_zero_gpu()
