"""The GPUs of this machine as their driver (NVML) knows them, without loading torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pynvml

from pipeline.settings import Settings

_GB = 2**30


def visible_gpus(settings: Settings) -> list[str]:
    """Indices of the GPUs that jobs may use; empty without a driver."""
    if settings.gpus is not None:
        return list(settings.gpus)
    with _driver() as count:
        return [str(index) for index in range(count)]


def gpu_memory_in_use() -> list[str]:
    """For each GPU with more than 1 GB in use, a few words: ``GPU 0: 31 of 80 GB in use``."""
    with _driver() as count:
        memories = [
            pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(index)) for index in range(count)
        ]
    return [
        f"GPU {index}: {memory.used / _GB:.0f} of {memory.total / _GB:.0f} GB in use"
        for index, memory in enumerate(memories)
        if memory.used > _GB
    ]


@contextmanager
def _driver() -> Iterator[int]:
    """Talk to the driver; gives the number of GPUs, 0 if there is no driver or it does not answer."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield 0
        return
    try:
        yield pynvml.nvmlDeviceGetCount()
    finally:
        pynvml.nvmlShutdown()
