"""Text augmentation on ids, on the device: what a student is asked beyond the train rows themselves.

Neighbour replacement swaps a whole-word token for one of its nearest in the teacher's embedding table
(the teacher then labels the new text); dropping shortens.  Both depend only on (seed, step).
"""
from __future__ import annotations

import torch

from .batches import Batch
from .tokens import MASK


@torch.no_grad()
def neighbours(table: torch.Tensor, vocab: list[str], k: int = 12) -> torch.Tensor:
    """[V,k] ids of the nearest whole words by cosine; a token that may not be replaced lists itself."""
    word = torch.tensor([v.isalpha() and v.isascii() and len(v) > 1 for v in vocab],
                        device=table.device)
    unit = torch.nn.functional.normalize(table.float() - table.float().mean(0), dim=1)
    out = torch.arange(len(vocab), device=table.device)[:, None].repeat(1, k)
    places = torch.nonzero(word)[:, 0]
    for part in places.split(4096):
        near = unit[part] @ unit.T
        near[:, ~word] = -2.0
        near.scatter_(1, part[:, None], -2.0)
        out[part] = near.topk(k, dim=1).indices
    return out


@torch.no_grad()
def augment(batch: Batch, near: torch.Tensor, gen: torch.Generator, replace: float = 0.2,
            mask: float = 0.03, drop: float = 0.05) -> Batch:
    """A new batch of the same rows; each row draws its own strength, so some stay as they were."""
    ids, device = batch.ids, batch.ids.device
    shape = ids.shape

    def rand(*size):
        return torch.rand(*size, generator=gen, device=device)

    strength = 2 * rand(shape[0], 1)
    content = batch.live & (ids > MASK)
    swap = content & (rand(*shape) < replace * strength)
    pick = (rand(*shape) * near.shape[1]).long().clamp_(max=near.shape[1] - 1)
    ids = torch.where(swap, near[ids, pick], ids)
    ids = torch.where(content & (rand(*shape) < mask * strength), torch.full_like(ids, MASK), ids)
    keep = batch.live & ~(content & (rand(*shape) < drop * strength))
    order = torch.argsort((~keep).to(torch.int8), dim=1, stable=True)
    live = torch.gather(keep, 1, order)
    zero = torch.zeros((), dtype=ids.dtype, device=device)
    return Batch(torch.where(live, torch.gather(ids, 1, order), zero),
                 torch.where(live, torch.gather(batch.types, 1, order), zero),
                 live, torch.full_like(batch.label, float("nan")), batch.rows)
