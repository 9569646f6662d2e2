"""Distillation: task-agnostic (a student learns its teacher's states on plain text), then on a task.

The task step asks the teacher about every train row and about augmented copies of it, so the student
fits the teacher's function, not only 67,349 labels.  Dense and sparse students go through the same
`TaskLoss`; a sparse one only adds its masks and its sparsity loss (prune.py).
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from . import augment, corpus, loop, metrics, pool, project, quantise, record, static, store
from .batches import Batch, Rows, Store, plan
from .bert import Bert, Config
from .dataset import TaskData, measure
from .losses import HiddenLoss, logits_loss, relation_loss, task_loss


def spread(student: int, teacher: int) -> list[int]:
    """Which teacher layer (0-based) each student layer follows; first and last are always used."""
    if student == 1:
        return [teacher - 1]
    return [round(i * (teacher - 1) / (student - 1)) for i in range(student)]


def _generator(device: torch.device, seed: int, step: int) -> torch.Generator:
    return torch.Generator(device).manual_seed(seed * 7_368_787 + step)


def general(name: str, teacher_dir: Path, config: Config, data: Path, vocab: Path, out: Path,
            settings: loop.Settings, device: torch.device, relation: float = 1.0,
            limit: int = 0) -> dict:
    """Task-agnostic: hidden states of matched layers, relations of the last, and the answers of the
    heads where the teacher has learned some; on plain text, and on the pairs kept beside the teacher."""
    torch.manual_seed(settings.seed)
    teacher = store.load_model(teacher_dir).to(device).eval().requires_grad_(False)
    text = corpus.packed(data, vocab)
    from .tokens import concat
    text = concat([text, corpus.join(text, np.random.default_rng(settings.seed))])
    if (Path(teacher_dir) / "pairs.npz").is_file():
        text = concat([text, store.load_packed(Path(teacher_dir) / "pairs.npz")[0]])
    if limit:
        text = text.take(np.arange(0, len(text), max(1, len(text) // limit)))
    rows = Store(text, device)
    loop.log(f"{name}: {len(text)} texts, {len(text.ids)} tokens")
    layers = spread(config.num_hidden_layers, teacher.config.num_hidden_layers)
    p = project.directions(teacher, rows, config.hidden_size)
    student = project.student(teacher, config, p, layers)
    teacher.to(device)
    pairs = [(0, 0)] + [(i + 1, t + 1) for i, t in enumerate(layers)]
    hidden = HiddenLoss(config.hidden_size, teacher.config.hidden_size, pairs)
    with torch.no_grad():
        for linear in hidden.map:
            linear.weight.copy_(p.cpu())
    near = augment.neighbours(teacher.bert.embeddings.word_embeddings.weight.float(),
                              Path(vocab).read_text(encoding="utf-8").split("\n")[:config.vocab_size])
    module = nn.ModuleDict({"student": student, "hidden": hidden})
    heads = store.load_heads(teacher_dir)
    if heads is not None:
        heads.to(device).requires_grad_(False)
        module["heads"] = nn.ModuleDict({k: nn.Linear(config.hidden_size, h.out_features)
                                         for k, h in heads.items()})
    module.to(device)

    def loss(at, step, progress):
        b = rows.batch(at)
        b = augment.augment(b, near, _generator(device, settings.seed, step), 0.1, 0.02, 0.03)
        with torch.no_grad():
            goal = teacher(b.ids, b.types, b.live, hidden=True, full_last=True)
        got = student(b.ids, b.types, b.live, hidden=True, full_last=True)
        value = hidden(got.hidden, goal.hidden, b.live)
        if relation:
            value = value + relation * relation_loss(got.qkv, goal.qkv, b.live)
        if heads is not None:
            value = value + _heads_loss(*(torch.cat(
                [h(m.pool(x.hidden[-1][:, 0])).float() for h in own.values()], 1)
                for m, x, own in ((student, got, module["heads"]), (teacher, goal, heads))))
        return value

    result = loop.Loop(
        name, out, module, settings, device,
        lambda epoch: plan(text.length, settings.batch, settings.seed, epoch,
                           tokens=settings.tokens), loss, None).run()
    if heads is not None:
        store.save_heads(out, module["heads"])
    store.save_model(out, student)
    store.save_training(Path(out) / "hidden.pt", {
        "pairs": [list(x) for x in pairs], "state": {k: v.cpu() for k, v in
                                                     hidden.state_dict().items()}})
    return result


def _heads_loss(got: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
    """Squared error of every head's every output, in deviations of the teacher's over the batch."""
    return ((got - goal).square().mean(0) / goal.var(0, correction=0).clamp_min(0.01)).mean()


@dataclass
class TaskLossWeights:
    label: float = 0.2
    logits: float = 1.0
    hidden: float = 0.5
    temperature: float = 2.0
    augmented: int = 1             # augmented copies of each row of a batch
    replace: float = 0.2


class TaskLoss:
    """The loss of a student on a task's rows and on augmented copies of them.  The goal is the teachers' mean, or
    what a pool stores of it; hidden states follow `guide`: the first teacher, or what the student started as."""

    def __init__(self, student: Bert, teachers: list[Bert], data: TaskData, near: torch.Tensor | None,
                 weights: TaskLossWeights, seed: int, hidden: HiddenLoss | None, guide: Bert | None = None):
        self.student, self.teachers, self.data, self.near = student, teachers, data, near
        self.w, self.seed, self.hidden = weights, seed, hidden
        self.guide = guide or (teachers[0] if teachers else None)

    @property
    def pooled(self) -> bool:
        """Rows come with goals, as they are: nothing is drawn by the step's number."""
        return self.data.train.goal is not None

    def batch(self, rows: Rows, step: int) -> Batch:
        """The rows, and `augmented` (a whole number) copies of them, each augmented anew; a pool's rows as they
        are."""
        b = self.data.train.batch(rows)
        if self.pooled:
            return b
        gen = _generator(b.ids.device, self.seed, step)
        parts = [b] + [augment.augment(b, self.near, gen, self.w.replace)
                       for _ in range(int(self.w.augmented))]
        return Batch(*(torch.cat([getattr(x, f) for x in parts])
                       for f in ("ids", "types", "live", "label", "rows")))

    def __call__(self, rows: Rows, step: int, sparsity=None) -> torch.Tensor:
        b, w = self.batch(rows, step), self.w
        states = self.hidden is not None and w.hidden > 0
        goal = pool.goals(self.teachers, b) if b.goal is None else b.goal
        got = self.student(b.ids, b.types, b.live, hidden=states,
                           full_last=states and sparsity is None, sparsity=sparsity)
        value = w.logits * logits_loss(got.logits, goal, w.temperature)
        if w.label:
            value = value + w.label * task_loss(got.logits, b.label)
        if states:
            with torch.no_grad():
                wanted = self.guide(b.ids, b.types, b.live, hidden=True, full_last=sparsity is None)
            value = value + w.hidden * self.hidden(
                got.hidden, wanted.hidden, b.live, None if sparsity is None else sparsity.weights)
        self.stats = got.stats
        return value


