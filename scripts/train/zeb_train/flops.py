"""Multiply-add work (2 FLOPs each) of a forward pass, as executed: the cost that pruning is held to.

Counts matrix products only; biases, norms, softmax, pooler and classifier are left out on both sides of a
ratio.  The last layer computes keys and values of all live rows and the rest of [CLS] alone, in dense
models too.
"""
from __future__ import annotations

from .bert import Config


def layer(c: Config, n_in, n_out, last: bool, heads_on=1.0):
    """Work of one layer that n_in rows enter and n_out leave (numbers or tensors); `heads_on` is the share
    of heads that are computed."""
    d, f = c.hidden_size, c.intermediate_size
    width = c.num_attention_heads * c.dim_head
    queries = (n_in > 0) * 1.0 if last else n_in         # nobody is left of a sequence that has exited
    rows = (n_in > 0) * 1.0 if last else n_out
    project = 2.0 * d * width * (queries + 2.0 * n_in)
    attend = 2.0 * width * n_in * (queries + rows)
    return (project + attend + 2.0 * d * width * rows) * heads_on + 4.0 * d * f * rows


def dense(c: Config, n):
    last = c.num_hidden_layers - 1
    return sum(layer(c, n, n, i == last) for i in range(c.num_hidden_layers))


def ladder(c: Config, target: float, n: float = 32.0) -> float:
    """The per-layer keep ratio r (every layer but the last) for a cost of `target` x dense."""
    low, high = 0.0, 1.0
    last = c.num_hidden_layers - 1
    for _ in range(50):
        r = (low + high) / 2
        live, total = n, 0.0
        for i in range(c.num_hidden_layers):
            kept = live if i == last else live * r
            total += layer(c, live, kept, i == last)
            live = kept
        low, high = (r, high) if total < target * dense(c, n) else (low, r)
    return low
