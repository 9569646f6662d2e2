"""Training-free choices, made on calib alone: thresholds for a wanted cost, ladders, score thresholds."""
from __future__ import annotations

import copy

import numpy as np
import torch

from . import flops
from .batches import Batch, Store
from .bert import Bert
from .loop import autocast
from .policy import THRESHOLDS, LayerPolicy, Policy
from .sparsity import Hard


def representative(data: Store, min_length: int = 0, limit: int = 1024) -> np.ndarray:
    """The rows that costs are told of, shortest first."""
    rows = np.flatnonzero(data.packed.length >= min_length)
    rows = rows if len(rows) else np.arange(len(data))
    rows = rows[np.linspace(0, len(rows) - 1, min(limit, len(rows))).astype(int)]
    return rows[np.argsort(data.packed.length[rows], kind="stable")]


@torch.no_grad()
def cost(model: Bert, policy: Policy, data: Store, min_length: int = 0, limit: int = 1024,
         precise: bool = False) -> dict:
    """Executed over dense work, and rows kept a layer, on (at most `limit`) rows that are long enough."""
    rows = representative(data, min_length, limit)
    done = whole = 0.0
    kept, before = np.zeros(model.config.num_hidden_layers), 0.0
    sparsity = Hard(model.config, policy)
    was = model.training
    model.eval()
    with torch.autocast("cpu", enabled=False) if precise else autocast(data.device):
        for at in range(0, len(rows), 256):
            b = data.batch(rows[at:at + 256])
            stats = model(b.ids, b.types, b.live, sparsity=sparsity).stats
            done += float(stats["cost"].sum())
            whole += float(stats["dense"].sum())
            before += float(b.live.sum())
            kept += [float(k.sum()) for k in stats["kept"]]
    model.train(was)
    return {"ratio": done / whole, "kept": [round(float(k / before), 4) for k in kept]}


def scaled(policy: Policy, factor: float) -> Policy:
    """Thresholds times the factor, ratios to its power: the greater, the less is kept."""
    out = copy.deepcopy(policy)
    for layer in out.layers:
        if layer.mode in THRESHOLDS:
            layer.value *= factor
        if layer.mode == "ratio":
            layer.value **= factor
    return out


def check_target(target: float, model: Bert, data: Store, min_length: int = 0, floor: int = 2) -> None:
    """Before anything is spent on it: a target below what the floor alone leaves is out of reach."""
    last = model.config.num_hidden_layers - 1
    least = cost(model, Policy("least", [LayerPolicy("topk", 1)] * last + [LayerPolicy()], floor), data,
                 min_length)["ratio"]
    if not least <= target <= 1.0:
        raise ValueError(f"target {target:g} is out of reach: with the floor of {floor} rows left in each layer "
                         f"{least:.3f} of the work remains, and 1 is all of it")


def fit(policy: Policy, model: Bert, data: Store, target: float, min_length: int = 0,
        rounds: int = 14) -> Policy:
    """All layers scaled by one factor, so that the cost on calib is the target; never above it by luck of
    a step: the last policy that met the target is returned, or the nearest to it if none does."""
    low, high = 0.02, 50.0
    best = scaled(policy, high)
    for _ in range(rounds):
        factor = (low * high) ** 0.5
        trial = scaled(policy, factor)
        if cost(model, trial, data, min_length)["ratio"] <= target:
            best, high = trial, factor
        else:
            low = factor
    return best


@torch.no_grad()
def quantile_thresholds(model: Bert, data: Store, name: str, target: float,
                        min_length: int = 0, mode: str = "threshold") -> Policy:
    """A start without training: every layer the same threshold (importances sum to 1 in every layer),
    then fitted to the wanted cost."""
    layers, value = model.config.num_hidden_layers, 0.02 if mode == "threshold" else 0.5
    start = Policy(name, [LayerPolicy(mode, value) for _ in range(layers - 1)]
                   + [LayerPolicy()])
    return fit(start, model, data, target, min_length)


def ladder(model: Bert, name: str, target: float, tokens: float = 32.0) -> Policy:
    """The same keep ratio in every layer but the last."""
    r = flops.ladder(model.config, target, tokens)
    return Policy(name, [LayerPolicy("ratio", r)
                         for _ in range(model.config.num_hidden_layers - 1)] + [LayerPolicy()])


def _fit_ladder(config, ratios: list[float], target: float, tokens: float) -> list[float]:
    """The ratios to a common power, so that the work for `tokens` rows is the target."""
    low, high = 0.01, 20.0
    for _ in range(40):
        power = (low * high) ** 0.5
        live, total, last = tokens, 0.0, config.num_hidden_layers - 1
        for i in range(last + 1):
            kept = live if i == last else live * ratios[i] ** power
            total += flops.layer(config, i, live, kept)
            live = kept
        low, high = (power, high) if total > target * flops.dense(config, tokens) else (low, power)
    return [r ** high for r in ratios]


def _logits(model: Bert, b: Batch, sparsity=None) -> torch.Tensor:
    """In full precision, also where training is in mixed."""
    with torch.autocast(b.ids.device.type, enabled=False):
        return model(b.ids, b.types, b.live, sparsity=sparsity).logits


@torch.no_grad()
def search_ladder(model: Bert, data: Store, name: str, target: float, limit: int = 512,
                  rounds: int = 3) -> Policy:
    """Which layer should drop how much: coordinate descent over the keep ratios at a fixed cost, judged by
    the divergence of the logits from the dense model's on calib."""
    rows = np.linspace(0, len(data) - 1, min(limit, len(data))).astype(int)
    rows = rows[np.argsort(data.packed.length[rows], kind="stable")]
    batches = [data.batch(rows[i:i + 128]) for i in range(0, len(rows), 128)]
    tokens = float(data.packed.length[rows].mean())
    dense = [_logits(model, b) for b in batches]

    def build(ratios):
        return Policy(name, [LayerPolicy("ratio", r) for r in ratios] + [LayerPolicy()])

    def loss(ratios) -> float:
        sparsity, total = Hard(model.config, build(ratios)), 0.0
        for b, goal in zip(batches, dense):
            got = _logits(model, b, sparsity)
            total += float((got - goal).square().sum())
        return total / len(rows)

    layers = model.config.num_hidden_layers - 1
    best = _fit_ladder(model.config, [0.7] * layers, target, tokens)
    value = loss(best)
    for step in (0.5, 0.3, 0.2)[:rounds]:
        for i in range(layers):
            for factor in (1 + step, 1 / (1 + step)):
                trial = list(best)
                trial[i] = min(0.999, trial[i] ** factor)
                trial = _fit_ladder(model.config, trial, target, tokens)
                now = loss(trial)
                if now < value:
                    best, value = trial, now
    return build(best)


def score_thresholds(policy: Policy, quality, budget: float = 0.002,
                     grid=(0.002, 0.005, 0.01, 0.02, 0.04)) -> Policy:
    """The largest threshold of the grid, alike in all layers, that costs at most `budget` of
    quality(policy) on calib."""
    base, best = quality(policy), policy
    for t in grid:
        trial = copy.deepcopy(policy)
        for layer in trial.layers:
            layer.score_threshold = t
        if quality(trial) >= base - budget:
            best = trial
    return best
