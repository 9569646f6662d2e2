"""What the sparse path of bert.py asks: which tokens live on, which heads run, which scores count.

`Hard` follows a policy exactly as the harness does (docs/formats/policy.md).  `Soft` is its differentiable
stand-in: token j stays with weight sigmoid((log s_j - log theta) / tau), s_j times the weight of all rows where
the threshold is relative, and that weight multiplies the exponentials of the following layers' softmax, so
tau -> 0 gives the hard rule.
"""
from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from . import flops
from .bert import Config
from .policy import LayerPolicy, Policy


def importance(p: Tensor, alive: Tensor, gate: Tensor | None) -> Tensor:
    """s [B,T]: mean over heads and live queries of the probability received; p [B,H,T,T].  A closed head
    counts as giving 0, the mean still divides by all heads."""
    if gate is not None:
        p = p * gate[:, :, None, None]
    received = torch.einsum("bhqt,bq->bt", p, alive)
    return received / (p.shape[1] * alive.sum(1, keepdim=True))


def select(s: Tensor, alive: Tensor, layer: LayerPolicy, floor: int, keep_last: bool) -> Tensor:
    """The surviving rows [B,T] (bool) of live rows `alive` (bool)."""
    b, t = s.shape
    n = alive.sum(1)
    forced = torch.zeros_like(alive)
    forced[:, 0] = True
    if keep_last:
        place = torch.arange(t, device=s.device).expand(b, t)
        forced |= place == torch.where(alive, place, -1).max(1, keepdim=True).values
    score = torch.where(forced, torch.inf, torch.where(alive, s, -torch.inf))
    order = torch.argsort(score, dim=1, descending=True, stable=True)
    quota = torch.full_like(n, max(floor, 2 if keep_last else 1))
    if layer.mode == "topk":
        quota = quota.clamp_min(int(layer.value))
    if layer.mode == "ratio":                     # a binary32 product, as the harness takes it
        quota = torch.maximum(quota, torch.ceil(n.float() * layer.value).to(n))
    first = torch.arange(t, device=s.device) < quota[:, None]
    keep = torch.zeros_like(alive).scatter_(1, order, first)
    if layer.mode == "threshold":
        keep |= s >= layer.value
    if layer.mode == "relative":
        keep |= s * n[:, None].to(s.dtype) >= layer.value
    return keep & alive


class Base(nn.Module):
    """Bookkeeping that both share: live counts and executed work of the pass in hand."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.weights: list[Tensor] = []

    def begin(self, live: Tensor) -> None:
        self.n, self.cost = live.sum(1).float(), 0.0
        self.weights = [live.float()]            # of each hidden state's rows, for losses
        self.kept: list[Tensor] = []
        self.left: list[Tensor] = []             # as kept, with what gradients there are
        self.heads_on: list[Tensor] = []

    def count(self, i: int, alive: Tensor, after: Tensor, gate: Tensor | None) -> None:
        on = 1.0 if gate is None else gate.mean(1)
        n_in, n_out = alive.sum(1), after.sum(1)
        self.cost = self.cost + flops.layer(self.config, i, n_in, n_out, on)
        self.weights.append(after.detach())
        self.kept.append(n_out.detach())
        self.left.append(n_out)
        if gate is not None:
            self.heads_on.append(gate.detach().mean(1))

    def stats(self) -> dict:
        return {"cost": self.cost, "dense": flops.dense(self.config, self.n), "kept": self.kept,
                "heads": self.heads_on}

    def scores(self, i: int, p: Tensor) -> Tensor:
        return p

    def gave(self, context: Tensor, after: Tensor) -> None:
        """Called with the contexts [B,H,T,d] of a layer before the last and the rows that survive it."""

    def close(self, i: int, inner: Tensor) -> Tensor:
        return inner

    def leave(self, i: int, x: Tensor) -> None:
        """Called with the rows behind layer i."""

    def join(self, logits: Tensor) -> Tensor:
        return logits


def close_blocks(inner: Tensor, layer: LayerPolicy) -> Tensor:
    """Zeros for the blocks of neurons that are small throughout."""
    if not layer.block:
        return inner
    blocks = inner.unflatten(-1, (-1, layer.block))
    small = (blocks.detach().abs() < layer.block_threshold).all(-1, keepdim=True)
    return blocks.masked_fill(small, 0.0).flatten(-2)


def exit_logits(policy: Policy, i: int, cls: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of the head behind layer i for first rows [B,D], and who is sure."""
    head = policy.exits[i].to(cls.device)
    with torch.autocast(cls.device.type, enabled=False):
        logits = nn.functional.linear(cls.float(), head.weight, head.bias)
    return logits, torch.softmax(logits, -1).max(-1).values >= policy.layers[i].confidence


