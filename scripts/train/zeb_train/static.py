"""Static structure: FFN neurons and attention heads removed for good, the matrices physically smaller, layer by layer.

Which: learned with hard-concrete gates under a goal of work (`Structure`; CoFi, arXiv 2204.00408, and 1712.01312), or
without training by the diagonal Fisher information of a mask on each (Kwon et al., 2204.09656), that is the mean over
examples of the squared gradient of the task's loss.  config.json keeps the whole model's sizes and says what is left
(`layer_heads`, `layer_ffn`).
"""
from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Callable

import torch
from torch import Tensor, nn

from . import flops
from .batches import Store, plan
from .bert import Bert
from .losses import task_loss

Gates = tuple[Tensor, Tensor]        # of a layer's heads [..., H] and neurons [..., F]


def attach(model: Bert, gates: Callable[[int], Gates]) -> list:
    """Multiplies every layer's heads and neurons by gates(layer) as they enter the matrices that read them; returns
    the hooks."""
    def hook(i: int, which: int, width: int):
        def multiply(_, inputs):
            x = inputs[0]
            return (x * gates(i)[which].repeat_interleave(width, -1).to(x.dtype),)
        return multiply
    return [module.register_forward_pre_hook(hook(i, which, width))
            for i, layer in enumerate(model.layers)
            for module, which, width in ((layer.attention.output.dense, 0, model.config.dim_head),
                                         (layer.output.dense, 1, 1))]


def fisher(model: Bert, data: Store, batches: int = 20, size: int = 32) -> tuple[list[Tensor], list[Tensor]]:
    """Importance of each layer's heads [H] and neurons [F], from the first batches of a fixed shuffle of train."""
    c = model.config
    model.eval()
    masks: list[Gates] = []
    total = [torch.zeros(n, device=data.device) for i in range(len(model.layers)) for n in (c.heads(i), c.ffn(i))]
    hooks = attach(model, lambda i: masks[i])
    for rows in plan(data.packed.length, size, seed=0, epoch=0)[:batches]:
        b = data.batch(rows)
        masks[:] = [tuple(torch.ones(len(rows), 1, n, device=data.device, requires_grad=True)
                          for n in (c.heads(i), c.ffn(i))) for i in range(len(model.layers))]
        loss = task_loss(model(b.ids, b.types, b.live).logits, b.label) * len(rows)
        for sum_, grad in zip(total, torch.autograd.grad(loss, [m for pair in masks for m in pair])):
            sum_ += grad[:, 0].float().square().sum(0)
    for h in hooks:
        h.remove()
    return total[0::2], total[1::2]


def most(importance: list[Tensor], keep: int) -> list[Tensor]:
    """The `keep` most important of each layer, in their old order."""
    for value in importance:
        if not 1 <= keep <= len(value):
            raise ValueError(f"cannot keep {keep} of {len(value)} heads or neurons")
    return [value.topk(keep).indices.sort().values for value in importance]


@torch.no_grad()
def shrink(model: Bert, heads: list[Tensor] | None = None, neurons: list[Tensor] | None = None,
           gates: list[Gates] | None = None) -> Bert:
    """A model of these heads and neurons a layer (None: all); each is first multiplied by its gate."""
    c, state = model.config, model.state_dict()
    device = state["classifier.weight"].device
    heads = heads or [torch.arange(c.heads(i)) for i in range(len(model.layers))]
    neurons = neurons or [torch.arange(c.ffn(i)) for i in range(len(model.layers))]
    out = Bert(replace(c, layer_heads=[len(h) for h in heads], layer_ffn=[len(n) for n in neurons]))
    if hasattr(model, "zeb"):
        out.add_gates()
    for i in range(len(model.layers)):
        name, head, neuron = f"bert.encoder.layer.{i}.", heads[i].to(device), neurons[i].to(device)
        rows = (head[:, None] * c.dim_head + torch.arange(c.dim_head, device=device)).flatten()
        readers = {"attention.output.dense.weight": rows, "output.dense.weight": neuron}
        writers = {**{f"attention.self.{key}.": rows for key in ("query", "key", "value")},
                   "intermediate.dense.": neuron}
        if gates is not None:
            for (key, _), gate, width in zip(readers.items(), gates[i], (c.dim_head, 1)):
                state[name + key] = state[name + key] * gate.to(device).repeat_interleave(width)
        for key, chosen in readers.items():
            state[name + key] = state[name + key][:, chosen]
        for key, chosen in writers.items():
            for part in ("weight", "bias"):
                state[name + key + part] = state[name + key + part][chosen]
        if f"zeb.gate.{i}.weight" in state:
            for part in ("weight", "bias"):
                state[f"zeb.gate.{i}.{part}"] = state[f"zeb.gate.{i}.{part}"][head]
    out.load_state_dict(state)
    return out


