"""Exit heads of a frozen checkpoint: multinomial regression from the first row behind a layer to what the whole
model says, fitted on train; confidences chosen on calib for a wanted agreement with the whole model.
"""
from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from .batches import Store
from .bert import Bert
from .dataset import TaskData
from .loop import autocast
from .policy import Policy
from .sparsity import Hard


@torch.no_grad()
def _look(model: Bert, policy: Policy, data: Store, layers: list[int], limit: int):
    """First rows behind each layer [N,D] and the logits of the whole model [N,C], of at most `limit` rows."""
    rows = np.linspace(0, len(data) - 1, min(limit, len(data))).astype(int)
    rows = rows[np.argsort(data.packed.length[rows], kind="stable")]
    sparsity, first, logits = Hard(model.config, policy), {i: [] for i in layers}, []
    with autocast(data.device):
        for at in range(0, len(rows), 256):
            b = data.batch(rows[at:at + 256])
            out = model(b.ids, b.types, b.live, hidden=True, sparsity=sparsity)
            logits.append(out.logits)
            for i in layers:
                first[i].append(out.hidden[i + 1][:, 0].float())
    return {i: torch.cat(x) for i, x in first.items()}, torch.cat(logits)


JITTER = 0.02      # of a row's size: as far as 8-bit layers move it (0.010, 0.016, 0.020 behind BERT-mini's)


def regress(x: Tensor, target: Tensor, jitter: float = JITTER) -> nn.Linear:
    """The linear map whose softmax is nearest to the probabilities `target` [N,C] of rows that may be off by `jitter`.
    Without it the map reads columns that hardly vary behind the first layers, and rounding is all they say."""
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).to(x.device)
    x = x + jitter * x.square().mean(1, keepdim=True).sqrt() * noise
    mean, scale = x.mean(0), x.std(0).clamp_min(1e-6)
    head = nn.Linear(x.shape[1], target.shape[1]).to(x.device)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    z = (x - mean) / scale
    optimiser = torch.optim.LBFGS(head.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(head(z), target)
        loss.backward()
        return loss
    optimiser.step(closure)
    with torch.no_grad():
        head.bias -= head.weight @ (mean / scale)
        head.weight /= scale
    return head.requires_grad_(False)


def confidence(sure: Tensor, same: Tensor, budget: float) -> float:
    """The least confidence at which of the rows (confidences [N], agreement [N]) that reach it at most `budget`
    disagree; 0 where none may leave."""
    order = torch.argsort(sure, descending=True)
    wrong = torch.cumsum((~same[order]).float(), 0)
    sure = sure[order]
    for k in range(len(sure), 0, -1):
        if wrong[k - 1] <= budget and (k == len(sure) or sure[k] < sure[k - 1]):
            least = float(sure[k - 1])
            return (least + float(sure[k])) / 2 if k < len(sure) else least * 0.999
    return 0.0


def add(policy: Policy, model: Bert, data: TaskData, layers: list[int], agreement: float,
        limit: int = 20000) -> tuple[Policy, dict]:
    """The policy with exits behind these layers; each may take an equal part of the rows of calib that are allowed
    to end otherwise than in the whole model."""
    last = model.config.num_hidden_layers - 1
    if model.config.num_labels < 2:
        raise ValueError("a regression has no confidence to leave by")
    if not layers or any(not 0 <= i < last for i in layers) or not 0.0 < agreement <= 1.0:
        raise ValueError(f"exits behind {layers} at an agreement of {agreement}: layers are 0 to {last - 1}, "
                         "the agreement is above 0 and at most 1")
    whole = copy.deepcopy(policy)
    for layer in whole.layers:
        layer.confidence = 0.0
    x, logits = _look(model, whole, data.train, layers, limit)
    y, ends = _look(model, whole, data.calib, layers, len(data.calib))
    out, stays, said = copy.deepcopy(whole), torch.ones(len(ends), dtype=torch.bool), {}
    out.exits = {}
    for i in sorted(layers):
        head = regress(x[i], torch.softmax(logits, -1)).cpu()
        found = head(y[i].cpu())
        same = found.argmax(1) == ends.cpu().argmax(1)
        sure = torch.softmax(found, -1).max(1).values
        value = confidence(sure[stays], same[stays], (1.0 - agreement) * len(ends) / len(layers))
        said[i] = {"confidence": value, "agreement_alone": float(same.float().mean()), "leave": 0.0}
        if value > 0.0:
            out.layers[i].confidence, out.exits[i] = value, head
            said[i]["leave"] = float((stays & (sure >= value)).float().mean())
            stays &= sure < value
    return out, said
