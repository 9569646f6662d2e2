"""GPTQ (arXiv 2210.17323) for the INT4 format: columns are rounded in order, and what each rounding spoils
on calibration inputs is made up for in the columns still to come."""
from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .batches import Store
from .bert import Bert
from .quantise import int4_round, int4_scale, matrices


@torch.no_grad()
def moments(model: Bert, data: Store, rows: int = 512) -> dict[str, Tensor]:
    """X^T X of every matrix's inputs.  Batches hold rows of one length, so no padding enters."""
    sums: dict[str, Tensor] = {}
    hooks = []
    for name, module in matrices(model):
        def hook(_, inputs, name=name):
            x = inputs[0].detach().float().flatten(0, -2)
            sums[name] = sums.get(name, 0.0) + x.T @ x
        hooks.append(module.register_forward_pre_hook(hook))
    chosen = np.linspace(0, len(data) - 1, min(rows, len(data))).astype(int)
    for n in np.unique(data.packed.length[chosen]):
        b = data.batch(chosen[data.packed.length[chosen] == n])
        model(b.ids, b.types, b.live, full_last=True)
    for h in hooks:
        h.remove()
    return sums


@torch.no_grad()
def round_matrix(w: Tensor, h: Tensor, group: int, damp: float = 0.01) -> tuple[Tensor, Tensor]:
    """q (int8) [N,K] and scale (fp16) [N,K/group] for inputs with second moments h [K,K]."""
    w, h = w.detach().clone().double(), h.double().clone()
    dead = torch.diagonal(h) == 0
    h[dead, dead] = 1.0
    h += damp * torch.diagonal(h).mean() * torch.eye(len(h), dtype=h.dtype, device=h.device)
    inverse = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)
    q = torch.zeros(w.shape, dtype=torch.int8, device=w.device)
    scales = []
    for g in range(0, w.shape[1], group):
        scale = int4_scale(w[:, g:g + group].float())
        scales.append(scale)
        for k in range(g, g + group):
            q[:, k] = int4_round(w[:, k:k + 1].float(), scale)[:, 0]
            error = (w[:, k] - q[:, k] * scale.double()) / inverse[k, k]
            w[:, k + 1:] -= error[:, None] * inverse[k, k + 1:][None, :]
    return q, torch.stack(scales, 1)


@torch.no_grad()
def apply(model: Bert, data: Store, group: int,
          names: set[str] | None = None) -> dict[str, tuple[Tensor, Tensor]]:
    """GPTQ on the named matrices (all by default): the model's weights become the rounded values; returns
    (q, scale) of each, which is what must be stored (a group may not reach 7 after compensation)."""
    sums, stored = moments(model, data), {}
    for name, module in matrices(model):
        if names is None or name in names:
            q, scale = round_matrix(module.weight, sums[name], group)
            stored[name] = q.cpu(), scale.cpu()
            values = q.view(len(q), -1, group).float() * scale.float()[..., None]
            module.weight.copy_(values.view(q.shape))
    return stored
