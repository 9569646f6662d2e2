"""Plain fine-tuning of a checkpoint on a task: how the teachers are made."""
from __future__ import annotations

from pathlib import Path

import torch

from . import loop, metrics, record, store
from .batches import plan
from .dataset import TaskData, measure
from .losses import agreement, task_loss


def finetune(name: str, start: Path, data: TaskData, out: Path, settings: loop.Settings,
             freeze_words: bool = False, agree: float = 0.0) -> dict:
    """`agree` > 0: every row is seen twice a step, and the two answers have to agree (R-Drop)."""
    device = data.train.device
    torch.manual_seed(settings.seed)
    model = store.start(start, data.task).to(device)
    model.bert.embeddings.word_embeddings.weight.requires_grad_(not freeze_words)

    def loss(rows, step, phase, now):
        b = data.train.batch(rows.twice() if agree else rows)
        logits = model(b.ids, b.types, b.live).logits
        value = task_loss(logits, b.label)
        return value + agree * agreement(*logits.chunk(2)) if agree else value

    result = loop.Loop(
        name, out, model, settings, device,
        lambda epoch: plan(data.train.packed.length, settings.batch, settings.seed, epoch),
        record.Steps(data.train, loss, record=True), lambda: metrics.headline(data.task, measure(data.task, model, data.calib))).run()
    result["calib"] = measure(data.task, model, data.calib)
    store.save_model(out, model, data.task.labels)
    return result
