"""Multiply-add work (2 FLOPs each) of a forward pass, as executed: the cost that pruning is held to.

Counts matrix products only; biases, norms, softmax, pooler and classifier are left out on both sides of a
ratio.  The last layer computes keys and values of all live rows and the rest of [CLS] alone, in dense
models too.
"""
from __future__ import annotations

from .bert import Config


def units(c: Config, n_in, n_out, last: bool):
    """Work of one head and of one FFN neuron of a layer that n_in rows enter and n_out leave (numbers or tensors)."""
    queries = (n_in > 0) * 1.0 if last else n_in         # nobody is left of a sequence that has exited
    rows = (n_in > 0) * 1.0 if last else n_out
    project = 2.0 * c.hidden_size * (queries + 2.0 * n_in + rows)
    return (project + 2.0 * n_in * (queries + rows)) * c.dim_head, 4.0 * c.hidden_size * rows


def layer(c: Config, i: int, n_in, n_out, heads_on=1.0):
    """Work of layer i as it is; `heads_on` is the share of its heads that are computed."""
    head, neuron = units(c, n_in, n_out, i == c.num_hidden_layers - 1)
    return head * (c.heads(i) * heads_on) + neuron * c.ffn(i)


def dense(c: Config, n):
    """Work of the whole model: every row, every head and neuron that it had before any was removed."""
    total = 0.0
    for i in range(c.num_hidden_layers):
        head, neuron = units(c, n, n, i == c.num_hidden_layers - 1)
        total = total + head * c.num_attention_heads + neuron * c.intermediate_size
    return total


def ladder(c: Config, target: float, n: float = 32.0) -> float:
    """The per-layer keep ratio r (every layer but the last) for a cost of `target` x dense."""
    low, high = 0.0, 1.0
    last = c.num_hidden_layers - 1
    for _ in range(50):
        r = (low + high) / 2
        live, total = n, 0.0
        for i in range(c.num_hidden_layers):
            kept = live if i == last else live * r
            total += layer(c, i, live, kept)
            live = kept
        low, high = (r, high) if total < target * dense(c, n) else (low, r)
    return low
