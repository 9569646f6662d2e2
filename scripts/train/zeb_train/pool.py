"""A pool: the texts that a task's students learn from, with their teachers' mean answer to each.

Made once, read by every student of the task: dense and sparse twins see the same texts and the same goals, and
no teacher runs beside them.  One safetensors file: ids, types, length, label (NaN where there is none), goal.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save

from . import augment, corpus, dataset, intermediate, loop, metrics, store, tokens
from .batches import Batch, Store
from .bert import Bert
from .dataset import TaskData
from .tasks import Task


def load_teachers(folders: list[Path], task: Task, device: torch.device) -> list[Bert]:
    """Frozen."""
    return [store.load_for(t, task).to(device, loop.frozen_dtype(device)).eval().requires_grad_(False) for t in folders]


@torch.no_grad()
def goals(teachers: list[Bert], b: Batch) -> torch.Tensor:
    """[B, labels]: the mean of the teachers' log-probabilities, or of their values."""
    logits = torch.stack([t(b.ids, b.types, b.live).logits for t in teachers])
    return logits.mean(0) if logits.shape[2] == 1 else logits.log_softmax(2).mean(0)


def _halves(p: tokens.Packed) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each pair `[CLS] a [SEP]` and `b [SEP]`."""
    ends = p.start + p.length
    middle = [int(e - p.types[s:e].sum()) for s, e in zip(p.start, ends)]
    return [(p.ids[s:m], p.ids[m:e]) for s, m, e in zip(p.start, middle, ends)]


def swapped(p: tokens.Packed) -> tokens.Packed:
    """The pairs of `p` in the other order."""
    ids, types = p.ids.copy(), p.types.copy()
    for s, n, (first, b) in zip(p.start, p.length, _halves(p)):
        ids[s + 1:s + n] = np.concatenate([b, first[1:]])
        types[s:s + n] = 0
        types[s + 1 + len(b):s + n] = 1
    return tokens.Packed(ids, types, p.start, p.length, p.label, p.group)


def _changed(rows: Store, how) -> tokens.Packed:
    """What `how` makes of the rows, batch by batch; without labels."""
    ids, types, length, order = [], [], [], np.argsort(rows.packed.length, kind="stable")
    for at in range(0, len(order), 512):
        b = how(rows.batch(order[at:at + 512]))
        live = b.live.cpu()
        ids.append(b.ids.cpu()[live].numpy().astype(np.int32))
        types.append(b.types.cpu()[live].numpy().astype(np.int8))
        length.append(live.sum(1).numpy())
    return tokens.unlabelled(ids, types, np.concatenate(length))


@dataclass
class Recipe:
    """What a pool holds besides the rows of train and their transfer rows."""
    copies: int = 4                # augmented copies of every text
    replace: float = 0.2
    join: float = 0.0              # x the short single texts, joined two by two
    swap: bool = False             # pairs in the other order
    limit: int = 0
    own_copies: int = 0            # more copies of labelled rows
    own_min_length: int = 0        # that have so many tokens
    spoilt: int = 0                # copies of every text with slips of grammar
    mates: int = 0                 # labelled pairs: the first text beside so many near second texts


@torch.no_grad()
def mated(p: tokens.Packed, words: torch.Tensor, count: int, longest: int) -> tokens.Packed:
    """Each first text of `p` beside the `count` second texts of other rows that are nearest to it, by the cosine of mean
    word vectors; without labels, and without pairs of over `longest` tokens."""
    first, second = zip(*_halves(p))
    centred = words - words.mean(0)

    def vectors(texts):
        flat = torch.from_numpy(np.concatenate(texts)).long().to(words.device)
        row = torch.from_numpy(np.repeat(np.arange(len(texts)), [len(t) for t in texts])).to(words.device)
        total = torch.zeros(len(texts), words.shape[1], device=words.device).index_add_(0, row, centred[flat])
        return torch.nn.functional.normalize(total, dim=1)
    a, b, pairs = vectors(first), vectors(second), []
    for part in torch.arange(len(p), device=words.device).split(2048):
        alike = a[part] @ b.T
        alike[torch.arange(len(part)), part] = -2.0                     # its own
        pairs += list(zip(part.tolist(), alike.topk(min(count, len(p) - 1), dim=1).indices.tolist()))
    ids, types = [], []
    for i, j in ((i, j) for i, near in pairs for j in near):
        if len(first[i]) + len(second[j]) <= longest:
            ids.append(np.concatenate([first[i], second[j]]))
            types.append(np.repeat(np.array([0, 1], np.int8), [len(first[i]), len(second[j])]))
    return tokens.unlabelled(ids, types, [len(x) for x in ids])


def _texts(base: tokens.Packed, how: Recipe, device: torch.device, near, kin, words, seed: int) -> tokens.Packed:
    if how.limit:
        base = base.take(np.arange(min(how.limit, len(base))))
    if how.mates:
        own = base.take(np.flatnonzero(~np.isnan(base.label)))
        base = tokens.concat([base, mated(own, words, how.mates, int(base.length.max()))])
    if how.join:
        base = tokens.concat([base, corpus.join(base, np.random.default_rng(seed), how.join)])
    parts = [base]
    if how.swap:
        other = swapped(base)
        parts.append(tokens.Packed(other.ids, other.types, other.start, other.length,
                                   np.full_like(other.label, np.nan), other.group))
    gen = torch.Generator(device).manual_seed(seed)
    rows = Store(base, device)
    parts += [_changed(rows, lambda b: augment.augment(b, near, gen, how.replace)) for _ in range(how.copies)]
    parts += [_changed(rows, lambda b: intermediate.spoil(b, kin, gen)[0]) for _ in range(how.spoilt)]
    own = Store(base.take(np.flatnonzero(~np.isnan(base.label) & (base.length >= how.own_min_length))), device)
    parts += [_changed(own, lambda b: augment.augment(b, near, gen, how.replace)) for _ in range(how.own_copies)]
    return tokens.concat(parts)


def make(out: Path, data: TaskData, teacher_dirs: list[Path], vocab: Path, seed: int, how: Recipe) -> dict:
    """`data.train` (with its transfer rows) and what `how` makes of it, all answered by the teachers."""
    if how.mates and not data.task.is_pair:
        raise loop.TrainError(f"{data.task.name} has no pairs whose texts could have other mates")
    device = data.train.device
    teachers = load_teachers(teacher_dirs, data.task, device)
    words = Path(vocab).read_text(encoding="utf-8").split("\n")[:teachers[0].config.vocab_size]
    vectors = teachers[0].bert.embeddings.word_embeddings.weight.float()
    near = augment.neighbours(vectors, words)
    kin = torch.from_numpy(intermediate.inflections(words, np.random.default_rng(seed))).to(device)
    packed = _texts(data.train.packed, how, device, near, kin, vectors, seed)
    everything = Store(packed, device)
    goal = torch.zeros(len(packed), data.task.num_labels)
    order = np.argsort(packed.length, kind="stable")
    for at in range(0, len(order), 1024):
        at = order[at:at + 1024]
        goal[torch.from_numpy(at)] = goals(teachers, everything.batch(at)).float().cpu()
    if not bool(torch.isfinite(goal).all()):
        raise loop.TrainError(f"{out}: a teacher's answer is not finite")
    write(Path(out) / "pool.safetensors", packed, goal)
    return {"texts": len(packed), "tokens": len(packed.ids), "own": len(data.train),
            "labelled": int((~np.isnan(packed.label)).sum()),
            "teachers": [str(t) for t in teacher_dirs]}


def score(teacher_dirs: list[Path], data: TaskData, split: Store) -> tuple[dict, object]:
    """The teachers' mean answer as a model of its own: its metrics and its guesses."""
    total = 0.0
    for folder in teacher_dirs:
        x = dataset.predict(store.load_for(folder, data.task).to(split.device), split, precise=True)
        total = total + (x if x.shape[1] == 1 else torch.from_numpy(x).log_softmax(1).numpy())
    values = metrics.score(data.task, total / len(teacher_dirs), split.packed.label, split.packed.group)
    return {k: round(v, 6) for k, v in values.items()}, metrics.predictions(total / len(teacher_dirs))


def write(path: Path, packed: tokens.Packed, goal: torch.Tensor) -> None:
    store.write_bytes(path, save({
        "ids": torch.from_numpy(packed.ids.astype(np.int16)), "types": torch.from_numpy(packed.types),
        "length": torch.from_numpy(packed.length.astype(np.int16)),
        "label": torch.from_numpy(packed.label), "goal": goal.to(torch.float16).contiguous()}))


def read(path: Path, device: torch.device, min_length: int = 0) -> Store:
    """The pool as a train set whose batches carry goals."""
    if Path(path).is_dir():
        path = Path(path) / "pool.safetensors"
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such pool")
    raw = load_file(path)
    length = raw["length"].numpy().astype(np.int64)
    packed = tokens.Packed(raw["ids"].numpy().astype(np.int32), raw["types"].numpy(),
                           tokens._starts(length), length, raw["label"].numpy(),
                           np.full(len(length), -1, np.int64))
    goal = raw["goal"].float()
    if min_length:
        rows = np.flatnonzero(length >= min_length)
        packed, goal = packed.take(rows), goal[torch.from_numpy(rows)]
    out = Store(packed, device)
    out.goal = goal.to(device)
    return out