def gate_evidence(model, i: int, x: Tensor, alive: Tensor) -> Tensor:
    """g [B,H] = W mean_rows(x) + b over the live rows of the layer's input."""
    mean = (x.float() * alive[:, :, None]).sum(1) / alive.sum(1, keepdim=True)
    gate = model.zeb.gate[str(i)]
    with torch.autocast(x.device.type, enabled=False):
        return nn.functional.linear(mean, gate.weight.float(), gate.bias.float())


def given(context: Tensor, alive: Tensor) -> Tensor:
    """What heads gave [B,H]: the mean magnitude of contexts [B,H,T,d] over the rows alive [B,T]."""
    return (context.float().abs().mean(-1) * alive[:, None]).sum(-1) / alive.sum(1, keepdim=True)


def best_heads(worth: Tensor, count: int) -> Tensor:
    """Gates [B,H] of the heads of greatest worth; ties go to the lower head."""
    order = torch.argsort(worth, dim=1, descending=True, stable=True)
    return torch.zeros_like(worth).scatter_(1, order[:, :count], 1.0)


class Hard(Base):
    """A policy, followed exactly; token masks are 0 or 1."""

    def __init__(self, config: Config, policy: Policy):
        super().__init__(config)
        if len(policy.layers) != config.num_hidden_layers:
            raise ValueError(f"policy has {len(policy.layers)} layers, model has "
                             f"{config.num_hidden_layers}")
        self.policy, self.ranked = policy, any(layer.heads_kept for layer in policy.layers)

    def heads(self, i: int, model, x: Tensor, alive: Tensor) -> Tensor | None:
        if self.policy.layers[i].heads_kept:
            return best_heads(self.worth, self.policy.layers[i].heads_kept)
        if not self.policy.layers[i].gated:
            return None
        g = gate_evidence(model, i, x, alive)
        hard = (g > 0).float()
        soft = torch.sigmoid(g)
        return hard + soft - soft.detach() if g.requires_grad else hard

    def tokens(self, i: int, p: Tensor, alive: Tensor, gate: Tensor | None) -> Tensor:
        layer = self.policy.layers[i]
        if layer.mode is None:
            return alive
        s = importance(p.detach(), alive, None if gate is None else gate.detach())
        return select(s, alive > 0, layer, self.policy.floor, self.policy.keep_last).float()

    def begin(self, live: Tensor) -> None:
        super().begin(live)
        self.worth: Tensor | float = 0.0         # [B,H] what heads gave so far
        self.early, self.gone = None, torch.zeros(len(live), dtype=torch.bool, device=live.device)
        self.exited: list[Tensor] = []

    def count(self, i: int, alive: Tensor, after: Tensor, gate: Tensor | None) -> None:
        """Sequences are independent, so those that left are carried along; they only cost nothing more."""
        stay = ~self.gone[:, None]
        super().count(i, alive * stay, after * stay, gate)

    def gave(self, context: Tensor, after: Tensor) -> None:
        if self.ranked:                          # layers may differ in their heads where none are ranked
            self.worth = self.worth + given(context.detach(), after.detach())

    def close(self, i: int, inner: Tensor) -> Tensor:
        return close_blocks(inner, self.policy.layers[i])

    def leave(self, i: int, x: Tensor) -> None:
        if not self.policy.layers[i].confidence:
            return
        logits, sure = exit_logits(self.policy, i, x[:, 0])
        self.early = logits if self.early is None else torch.where(self.gone[:, None], self.early, logits)
        self.gone = self.gone | sure
        self.exited.append(self.gone)

    def join(self, logits: Tensor) -> Tensor:
        return logits if self.early is None else torch.where(self.gone[:, None], self.early, logits)

    def scores(self, i: int, p: Tensor) -> Tensor:
        t = self.policy.layers[i].score_threshold
        return p.masked_fill(p < t, 0.0) if t > 0 else p


