"""Dynamic pruning by distillation: the dense student's lesson, plus masks and a cost to come down to.

Three phases of one run: as dense; masks (thresholds soft and learned, or a keep ratio that shrinks step by
step); masks hard and frozen.  Thresholds are rescaled on calib at each freeze so that the cost is the one
asked for.  Only hard-masked weights are candidates to be kept.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from . import calibrate, loop, metrics
from .batches import plan
from .dataset import TaskData, measure
from .distill import Lesson, TaskLossWeights, finish, prepare
from .policy import THRESHOLDS, LayerPolicy, Policy
from .sparsity import Hard, Soft


@dataclass
class PruneSettings:
    target: float = 0.5            # cost, executed over dense, on calib rows of min_length or more
    mode: str = "threshold"        # threshold, relative or ratio
    heads: bool = False            # head gates as well
    search: bool = False           # ratio: search the shape of the ladder, else the same ratio everywhere
    min_length: int = 0
    soft_from: float = 0.1         # progress at which masks begin
    hard_from: float = 0.5         # and at which they freeze
    weight: float = 8.0            # of the cost over its target


class Pruner(nn.Module):
    """The masks of a run and when they change; its state is saved and resumed with the student's."""

    def __init__(self, name: str, lesson: Lesson, data: TaskData, s: PruneSettings):
        super().__init__()
        config = lesson.student.config
        self.name, self.s, self.data = name, s, data
        self.lesson = [lesson]                     # a list keeps it out of this module's parameters
        self.soft = Soft(config, s.mode in THRESHOLDS, s.heads, relative=s.mode == "relative",
                         start=0.05 if s.mode == "relative" else 0.003)
        if s.mode not in THRESHOLDS:
            self.soft.log_theta.requires_grad_(False)
        none = torch.full((config.num_hidden_layers - 1,), torch.nan)
        self.register_buffer("theta", none)                # of the frozen policy
        self.register_buffer("ladder", none.clone())

    @property
    def student(self):
        return self.lesson[0].student

    def frozen(self) -> Policy | None:
        """The hard policy, once there is one."""
        if bool(torch.isnan(self.theta[0])):
            return None
        mode = self.s.mode
        values = self.theta.tolist()
        return Policy(self.name, [LayerPolicy(mode, v, 0.0, self.s.heads) for v in values]
                      + [LayerPolicy()])

    def freeze(self) -> Policy:
        s = self.s
        policy = self.soft.policy(self.name) if s.mode in THRESHOLDS else self.rungs(1.0)
        if s.heads:
            for layer in policy.layers[:-1]:
                layer.gated = True
        return self.fit(policy)

    def rungs(self, power: float) -> Policy:
        """The ladder, each ratio to `power`: 0 keeps all, 1 is the target."""
        s = self.s
        if bool(torch.isnan(self.ladder[0])):
            tokens = float(self.data.calib.packed.length.mean())
            student = self.student.eval()
            found = (calibrate.search_ladder(student, self.data.calib, self.name, s.target, 384)
                     if s.search else calibrate.ladder(student, self.name, s.target, tokens))
            student.train()
            self.ladder.copy_(torch.tensor([layer.value for layer in found.layers[:-1]]))
        return Policy(self.name, [LayerPolicy("ratio", r ** power) for r in self.ladder.tolist()]
                      + [LayerPolicy()])

    def fit(self, policy: Policy) -> Policy:
        if self.s.mode in THRESHOLDS:
            policy = calibrate.fit_thresholds(policy, self.student, self.data.calib, self.s.target,
                                              self.s.min_length)
        self.theta.copy_(torch.tensor([layer.value for layer in policy.layers[:-1]]))
        loop.log(f"{self.name}: {self.s.mode} {[round(v, 4) for v in self.theta.tolist()]} cost "
                 f"{calibrate.cost(self.student, policy, self.data.calib, self.s.min_length)}")
        return policy

    def loss(self, rows: np.ndarray, step: int, progress: float) -> torch.Tensor:
        s, lesson = self.s, self.lesson[0]
        if progress < s.soft_from:
            return lesson.criterion(rows, step)
        done = min(1.0, (progress - s.soft_from) / (s.hard_from - s.soft_from))
        goal = 1.0 - (1.0 - s.target) * min(1.0, done / 0.8)
        if progress >= s.hard_from:
            if not hasattr(self, "hard"):
                self.hard = [Hard(self.student.config, self.frozen() or self.freeze())]
            value = lesson.criterion(rows, step, self.hard[0])
            return value + self._cost(lesson, rows, s.target) if s.heads else value
        if s.mode == "ratio":
            return lesson.criterion(rows, step, Hard(self.student.config,
                                                     self.rungs(min(1.0, done / 0.8))))
        self.soft.train(self.student.training)
        return lesson.criterion(rows, step, self.soft) + self._cost(lesson, rows, goal)

    def _cost(self, lesson: Lesson, rows: np.ndarray, goal: float) -> torch.Tensor:
        """Work over its goal, of the batch's rows that are long enough to stand for the task's."""
        stats = lesson.criterion.stats
        long = (stats["dense"] > 0) if not self.s.min_length else (
            stats["dense"] >= _dense(self.student.config, self.s.min_length))
        ratio = (stats["cost"] * long).sum() / (stats["dense"] * long).sum().clamp_min(1.0)
        return self.s.weight * torch.relu(ratio - goal) * bool(long.any())

    def evaluate(self) -> float | None:
        policy = self.frozen()
        if policy is None:
            return None
        task = self.data.task
        sparsity = Hard(self.student.config, policy)
        return metrics.headline(task, measure(task, self.student, self.data.calib,
                                              sparsity=sparsity))


def _dense(config, n: int) -> float:
    from . import flops
    return flops.dense(config, float(n))


def dynamic(name: str, start: Path, teachers: list[Path], data: TaskData, vocab: Path, out: Path,
            settings: loop.Settings, weights: TaskLossWeights, s: PruneSettings,
            freeze_words: bool = False, dropout: float = 0.05, quant: str = "",
            ffn: int = 0) -> dict:
    if s.mode not in (*THRESHOLDS, "ratio") or not 0.0 < s.target <= 1.0:
        raise loop.TrainError(f"pruning mode {s.mode!r} with target {s.target} is not possible")
    lesson = prepare(start, teachers, data, vocab, settings.seed, weights, freeze_words, dropout,
                     gates=s.heads, quant=quant, ffn=ffn)
    device = data.train.device
    pruner = Pruner(name, lesson, data, s).to(device)
    module = nn.ModuleDict({**lesson.parts, "pruner": pruner})
    settings.groups = {"pruner.soft": 60.0, "student.zeb": 20.0, **settings.groups}
    result = loop.Loop(
        name, out, module, settings, device,
        lambda epoch: plan(data.train.packed.length, settings.batch, settings.seed, epoch),
        pruner.loss, pruner.evaluate, keep=lesson.student).run()
    policy = pruner.fit(pruner.frozen() or pruner.freeze())
    result["policy_cost"] = calibrate.cost(lesson.student, policy, data.calib, s.min_length)
    result["calib"] = measure(data.task, lesson.student, data.calib,
                              sparsity=Hard(lesson.student.config, policy))
    finish(lesson, data, out)
    policy.write(out)
    return result
