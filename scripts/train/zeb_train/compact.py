"""The same forward pass with rows physically removed: one sequence, no padding, no masks.

Slow and obvious; tests compare it with the masked pass, and it is what the harness computes.
"""
from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .bert import Bert
from .policy import Policy
from .sparsity import best_heads, close_blocks, exit_logits, gate_evidence, given, importance, select


@torch.no_grad()
def forward(model: Bert, policy: Policy, ids: Tensor, types: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits [labels] of ids [T], and the original positions that left each layer."""
    x = model.bert.embeddings(ids[None], types[None])
    place, left, worth = torch.arange(len(ids)), [], 0.0
    ranked = any(layer.heads_kept for layer in policy.layers)
    last = len(model.layers) - 1
    for i, (layer, how) in enumerate(zip(model.layers, policy.layers)):
        rows = torch.tensor([0]) if i == last else torch.arange(x.shape[1])
        all_live = torch.ones(1, x.shape[1])
        gate = (gate_evidence(model, i, x, all_live) > 0).float() if how.gated else None
        if how.heads_kept:
            gate = best_heads(worth, how.heads_kept)
        q, k, v = layer.project(x, x[:, rows])
        p = torch.softmax((q @ k.transpose(2, 3)) / math.sqrt(layer.d), dim=-1)
        if how.mode is not None and i < last:
            s = importance(p, all_live, gate)
            rows = torch.nonzero(select(s, all_live > 0, how, policy.floor, policy.keep_last)[0])[:, 0]
            p = p[:, :, rows]
        p = p.masked_fill(p < how.score_threshold, 0.0)
        context = p @ v
        if gate is not None:
            context = context * gate[:, :, None, None]
        if ranked:
            worth = worth + given(context, torch.ones(1, context.shape[2]))
        y = layer.attention.output(context.transpose(1, 2).flatten(2), x[:, rows])
        x = layer.output(close_blocks(F.gelu(layer.intermediate.dense(y)), how), y)
        place = place[rows]
        left.append(place)
        if how.confidence:
            logits, sure = exit_logits(policy, i, x[:, 0])
            if sure[0]:
                return logits[0], left
    return model.head(x[:, 0])[0], left
