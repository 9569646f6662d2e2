"""A task ready to train on: train, calib and (only when a score is asked for) dev, on the device."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from . import corpus, metrics, tasks, tokens
from .batches import Store, holdout
from .bert import Bert
from .loop import autocast
from .readers import DataError, Row, read_split


@dataclass
class TaskData:
    task: tasks.Task
    train: Store
    calib: Store
    seen: dict[str, list[str]] = field(default_factory=dict)     # what a student of it has seen then (lineage.py)


def open_task(root: Path, vocab: Path, name: str, device: torch.device, max_length: int = 128,
              calib_fraction: float = 0.05, train_min: int = 0, calib_min: int = 0,
              transfer: int = 0, pooled: bool = False, without: Sequence[str] = (), apart: bool = False) -> TaskData:
    """Rows shorter than train_min do not train, shorter than calib_min choose nothing: a train file of
    phrases (SST-2) can so stand for a task of sentences.  `transfer` rows of other train files join
    train without a label, for a teacher to be asked about.  `pooled`: train comes from a pool, so only calib
    is encoded (and stands in for it).  `without`: train leaves out rows with a text that these tasks hold out.  `apart`: and
    rows that hold a calib text or stand in one, which the hash of a row knows nothing of."""
    task = tasks.get(name)
    rows = read_split(root, task, "train")
    held = holdout(rows, calib_fraction)
    if pooled:
        rows = [r for r, h in zip(rows, held) if h]
        packed = tokens.encode(tokens.load(vocab), rows, max_length)
        calib = Store(packed.take(np.flatnonzero(packed.length >= calib_min)), device)
        return TaskData(task, calib, calib)
    packed = tokens.encode(tokens.load(vocab), rows, max_length)
    away = corpus.held_out(root, without, calib_fraction)
    free = np.array([corpus.is_free(r, away) for r in rows])
    train = np.flatnonzero(~held & free & (packed.length >= train_min))
    calib = np.flatnonzero(held & (packed.length >= calib_min))
    kin = [rows[i] for i in calib] if apart else []
    train = train[~corpus.overlap([rows[i] for i in train], kin)] if apart else train
    if not len(train) or not len(calib):
        raise DataError(f"{name}: no train or no calib row is long enough")
    own = packed.take(train)
    if transfer:
        own = tokens.concat([own, _transfer(root, vocab, task, transfer, max_length, calib_fraction, kin)])
    return TaskData(task, Store(own, device), Store(packed.take(calib), device), {name: sorted(without)})


def _transfer(root: Path, vocab: Path, task: tasks.Task, count: int, max_length: int,
              calib_fraction: float, kin: list[Row]) -> tokens.Packed:
    """`count` rows of the plain-text corpus (train files only) of the task's kind, pairs or singles,
    without those that the task holds out as calib or that overlap with a row of `kin`."""
    rows = [r for r in corpus.distinct(root) if (r.b is not None) == task.is_pair]
    rows = [r for r, held in zip(rows, holdout(rows, calib_fraction)) if not held]
    if kin:
        rows = [r for r, near in zip(rows, corpus.overlap(rows, kin)) if not near]
    order = np.random.default_rng(20).permutation(len(rows))[:count]
    return tokens.encode(tokens.load(vocab), [rows[i] for i in np.sort(order)], max_length)


def open_split(root: Path, vocab: Path, name: str, split: str, device: torch.device,
               max_length: int = 128) -> Store:
    rows = read_split(root, tasks.get(name), split)
    return Store(tokens.encode(tokens.load(vocab), rows, max_length), device)


@torch.no_grad()
def predict(model: Bert, data: Store, batch: int = 256, sparsity=None,
            precise: bool = False) -> np.ndarray:
    """Scores [N, labels] in row order; `precise` computes in fp32 even on CUDA."""
    out = torch.zeros(len(data), model.config.num_labels, device=data.device)
    order = np.argsort(data.packed.length, kind="stable")
    was = model.training
    model.eval()
    with torch.autocast("cpu", enabled=False) if precise else autocast(data.device):
        for at in range(0, len(order), batch):
            b = data.batch(order[at:at + batch])
            out[b.rows] = model(b.ids, b.types, b.live, sparsity=sparsity).logits.float()
    model.train(was)
    return out.cpu().numpy()


def measure(task: tasks.Task, model: Bert, data: Store, **kw) -> dict[str, float]:
    scores = predict(model, data, **kw)
    return metrics.score(task, scores, data.packed.label, data.packed.group)
