"""Work on a GPU as CUDA graphs: captured at its first time, and launched at once from then on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class Graphs:
    """A graph for each piece of work; on another device the work is done one operation at a time.

    Args:
        device: of the work.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._graphs: dict[tuple[int, ...], torch.cuda.CUDAGraph] = {}
        self._pool: Any = None  # of memory, which all graphs share

    def compute(self, shape: tuple[int, ...], work: Callable[[], None]) -> None:
        """Do work that reads and writes at fixed addresses.

        Args:
            shape: what tells this work from other work.
            work: done twice, it writes the same values to the same places.
        """
        if self._device.type != "cuda":
            work()
            return
        if shape not in self._graphs:
            self._graphs[shape] = self._capture(work)
        self._graphs[shape].replay()

    def forget(self) -> None:
        """Drop all graphs, since addresses or sizes change."""
        self._graphs.clear()
        self._pool = None  # its memory goes with the last graph

    def _capture(self, work: Callable[[], None]) -> torch.cuda.CUDAGraph:
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            work()  # sets up the libraries, which a capture must not
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # Other threads may use the GPU meanwhile, for BERTScore for example.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            work()
        return graph
