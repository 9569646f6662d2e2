"""Splits and batches: a seeded-hash hold-out, and batches of like lengths gathered on the device.

The plan of an epoch is a pure function of (lengths, size, seed, epoch), which is what makes a run that
was killed and resumed equal to one that was not.
"""
from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch

from .readers import Row
from .tokens import Packed


SALT = "zeb-calib-1"


def holdout(rows: list[Row], fraction: float = 0.05, salt: str = SALT) -> np.ndarray:
    """True where a train row belongs to calib, by a hash of its exact text, as the harness has it (run/slice.c): rows of
    the same bytes are on one side, rows of one group (a question's answers) too, by the text that they share.

    That is all: a row that differs in a comma, or holds another whole, may be on the other side.  SST-2's train consists of
    phrases of one another: of its 1,260 calib rows of at least 14 tokens, 80 % stand inside a train row of at least 8 and
    36 % are one but for punctuation, so what is chosen there is partly chosen on what was learned (open_task's `apart`
    leaves such rows out of train)."""
    limit = int(fraction * 2 ** 32)
    out = np.zeros(len(rows), bool)
    for i, r in enumerate(rows):
        key = r.a if r.group >= 0 else f"{r.a}\t{r.b or ''}"
        digest = hashlib.sha256(f"{salt}\0{key}".encode()).digest()
        out[i] = int.from_bytes(digest[:4], "big") < limit
    return out


def plan(length: np.ndarray, size: int, seed: int, epoch: int, pool: int = 64,
         tokens: int = 0) -> list[np.ndarray]:
    """Row numbers of each batch: shuffled, sorted by length within pools, cut, shuffled again.
    `tokens` > 0 bounds rows x longest of a batch instead of its rows alone."""
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(length))
    batches: list[np.ndarray] = []
    for at in range(0, len(order), size * pool):
        part = order[at:at + size * pool]
        part = part[np.argsort(length[part], kind="stable")]
        batches += _cut(part, length, size, tokens)
    return [batches[i] for i in rng.permutation(len(batches))]


def _cut(part: np.ndarray, length: np.ndarray, size: int, tokens: int) -> list[np.ndarray]:
    if not tokens:
        return [part[i:i + size] for i in range(0, len(part), size)]
    out, begin = [], 0
    for i in range(len(part)):
        if i > begin and (i + 1 - begin) * length[part[i]] > tokens:
            out.append(part[begin:i])
            begin = i
    out.append(part[begin:])
    return out


@dataclass
class Batch:
    ids: torch.Tensor        # [B,T] long, PAD past a row's end
    types: torch.Tensor      # [B,T] long
    live: torch.Tensor       # [B,T] bool
    label: torch.Tensor      # [B] float
    rows: torch.Tensor       # [B] long
    goal: torch.Tensor | None = None   # [B, labels] what the teachers said, where it is stored


@dataclass
class Rows:
    """Which rows a batch is of, on the device, and the length that they are padded to."""
    at: torch.Tensor         # [B] long
    longest: int

    def twice(self) -> "Rows":
        return Rows(torch.cat([self.at, self.at]), self.longest)


class Store:
    """A packed set on the device, from which batches are gathered without touching the host."""

    def __init__(self, packed: Packed, device: torch.device):
        self.packed, self.device = packed, device
        self.ids = torch.from_numpy(packed.ids.astype(np.int64)).to(device)
        self.types = torch.from_numpy(packed.types.astype(np.int64)).to(device)
        self.start = torch.from_numpy(packed.start).to(device)
        self.length = torch.from_numpy(packed.length).to(device)
        self.label = torch.from_numpy(packed.label).to(device)
        self.goal: torch.Tensor | None = None        # [rows, labels] of a pool

    def __len__(self) -> int:
        return len(self.packed)

    def rows(self, numbers: np.ndarray) -> Rows:
        at = torch.from_numpy(np.ascontiguousarray(numbers)).to(self.device)
        return Rows(at, int(self.packed.length[numbers].max()))

    def batch(self, rows: np.ndarray | Rows) -> Batch:
        """Rows by their numbers, or as `rows` gives them: then nothing but the device is asked."""
        rows = rows if isinstance(rows, Rows) else self.rows(rows)
        at, offset = rows.at, torch.arange(rows.longest, device=self.device)
        live = offset[None, :] < self.length[at, None]
        place = torch.where(live, self.start[at, None] + offset[None, :], 0)
        return Batch(torch.where(live, self.ids[place], 0), torch.where(live, self.types[place], 0),
                     live, self.label[at], at, None if self.goal is None else self.goal[at])