@dataclass
class StructureSettings:
    target: float = 0.8            # work left, over the whole model's, on calib rows with every token
    share: float = 0.35            # of the run's epochs and minutes that is spent on the search
    multiple: int = 32             # neurons a layer come in multiples of this
    reach: float = 12.0            # as far as the search's steps together can move a gate

    def check(self) -> None:
        if not 0.0 < self.target < 1.0 or not 0.0 < self.share < 1.0 or self.multiple < 1 or self.reach <= 0.0:
            raise ValueError(f"structure of target {self.target}, share {self.share}, multiple {self.multiple}, reach "
                             f"{self.reach} is not possible")


BETA, LOW, HIGH = 2 / 3, -0.1, 1.1      # temperature and stretch of the hard-concrete distribution, as published


class Structure(nn.Module):
    """Hard-concrete gates on every head and neuron, and the multipliers that hold their work to a goal.

    All gates are one vector: layer 0's heads, its neurons, layer 1's heads, ...  `work` is what each adds to the
    model's work, over the whole model's.
    """

    def __init__(self, model: Bert, lengths: Tensor, multiple: int,
                 importance: tuple[list[Tensor], list[Tensor]] | None = None):
        """`lengths` of the rows that stand for the task; `importance` (Fisher's) is where the gates start from: the
        more a unit of work matters, the further open."""
        super().__init__()
        c = self.config = model.config
        self.multiple, self.layers = multiple, range(c.num_hidden_layers)
        self.sizes = [n for i in self.layers for n in (c.heads(i), c.ffn(i))]
        n = lengths.double()
        whole, each = float(flops.dense(c, n).sum()), []
        for i in self.layers:
            for work, count in zip(flops.units(c, n, n, i == self.layers[-1]), (c.heads(i), c.ffn(i))):
                each.append(torch.full((count,), float((work + 0 * n).sum()) / whole))
        self.register_buffer("work", torch.cat(each))
        start = torch.full((len(self.work),), 2.5)
        if importance is not None:
            value = torch.cat([x.float().cpu() for pair in zip(*importance) for x in pair]) / self.work
            value = torch.log(value.clamp_min(value.max() * 1e-6))
            start += (value - value.mean()) / value.std().clamp_min(1e-6)
        self.log_alpha = nn.Parameter(start)
        # Of the work over its goal and of its square.  The square alone comes near the goal at once, the other then
        # closes the gap, slowly: one that has grown too much while the goal fell would drive past it.
        self.multiplier = nn.Parameter(torch.tensor([0.0, 20.0]))

    def split(self, gates: Tensor) -> list[Gates]:
        parts = gates.split(self.sizes, -1)
        return list(zip(parts[0::2], parts[1::2]))

    def sample(self, u: Tensor) -> Tensor:
        """Gates for uniform noise."""
        s = torch.sigmoid((torch.logit(u) + self.log_alpha) / BETA)
        return (s * (HIGH - LOW) + LOW).clamp(0.0, 1.0)

    def settled(self) -> Tensor:
        """The gates without noise."""
        return (torch.sigmoid(self.log_alpha) * (HIGH - LOW) + LOW).clamp(0.0, 1.0)

    def open(self) -> Tensor:
        """The probability that a gate is not 0."""
        return torch.sigmoid(self.log_alpha - BETA * math.log(-LOW / HIGH))

    def cost(self) -> Tensor:
        """The work that is expected, over the whole model's."""
        return (self.open() * self.work).sum()

    def draw(self) -> None:
        """New gates for whoever is attached."""
        self.drawn = self.split(self.sample(torch.rand_like(self.log_alpha).clamp(1e-6, 1 - 1e-6)))

    def penalty(self, goal: float | Tensor) -> Tensor:
        """Lagrange's: gradients push the gates towards the goal and the multipliers up for as long as it is missed.
        (Its value is 0.)"""
        over = self.cost() - goal
        missed = torch.stack([over, over * over])
        return (self.multiplier.detach() * missed).sum() - (self.multiplier * missed.detach()).sum()

    @torch.no_grad()
    def chosen(self, target: float) -> tuple[list[Tensor], list[Tensor]]:
        """Heads and neurons to keep, widest open first while the work allows.  Neurons go in blocks of `multiple`
        within a layer; every layer keeps a head and a block."""
        blocks = []                              # (floor first, how far open, work, which list, which of it)
        kept: list[list[Tensor]] = []
        for which, (alpha, work) in enumerate(zip(self.log_alpha.cpu().split(self.sizes),
                                                  self.work.cpu().split(self.sizes))):
            order = alpha.argsort(descending=True, stable=True)
            parts = order.split(1 if which % 2 == 0 else self.multiple)
            kept.append([])
            blocks += [(k > 0, -float(alpha[part].mean()), float(work[part].sum()), which, part)
                       for k, part in enumerate(parts)]
        spent = 0.0
        for extra, _, work, which, part in sorted(blocks, key=lambda b: b[:2]):
            if extra and spent + work > target:
                continue
            spent += work
            kept[which].append(part)
        if spent > target:
            raise ValueError(f"a head and {self.multiple} neurons a layer are {spent:.3f} of the work, more than "
                             f"{target}")
        picked = [torch.cat(parts).sort().values for parts in kept]
        return picked[0::2], picked[1::2]