def load_hidden(path: Path, student: Bert, teacher: Bert) -> HiddenLoss:
    """The projections learned with the task-agnostic student, to go on with."""
    saved = torch.load(path, weights_only=True)
    hidden = HiddenLoss(student.config.hidden_size, teacher.config.hidden_size,
                        [tuple(x) for x in saved["pairs"]])
    hidden.load_state_dict(saved["state"])
    hidden.seen.fill_(100.0)               # the fine-tuned teacher's moments are close, not equal
    return hidden


@dataclass
class Lesson:
    """A student, its teachers and the loss between them: the same for dense and sparse students."""
    student: Bert
    criterion: TaskLoss
    parts: dict[str, nn.Module]


@dataclass
class Start:
    """What is done to a student before its lesson."""
    freeze_words: bool = False
    round_words: str = ""          # word embeddings as that format stores them
    dropout: float = 0.05
    quant: str = ""                # quantisation-aware in that format
    ffn: int = 0                   # > 0: shrunk to so many neurons a layer
    keep_heads: int = 0            # > 0: shrunk to so many heads a layer
    shape: Path | None = None      # what a search for structure made of it: the student, in its stead


def _shrunk(student: Bert, data: TaskData, how: Start) -> Bert:
    heads, neurons = static.fisher(student.to(data.train.device), data.train)
    return static.shrink(student, static.most(heads, how.keep_heads) if how.keep_heads else None,
                         static.most(neurons, how.ffn) if how.ffn else None)


