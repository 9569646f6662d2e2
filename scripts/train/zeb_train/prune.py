"""Dynamic pruning by distillation: the dense student's lesson, plus masks and a cost to come down to.

Three phases of one run: as dense; masks that tighten along a cubic (a ladder of keep ratios, thresholds that
follow such a ladder's budgets, or soft thresholds that are learned); masks hard and frozen.  Values are scaled on
calib when they freeze so that the cost is the one asked for.  Only hard-masked weights are candidates to be kept.

Structure (static.py) comes first where it is asked for: a run of its own, with gates on heads and neurons, leaves a
smaller student in `structure/`, and the phases above go on from that.  Costs stay relative to the whole model.
"""
from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from . import calibrate, distill, loop, metrics, store
from .batches import Rows, plan
from .dataset import TaskData, measure
from .distill import Lesson, Start, TaskLossWeights, finish, prepare
from .policy import THRESHOLDS, LayerPolicy, Policy
from .record import Steps
from .sparsity import Hard, Soft, Tracked
from .static import Structure, StructureSettings, attach, fisher, shrink


@dataclass
class PruneSettings:
    target: float = 0.5            # cost, executed over dense, on calib rows of min_length or more
    mode: str = "relative"         # relative, threshold or ratio; dense: no tokens dropped, structure alone
    learn: bool = False            # relative: soft thresholds learned, as `threshold` always does; else tracked
    heads: bool = False            # head gates as well
    search: bool = False           # search the shape of the ladder, else the same ratio everywhere
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
        self.learned = s.mode == "threshold" or s.mode == "relative" and (s.learn or s.heads)
        self.soft = Soft(config, self.learned, s.heads, relative=s.mode == "relative",
                         start=0.05 if s.mode == "relative" else 0.003)
        self.soft.log_theta.requires_grad_(self.learned)
        self.tracked = Tracked(config)
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
        policy = (self.soft if self.learned else self.tracked).policy(self.name)
        if s.mode == "ratio":
            policy = self.rungs(1.0)
        if s.heads:
            for layer in policy.layers[:-1]:
                layer.gated = True
        return self.fit(policy)

    def rungs(self, power: float) -> Policy:
        """The ladder, each ratio to `power`: 0 keeps all, 1 is the target."""
        s = self.s
        if not hasattr(self, "ratios") and bool(torch.isnan(self.ladder[0])):
            tokens = float(self.data.calib.packed.length.mean())
            student = self.student.eval()
            found = (calibrate.search_ladder(student, self.data.calib, self.name, s.target, 384)
                     if s.search else calibrate.ladder(student, self.name, s.target, tokens))
            student.train()
            self.ladder.copy_(torch.tensor([layer.value for layer in found.layers[:-1]]))
            loop.log(f"{self.name}: ladder {[round(r, 3) for r in self.ladder.tolist()]}")
        if not hasattr(self, "ratios"):
            self.ratios = self.ladder.tolist()     # asked for at every step: not from the device each time
        return Policy(self.name, [LayerPolicy("ratio", r ** power) for r in self.ratios] + [LayerPolicy()])

    def fit(self, policy: Policy) -> Policy:
        policy = calibrate.fit(policy, self.student, self.data.calib, self.s.target, self.s.min_length)
        self.theta.copy_(torch.tensor([layer.value for layer in policy.layers[:-1]]))
        loop.log(f"{self.name}: {self.s.mode} {[round(v, 4) for v in self.theta.tolist()]} cost "
                 f"{calibrate.cost(self.student, policy, self.data.calib, self.s.min_length)}")
        return policy

    def steps(self) -> Steps:
        return Steps(self.data.train, self.loss, self.phase, self.lesson[0].criterion.pooled)

    def phase(self, progress: float) -> tuple[str, list[float]]:
        """dense, soft or hard; a goal of the cost, and each layer's share of rows."""
        s = self.s
        if progress < s.soft_from:
            return "dense", [1.0] * len(self.student.layers)
        if progress >= s.hard_from:
            if not hasattr(self, "hard"):
                self.hard = [Hard(self.student.config, self.frozen() or self.freeze())]
            return "hard", [s.target] * len(self.student.layers)
        done = min(1.0, (progress - s.soft_from) / (s.hard_from - s.soft_from) / 0.8)
        power = 1.0 - (1.0 - done) ** 3
        return "soft", [1.0 - (1.0 - s.target) * power, *(layer.value for layer in self.rungs(power).layers[:-1])]

    def loss(self, rows: Rows, step: int, phase: str, now: torch.Tensor) -> torch.Tensor:
        s, lesson, goal, shares = self.s, self.lesson[0], now[0], now[1:]
        if phase == "dense":
            return lesson.criterion(rows, step)
        if phase == "hard":
            value = lesson.criterion(rows, step, self.hard[0])
            return value + self._cost(goal) if s.heads else value
        if s.mode == "ratio":
            rungs = Policy(self.name, [LayerPolicy("ratio", share) for share in shares] + [LayerPolicy()])
            return lesson.criterion(rows, step, Hard(self.student.config, rungs))
        if not self.learned:
            self.tracked.share = shares
            self.tracked.train(self.student.training)
            return lesson.criterion(rows, step, self.tracked)
        self.soft.train(self.student.training)
        return lesson.criterion(rows, step, self.soft) + self._cost(goal) + self._budget(shares)

    def _budget(self, shares: torch.Tensor) -> torch.Tensor:
        """No layer keeps less than its ladder's rung by more than a tenth: the saving is shared."""
        soft = self.soft
        rows = [soft.n.sum()] + [k.sum() for k in soft.left]
        less = [torch.relu(0.9 * share - after / before) for share, before, after in zip(shares, rows, rows[1:])]
        return self.s.weight * torch.stack(less).sum()

    def _cost(self, goal: torch.Tensor) -> torch.Tensor:
        """Work over its goal, of the batch's rows that are long enough to stand for the task's."""
        stats = self.lesson[0].criterion.stats
        long = (stats["dense"] > 0) if not self.s.min_length else (
            stats["dense"] >= _dense(self.student.config, self.s.min_length))
        ratio = (stats["cost"] * long).sum() / (stats["dense"] * long).sum().clamp_min(1.0)
        return self.s.weight * torch.relu(ratio - goal) * long.any()

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


