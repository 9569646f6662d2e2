"""Losses: task, logits distillation, hidden states, attention relations."""
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def task_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Cross entropy, or squared error for one output; rows without a label (NaN) do not count."""
    known = ~torch.isnan(label)
    gold = torch.where(known, label, 0.0)
    each = (F.mse_loss(logits[:, 0], gold, reduction="none") if logits.shape[1] == 1
            else F.cross_entropy(logits, gold.long(), reduction="none"))
    return (each * known).sum() / known.sum().clamp_min(1)


def agreement(one: Tensor, two: Tensor) -> Tensor:
    """R-Drop (arXiv 2106.14448): symmetric KL of two passes that differ in their dropout alone; squared
    error for regressions."""
    if one.shape[1] == 1:
        return F.mse_loss(one, two)
    p, q = F.log_softmax(one, 1), F.log_softmax(two, 1)
    return ((p.exp() - q.exp()) * (p - q)).sum(1).mean() / 2


def logits_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher || student) at temperature T; squared error for regressions."""
    if student.shape[1] == 1:
        return F.mse_loss(student, teacher)
    t = temperature
    return t * t * F.kl_div(F.log_softmax(student / t, 1), F.log_softmax(teacher / t, 1),
                            reduction="batchmean", log_target=True)


class HiddenLoss(nn.Module):
    """Mean squared error between projected student states and teacher states.

    Teacher dimensions are standardised by running moments first: BERT states have a few dimensions of
    huge variance that would otherwise be all that is learned.
    """

    def __init__(self, student: int, teacher: int, pairs: list[tuple[int, int]],
                 same: bool = False):
        """`same`: both live in one space (a student that started as its teacher): nothing to project."""
        super().__init__()
        self.pairs, self.same = pairs, same
        self.map = nn.ModuleList() if same else nn.ModuleList(
            nn.Linear(student, teacher) for _ in pairs)
        self.register_buffer("mean", torch.zeros(len(pairs), teacher))
        self.register_buffer("square", torch.ones(len(pairs), teacher))
        self.register_buffer("seen", torch.zeros(()))

    @torch.no_grad()
    def _observe(self, i: int, states: Tensor, live: Tensor) -> Tensor:
        x = states.float()
        weight = live[:, :, None] / live.sum()
        if self.training:
            rate = 1.0 / (1.0 + self.seen.clamp(max=500.0))
            self.mean[i].lerp_((x * weight).sum((0, 1)), rate)
            self.square[i].lerp_((x * x * weight).sum((0, 1)), rate)
        return self._standard(i, x)

    def _standard(self, i: int, x: Tensor) -> Tensor:
        deviation = (self.square[i] - self.mean[i] ** 2).clamp_min(1e-6).sqrt()
        return (x - self.mean[i]) / deviation

    def forward(self, student: list[Tensor], teacher: list[Tensor], live: Tensor,
                weights: list[Tensor] | None = None) -> Tensor:
        """`weights`: rows of each student state that count (a pruned row is nobody's concern)."""
        total = torch.zeros((), device=live.device)
        for i, (s, t) in enumerate(self.pairs):
            rows = min(student[s].shape[1], teacher[t].shape[1])
            goal = self._observe(i, teacher[t][:, :rows], live[:, :rows].float())
            at = (live if weights is None else weights[s])[:, :rows].float()
            got = student[s][:, :rows]
            got = self._standard(i, got.float()) if self.same else self.map[i](got).float()
            error = (got - goal).square().mean(-1)
            total = total + (error * at).sum() / at.sum()
        if self.training:
            self.seen += 1
        return total / len(self.pairs)


def relation_loss(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], live: Tensor,
                  heads: int = 8) -> Tensor:
    """MiniLMv2's self-relations (arXiv 2012.15828): KL of softmax(A A^T / sqrt d) for A in Q, K, V,
    both models' last layers regrouped to the same number of relation heads."""
    total = torch.zeros((), device=live.device)
    count = live.sum() * heads
    for s, t in zip(student, teacher):
        p, q = (_relation(x, live, heads) for x in (t.detach(), s))
        each = (p.exp() * (p - q)).masked_fill(~live[:, None, None, :], 0.0).sum(-1)
        total = total + (each * live[:, None, :]).sum() / count
    return total / 3


def _relation(x: Tensor, live: Tensor, heads: int) -> Tensor:
    x = x.transpose(1, 2).flatten(2)
    x = x.view(*x.shape[:2], heads, -1).transpose(1, 2)
    score = (x @ x.transpose(2, 3)).float() / x.shape[-1] ** 0.5
    return F.log_softmax(score.masked_fill(~live[:, None, None, :], -1e9), dim=-1)