class Tracked(Base):
    """Hard thresholds on relative importance that follow a budget: each layer's is the running quantile that keeps
    the wanted share of its rows over a batch, so a row may keep more than another but no layer less than its share."""

    def __init__(self, config: Config, rate: float = 0.1):
        super().__init__(config)
        self.rate, self.share = rate, [1.0] * (config.num_hidden_layers - 1)
        self.register_buffer("value", torch.full((config.num_hidden_layers - 1,), torch.nan))

    def heads(self, i: int, model, x: Tensor, alive: Tensor) -> None:
        return None

    @torch.no_grad()
    def tokens(self, i: int, p: Tensor, alive: Tensor, gate: Tensor | None) -> Tensor:
        live, s = alive > 0, importance(p, alive, gate)
        if self.training:
            now = self._quantile(s * live.sum(1, keepdim=True), live, self.share[i])
            old = self.value[i]
            self.value[i] = torch.where(torch.isnan(old), now, old + self.rate * (now - old))
        return select(s, live, LayerPolicy("relative", self.value[i]), 2, False).float()

    @staticmethod
    def _quantile(s: Tensor, live: Tensor, share: float) -> Tensor:
        """The value that `share` of the live rows reach, the first rows (always kept) among them."""
        free = live.clone()
        free[:, 0] = False
        order = torch.where(free, s, torch.inf).flatten().sort().values
        count, kept = free.sum(), share * live.sum() - len(live)
        return order.take((count - kept).long().clamp_max(count - 1).clamp_min(0))

    def policy(self, name: str) -> Policy:
        return Policy(name, [LayerPolicy("relative", v) for v in self.value.tolist()] + [LayerPolicy()])


class Soft(Base):
    """Learnable thresholds (log theta of every layer but the last) and straight-through head gates."""

    def __init__(self, config: Config, tokens: bool, gated: bool, tau: float = 0.25,
                 start: float = 0.003, relative: bool = False):
        super().__init__(config)
        self.token_masks, self.gated, self.tau, self.relative = tokens, gated, tau, relative
        layers = config.num_hidden_layers - 1
        self.log_theta = nn.Parameter(torch.full((layers,), math.log(start)))

    def heads(self, i: int, model, x: Tensor, alive: Tensor) -> Tensor | None:
        if not self.gated or str(i) not in model.zeb.gate:
            return None
        g = gate_evidence(model, i, x, alive)
        if self.training:                         # logistic noise: the concrete distribution's
            u = torch.rand_like(g).clamp(1e-4, 1 - 1e-4)
            g = g + torch.log(u) - torch.log1p(-u)
        soft = torch.sigmoid(g)
        return (g > 0).float() + soft - soft.detach()

    def tokens(self, i: int, p: Tensor, alive: Tensor, gate: Tensor | None) -> Tensor:
        if not self.token_masks:
            return alive
        s = importance(p, alive, gate)
        if self.relative:
            s = s * alive.sum(1, keepdim=True)
        stay = torch.sigmoid((torch.log(s.clamp_min(1e-9)) - self.log_theta[i]) / self.tau)
        first = torch.arange(s.shape[1], device=s.device) == 0
        return alive * torch.where(first, 1.0, stay)

    def policy(self, name: str) -> Policy:
        mode = "relative" if self.relative else "threshold"
        out = [LayerPolicy(mode if self.token_masks else None,
                           float(t.exp()) if self.token_masks else 0.0, 0.0, self.gated)
               for t in self.log_theta.detach().cpu()]
        return Policy(name, [*out, LayerPolicy()])