def search(name: str, start: Path, teachers: list[Path], data: TaskData, vocab: Path, folder: Path,
           settings: loop.Settings, weights: TaskLossWeights, s: StructureSettings, min_length: int,
           how: Start) -> None:
    """Learns in a dense student's lesson which heads and neurons to keep for s.target of the work; leaves the
    smaller student in `folder`."""
    made = settings.made_by()
    lesson = prepare(start, teachers, data, vocab, settings.seed, weights, replace(how, quant=""))
    student, device = lesson.student, data.train.device
    lengths = torch.from_numpy(data.calib.packed.length[calibrate.representative(data.calib, min_length)])
    gates = Structure(student, lengths, s.multiple, fisher(student, data.train)).to(device)
    batches = plan(data.train.packed.length, settings.batch, settings.seed, 0)
    steps = settings.total(len(batches))                     # at half the full rate in the mean
    rate = 2.0 * s.reach / steps / settings.lr
    settings = replace(settings, evals=0, average=0.0, groups={
        "structure.multiplier": 0.1 * rate, "structure": rate, **settings.groups})

    def goal(progress: float) -> tuple[str, list[float]]:
        power = 1.0 - (1.0 - min(1.0, progress / 0.6)) ** 3
        return "search", [1.0 - (1.0 - s.target) * power]

    def loss(rows: Rows, step: int, phase: str, now: torch.Tensor) -> torch.Tensor:
        gates.draw()
        return lesson.criterion(rows, step) + gates.penalty(now[0])

    hooks = attach(student, lambda i: gates.drawn[i])
    spent = loop.Loop(
        name, folder, nn.ModuleDict({**lesson.parts, "structure": gates}), settings, device,
        lambda epoch: plan(data.train.packed.length, settings.batch, settings.seed, epoch),
        Steps(data.train, loss, goal, lesson.criterion.pooled), None).run()
    for hook in hooks:
        hook.remove()
    expected = float(gates.cost().detach())
    heads, neurons = gates.chosen(s.target)
    small = shrink(student, heads, neurons, gates.split(gates.settled()))
    loop.log(f"{name}: expected work {expected:.4f}; heads {small.config.layer_heads} neurons {small.config.layer_ffn}")
    none = Policy(name, [LayerPolicy() for _ in small.layers])
    store.write_json(folder / "result.json", {
        "heads": small.config.layer_heads, "ffn": small.config.layer_ffn,
        "cost": calibrate.cost(small.to(device), none, data.calib, min_length)["ratio"],
        "steps": spent["steps"], "seconds": spent["seconds"],
        "settings": made})
    store.save_model(folder, small, data.task.labels)
    (folder / "training.pt").unlink(missing_ok=True)


