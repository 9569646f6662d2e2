"""Static structure: FFN neurons and attention heads removed for good, the matrices physically smaller.

Which: the diagonal Fisher information of a mask on each (Kwon et al., arXiv 2204.09656), that is the mean over
examples of the squared gradient of the task's loss.  Every layer keeps as many, so config.json says it all
(`intermediate_size`; `num_attention_heads` and `head_size`).
"""
from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .batches import Store, plan
from .bert import Bert
from .losses import task_loss


def neuron_fisher(model: Bert, data: Store, batches: int = 20, size: int = 32) -> list[Tensor]:
    """Importance [F] of each layer's neurons, from the first batches of a fixed shuffle of train."""
    return _fisher(model, data, [layer.output.dense for layer in model.layers], batches, size)


def head_fisher(model: Bert, data: Store, batches: int = 20, size: int = 32) -> list[Tensor]:
    """Importance [H] of each layer's heads: a head's mask is one number for all of its columns."""
    return _fisher(model, data, [layer.attention.output.dense for layer in model.layers], batches, size,
                   model.config.dim_head)


def _fisher(model: Bert, data: Store, readers: list, batches: int, size: int, width: int = 1) -> list[Tensor]:
    """Squared gradients of masks on the inputs of `readers`, `width` columns a mask."""
    model.eval()
    total = [torch.zeros(m.in_features // width, device=data.device) for m in readers]
    masks: dict[int, Tensor] = {}
    hooks = []
    for i, module in enumerate(readers):
        def hook(_, inputs, i=i):
            x = inputs[0]
            masks[i] = torch.ones(x.shape[0], 1, x.shape[2] // width, device=x.device, requires_grad=True)
            return (x * masks[i].repeat_interleave(width, 2),)
        hooks.append(module.register_forward_pre_hook(hook))
    for rows in plan(data.packed.length, size, seed=0, epoch=0)[:batches]:
        b = data.batch(rows)
        loss = task_loss(model(b.ids, b.types, b.live).logits, b.label) * len(rows)
        for i, grad in enumerate(torch.autograd.grad(loss, [masks[i] for i in range(len(total))])):
            total[i] += grad[:, 0].float().square().sum(0)
    for h in hooks:
        h.remove()
    return total


@torch.no_grad()
def shrink_ffn(model: Bert, importance: list[Tensor], keep: int) -> Bert:
    """A model of `keep` neurons a layer, the most important ones in their old order."""
    if not 1 <= keep <= model.config.intermediate_size:
        raise ValueError(f"cannot keep {keep} of {model.config.intermediate_size} neurons")
    out = Bert(replace(model.config, intermediate_size=keep))
    if hasattr(model, "zeb"):
        out.add_gates()
    state = model.state_dict()
    for i, value in enumerate(importance):
        chosen = value.topk(keep).indices.sort().values.to(state["classifier.weight"].device)
        name = f"bert.encoder.layer.{i}."
        for key in ("intermediate.dense.weight", "intermediate.dense.bias"):
            state[name + key] = state[name + key][chosen]
        state[name + "output.dense.weight"] = state[name + "output.dense.weight"][:, chosen]
    out.load_state_dict(state)
    return out


@torch.no_grad()
def shrink_heads(model: Bert, importance: list[Tensor], keep: int) -> Bert:
    """A model of `keep` heads a layer, the most important ones in their old order."""
    c = model.config
    if not 1 <= keep <= c.num_attention_heads:
        raise ValueError(f"cannot keep {keep} of {c.num_attention_heads} heads")
    if hasattr(model, "zeb"):
        raise ValueError("heads are removed before they are gated, not after")
    out = Bert(replace(c, num_attention_heads=keep, head_size=c.dim_head))
    state = model.state_dict()
    for i, value in enumerate(importance):
        heads = value.topk(keep).indices.sort().values.to(state["classifier.weight"].device)
        rows = (heads[:, None] * c.dim_head + torch.arange(c.dim_head, device=heads.device)).flatten()
        name = f"bert.encoder.layer.{i}.attention."
        for key in ("query", "key", "value"):
            for part in ("weight", "bias"):
                state[f"{name}self.{key}.{part}"] = state[f"{name}self.{key}.{part}"][rows]
        state[name + "output.dense.weight"] = state[name + "output.dense.weight"][:, rows]
    out.load_state_dict(state)
    return out
