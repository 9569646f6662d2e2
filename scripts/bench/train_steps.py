#!/usr/bin/env python3
"""Training steps recorded as CUDA graphs against the same steps run: do they train the same weights, and how fast?

    python3 scripts/bench/train_steps.py [--steps 120] [--hidden 256 --layers 4 --heads 4]

Needs a GPU and PyTorch.  Every kind of step that a recipe takes (dense, search for structure, ladder, thresholds that
follow or learn, gated heads, quantisation-aware) is taken from the same start: twice as it runs, whose difference is
what rounding in another order makes, and once recorded.  Prints the distance of the weights in units of how far they
moved, and steps per second (the median of ten spells, run and recorded alternating).  Exit 1 where recording makes
other weights.
"""
from __future__ import annotations

import argparse
import copy
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "train"))
from zeb_train import loop, prune, quantise, record, static, tasks
from zeb_train.batches import Store, plan
from zeb_train.bert import Bert, Config
from zeb_train.dataset import TaskData
from zeb_train.distill import Lesson, TaskLoss, TaskLossWeights
from zeb_train.losses import HiddenLoss
from zeb_train.tokens import Packed


def pool(rows: int, device: torch.device, seed: int = 1) -> Store:
    """Random texts of 16, 24 or 32 tokens (what recording pads lengths to), with random goals."""
    rng = np.random.default_rng(seed)
    length = rng.choice([16, 24, 32], rows).astype(np.int64)
    start = np.concatenate([[0], np.cumsum(length)[:-1]]).astype(np.int64)
    ids = rng.integers(1000, 30000, int(length.sum())).astype(np.int32)
    out = Store(Packed(ids, np.zeros(len(ids), np.int8), start, length, rng.integers(0, 2, rows).astype(np.float32),
                       np.full(rows, -1)), device)
    out.goal = torch.from_numpy(rng.normal(size=(rows, 2)).astype(np.float32)).log_softmax(1).to(device)
    return out


KINDS = {"dense": None, "search": None, "ladder": {"mode": "ratio"}, "relative": {"mode": "relative"},
         "learned": {"mode": "relative", "learn": True}, "heads": {"mode": "relative", "heads": True},
         "int4": {"mode": "ratio"}}


def trainer(kind: str, base: Bert, data: TaskData, batch: int, steps: int, recorded: bool, folder: str):
    device = data.train.device
    torch.manual_seed(3)
    student, guide = copy.deepcopy(base), copy.deepcopy(base).to(device, torch.bfloat16).eval()
    if kind == "heads":
        student.add_gates()
    if kind == "int4":
        quantise.wrap(student, quantise.Format.of("int4"))
    width, layers = base.config.hidden_size, base.config.num_hidden_layers
    hidden = HiddenLoss(width, width, [(i, i) for i in range(1, layers)], same=True)
    parts = {"student": student.to(device), "hidden": hidden.to(device)}
    lesson = Lesson(student, TaskLoss(student, [], data, None, TaskLossWeights(hidden=0.3), 1, hidden, guide), parts)
    settings = loop.Settings(seed=1, steps=steps, batch=batch, lr=2e-4, evals=0, average=0.99, record=recorded)
    criterion = lesson.criterion
    if kind == "dense":
        todo, own = record.Steps(data.train, lambda r, step, phase, now: criterion(r, step), record=True), {}
    elif kind == "search":
        gates = static.Structure(student, torch.full((64,), 24.0), 32).to(device)
        static.attach(student, lambda i: gates.drawn[i])

        def searching(rows, step, phase, now):
            gates.draw()
            return criterion(rows, step) + gates.penalty(now[0])
        todo, own = record.Steps(data.train, searching, lambda p: ("", [1.0 - 0.5 * p]), True), {"structure": gates}
    else:
        pruner = prune.Pruner(kind, lesson, data, prune.PruneSettings(target=0.5, **KINDS[kind])).to(device)
        todo, own = pruner.steps(), {"pruner": pruner}
    return loop.Loop(kind, Path(folder), nn.ModuleDict({**parts, **own}), settings, device,
                     lambda epoch: plan(data.train.packed.length, batch, 1, epoch), todo, None, keep=student)


def weights(module: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().float().flatten() for p in module.parameters()])


def rate(run: loop.Loop, spells: int, each: int) -> list[float]:
    """Steps per second of further steps at the end of the schedule."""
    batches, out = run.plan(99), []
    batches = [b for b in batches if len(b) == run.s.batch]
    run.module.train()
    with torch.cuda.stream(torch.cuda.Stream()):
        for i in range(40):
            run._update(batches[i % len(batches)], 0.99)
        for _ in range(spells):
            torch.cuda.synchronize()
            began = time.monotonic()
            for i in range(each):
                run._update(batches[i % len(batches)], 0.99)
            torch.cuda.synchronize()
            out.append(each / (time.monotonic() - began))
    return out


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--steps", type=int, default=120)
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--hidden", type=int, default=256)
    p.add_argument("--layers", type=int, default=4)
    p.add_argument("--heads", type=int, default=4)
    p.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    args = p.parse_args()
    if not torch.cuda.is_available():
        print("train_steps: no CUDA device", file=sys.stderr)
        return 2
    device = torch.device("cuda")
    loop.log = lambda text: None
    torch.manual_seed(1)
    base = Bert(Config(hidden_size=args.hidden, num_hidden_layers=args.layers, num_attention_heads=args.heads,
                       intermediate_size=4 * args.hidden, hidden_dropout_prob=0.05, attention_probs_dropout_prob=0.05))
    base.bert.embeddings.word_embeddings.weight.requires_grad_(False)
    data = TaskData(tasks.get("glue/sst2"), pool(8192, device), pool(512, device, 2))
    start, bad = weights(base), 0
    print(f"{torch.cuda.get_device_name()}; batch {args.batch}, {args.steps} steps")
    print(f"{'kind':10} {'again':>8} {'recorded':>9} {'run/s':>8} {'recorded/s':>11} {'ratio':>6}")
    for kind in args.kinds:
        ends, runs = [], []
        for recorded in (False, False, True):
            with tempfile.TemporaryDirectory() as folder:
                run = trainer(kind, base, data, args.batch, args.steps, recorded, folder)
                run.run()
                student = run.keep.state_dict()
                ends.append(torch.cat([student[k].float().flatten().cpu() for k, _ in base.named_parameters()]))
                runs.append(run)
        moved = (ends[0] - start).norm()
        again, other = (float((e - ends[0]).norm() / moved) for e in ends[1:])
        wrong = not other < 2.0 * again + 0.02
        bad += wrong
        speeds: list[list[float]] = [[], []]
        for _ in range(5):
            for i, run in enumerate((runs[0], runs[2])):
                speeds[i] += rate(run, 2, 20)
        plain, fast = map(statistics.median, speeds)
        print(f"{kind:10} {again:8.4f} {other:9.4f} {plain:8.1f} {fast:11.1f} {fast / plain:6.2f}"
              + ("  OTHER WEIGHTS" if wrong else ""), flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
