"""A student that starts from its teacher: weights carried over through a projection of the hidden space.

P [Dt,Ds] holds the leading principal directions of the teacher's hidden states (all layers weigh the
same).  The residual stream is one space through all layers, so one P serves: what reads it gets W P,
what writes it P^T W.  Heads and FFN neurons are kept by the norm of what they can write.
"""
from __future__ import annotations

import torch
from torch import Tensor

from .batches import Store, plan
from .bert import Bert, Config


@torch.no_grad()
def directions(teacher: Bert, store: Store, width: int, batches: int = 40) -> Tensor:
    size = teacher.config.hidden_size
    total = torch.zeros(size, size, dtype=torch.float64)
    for rows in plan(store.packed.length, 64, seed=0, epoch=0)[:batches]:
        b = store.batch(rows)
        out = teacher(b.ids, b.types, b.live, hidden=True, full_last=True)
        for state in out.hidden:
            x = state[b.live].float()
            second = (x.T @ x).double().cpu()
            total += second / second.trace()
    return torch.linalg.eigh(total)[1].flip(1)[:, :width].float().contiguous()


def _heads(layer, count: int) -> Tensor:
    """Rows (into the concatenated heads) of the `count` heads that can write most, in order."""
    out = layer.attention.output.dense.weight.view(-1, layer.heads, layer.d)
    value = layer.attention.self.value.weight.view(layer.heads, layer.d, -1)
    power = torch.einsum("ohd,hdi->hoi", out, value).flatten(1).norm(dim=1)
    chosen = power.topk(count).indices.sort().values
    return (chosen[:, None] * layer.d + torch.arange(layer.d)).flatten()


@torch.no_grad()
def student(teacher: Bert, config: Config, p: Tensor, layers: list[int]) -> Bert:
    """A model of `config` whose layer i starts as teacher layer layers[i] (0-based), projected."""
    teacher = teacher.cpu()
    p = p.cpu()
    out = Bert(config)
    s, t = out.bert.embeddings, teacher.bert.embeddings
    for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
        getattr(s, name).weight.copy_(getattr(t, name).weight @ p)
    _norm(s.LayerNorm, t.LayerNorm, p)
    for mine, number in zip(out.layers, layers):
        theirs = teacher.layers[number]
        width = mine.heads * mine.d
        rows = _heads(theirs, width // theirs.d)
        for name in ("query", "key", "value"):
            a, b = getattr(mine.attention.self, name), getattr(theirs.attention.self, name)
            a.weight.copy_(b.weight[rows] @ p)
            a.bias.copy_(b.bias[rows])
        _writer(mine.attention.output, theirs.attention.output, rows, p)
        up, down = theirs.intermediate.dense, theirs.output.dense
        power = up.weight.norm(dim=1) * down.weight.norm(dim=0)
        neurons = power.topk(config.intermediate_size).indices.sort().values
        mine.intermediate.dense.weight.copy_(up.weight[neurons] @ p)
        mine.intermediate.dense.bias.copy_(up.bias[neurons])
        _writer(mine.output, theirs.output, neurons, p)
    out.bert.pooler.dense.weight.copy_(p.T @ teacher.bert.pooler.dense.weight @ p)
    out.bert.pooler.dense.bias.copy_(p.T @ teacher.bert.pooler.dense.bias)
    return out


def _norm(mine, theirs, p: Tensor) -> None:
    mine.weight.copy_((p * p).T @ theirs.weight)
    mine.bias.copy_(p.T @ theirs.bias)


def _writer(mine, theirs, columns: Tensor, p: Tensor) -> None:
    mine.dense.weight.copy_(p.T @ theirs.dense.weight[:, columns])
    mine.dense.bias.copy_(p.T @ theirs.dense.bias)
    _norm(mine.LayerNorm, theirs.LayerNorm, p)