def _structured(s: StructureSettings, settings: loop.Settings, how: Start, folder: Path):
    """The settings of the search and of the rest of the run."""
    first, rest = (replace(settings, epochs=settings.epochs * part, steps=round(settings.steps * part),
                           max_minutes=settings.max_minutes * part)
                   for part in (s.share, 1.0 - s.share))
    return first, rest, replace(how, round_words="", ffn=0, keep_heads=0, shape=folder)


def dynamic(name: str, start: Path, teachers: list[Path], data: TaskData, vocab: Path, out: Path,
            settings: loop.Settings, weights: TaskLossWeights, s: PruneSettings, how: Start,
            structure: StructureSettings | None = None) -> dict:
    if s.mode not in (*THRESHOLDS, "ratio", "dense") or not 0.0 < s.target <= 1.0:
        raise loop.TrainError(f"pruning mode {s.mode!r} with target {s.target} is not possible")
    if s.mode == "dense" and structure is None:
        raise loop.TrainError("pruning mode 'dense' drops nothing without a structure")
    shape = {}
    if structure is not None:
        structure.check()
        folder = Path(out) / "structure"
        first, settings, after = _structured(structure, settings, how, folder)
        result = folder / "result.json"
        if (folder / "config.json").is_file():
            loop.agree(result, json.loads(result.read_text()).get("settings", {}), first.made_by())
        else:
            search(f"{name}: structure", start, teachers, data, vocab, folder, first, weights, structure,
                   s.min_length, how)
        how = after
        shape = {"structure": {k: v for k, v in json.loads(result.read_text()).items() if k != "settings"}}
        loop.log(f"{name}: {shape['structure']}")
    if s.mode == "dense":
        return shape | distill.task(name, start, teachers, data, vocab, out, settings, weights, how)
    lesson = prepare(start, teachers, data, vocab, settings.seed, weights, how, gates=s.heads)
    device = data.train.device
    if not s.heads:                              # gates save work of their own
        calibrate.check_target(s.target, lesson.student.to(device), data.calib, s.min_length)
    pruner = Pruner(name, lesson, data, s).to(device)
    module = nn.ModuleDict({**lesson.parts, "pruner": pruner})
    settings.groups = {"pruner.soft": 60.0, "student.zeb": 20.0, **settings.groups}
    result = loop.Loop(
        name, out, module, settings, device,
        lambda epoch: plan(data.train.packed.length, settings.batch, settings.seed, epoch),
        pruner.steps(), pruner.evaluate, keep=lesson.student).run()
    policy = pruner.fit(pruner.frozen() or pruner.freeze())
    result["policy_cost"] = calibrate.cost(lesson.student, policy, data.calib, s.min_length)
    result["calib"] = measure(data.task, lesson.student, data.calib,
                              sparsity=Hard(lesson.student.config, policy))
    finish(lesson, data, out)
    policy.write(out)
    return shape | result
