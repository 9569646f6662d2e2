"""Training steps that ask nothing but the device, recorded as CUDA graphs.

A step of a small model is hundreds of kernels of a few microseconds each: launched one by one they keep a CPU core
busy and the GPU idle.  So a step of each phase and padded length is recorded once, update of the weights and all,
and replayed from then on; what differs from step to step (row numbers, learning rates, a schedule's values, the
generator's seed) lies in tensors that are written before each replay.  Without CUDA the same steps simply run.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

import numpy as np
import torch
from torch import Tensor

from .batches import Rows, Store

_MULTIPLE = 8            # lengths are padded to it, so that few steps have to be recorded
_WARM = 3                # steps of a phase that run before one is recorded


def _one_phase(progress: float) -> tuple[str, list[float]]:
    return "", []


@dataclass
class Steps:
    """loss(rows, step, phase, now) -> scalar; phase(progress) -> its name and the numbers, as many in every phase,
    that the loss finds in the tensor `now`.  `record`: whatever the loss draws, it draws from the device's own
    generator, never by the step's number."""
    data: Store
    loss: Callable[[Rows, int, str, Tensor], Tensor]
    phase: Callable[[float], tuple[str, list[float]]] = _one_phase
    record: bool = False

    def __call__(self, numbers: np.ndarray, step: int, progress: float) -> Tensor:
        phase, values = self.phase(progress)
        return self.loss(self.data.rows(numbers), step, phase, torch.tensor(values, device=self.data.device))


class Recorder:
    """Takes steps on a CUDA device, in a stream that is not the default one."""

    def __init__(self, steps: Steps, size: int, descend: Callable):
        """descend((loss of no arguments, its share)) takes one step; `size` rows are a whole batch."""
        self.steps, self.descend, device = steps, descend, steps.data.device
        self.now = torch.zeros(len(steps.phase(0.0)[1]), device=device)
        self.at = torch.zeros(size, dtype=torch.long, device=device)
        self.recorded: dict[tuple[str, int], tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self.seen: dict[str, int] = {}
        self.memory = torch.cuda.graph_pool_handle()

    def __call__(self, numbers: np.ndarray, step: int, progress: float) -> Tensor:
        """The loss."""
        phase, values = self.steps.phase(progress)
        self.now.copy_(torch.tensor(values), non_blocking=True)
        rows = self.steps.data.rows(numbers)

        def loss() -> Tensor:
            return self.steps.loss(rows, step, phase, self.now)

        rows.longest += -rows.longest % _MULTIPLE
        self.seen[phase] = self.seen.get(phase, 0) + 1
        if len(numbers) != len(self.at) or self.seen[phase] <= _WARM:
            return self.descend((loss, 1.0))
        rows.at = self.at.copy_(rows.at)
        key = phase, rows.longest
        if key not in self.recorded:
            self.recorded[key] = self._record(loss)
        graph, value = self.recorded[key]
        graph.replay()
        return value.clone()

    def _record(self, loss: Callable[[], Tensor]) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        """Recording computes nothing: weights stay as they are."""
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()                 # what runs and what is recorded share no memory
        graph.capture_begin(pool=self.memory, capture_error_mode="thread_local")
        try:
            value = self.descend((loss, 1.0))
        finally:
            graph.capture_end()
        return graph, value