def prepare(start: Path, teacher_dirs: list[Path], data: TaskData, vocab: Path, seed: int,
            weights: TaskLossWeights, how: Start, gates: bool = False) -> Lesson:
    device = data.train.device
    torch.manual_seed(seed)
    teachers = pool.load_teachers(teacher_dirs, data.task, device)
    student = store.start(how.shape or start, data.task, hidden_dropout_prob=how.dropout,
                          attention_probs_dropout_prob=how.dropout)
    if how.ffn or how.keep_heads:
        student = _shrunk(student, data, how)
    if gates:
        student.add_gates()
    if how.quant:                              # rounded forward, straight back
        quantise.wrap(student, quantise.Format.of(how.quant))
    words = student.bert.embeddings.word_embeddings.weight
    if how.round_words:
        words.data.copy_(quantise.Format.of(how.round_words).values(words.data))
    words.requires_grad_(not how.freeze_words)
    pooled, guide = data.train.goal is not None, None
    projections = Path(start) / "hidden.pt"
    hidden = None
    if pooled and weights.hidden > 0:
        # What it started as guides the states between embeddings (which stay) and the last (which the goal moves).
        guide = store.load_model(start).to(device, loop.frozen_dtype(device)).eval().requires_grad_(False)
        width = student.config.hidden_size
        hidden = HiddenLoss(width, width, [(i, i) for i in range(1, len(student.layers))], same=True)
    elif pooled:
        pass
    elif projections.is_file():
        hidden = load_hidden(projections, student, teachers[0])
    elif _shape(student.config) == _shape(teachers[0].config):
        width = student.config.hidden_size
        hidden = HiddenLoss(width, width, [(i, i) for i in range(len(student.layers) + 1)], same=True)
    near = None
    if not pooled:
        words = Path(vocab).read_text(encoding="utf-8").split("\n")[:student.config.vocab_size]
        near = augment.neighbours(teachers[0].bert.embeddings.word_embeddings.weight.to(device), words)
    parts = {"student": student} | ({"hidden": hidden} if hidden is not None else {})
    for part in parts.values():
        part.to(device)
    return Lesson(student, TaskLoss(student, teachers, data, near, weights, seed, hidden, guide), parts)


def _shape(c: Config) -> tuple:
    return c.hidden_size, c.num_hidden_layers, c.num_attention_heads


def finish(lesson: Lesson, data: TaskData, out: Path) -> None:
    """Writes the student, with the dropout that a reader of config.json expects."""
    config = lesson.student.config
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.1
    store.save_model(out, lesson.student, data.task.labels)


def task(name: str, start: Path, teacher_dirs: list[Path], data: TaskData, vocab: Path, out: Path,
         settings: loop.Settings, weights: TaskLossWeights, how: Start) -> dict:
    lesson = prepare(start, teacher_dirs, data, vocab, settings.seed, weights, how)
    student = lesson.student
    result = loop.Loop(
        name, out, nn.ModuleDict(lesson.parts), settings, data.train.device,
        lambda epoch: plan(data.train.packed.length, settings.batch, settings.seed, epoch),
        record.Steps(data.train, lambda rows, step, phase, now: lesson.criterion(rows, step),
                    record=lesson.criterion.pooled),
        lambda: metrics.headline(data.task, measure(data.task, student, data.calib)),
        keep=student).run()
    result["calib"] = measure(data.task, student, data.calib)
    finish(lesson, data, out)
    return result
