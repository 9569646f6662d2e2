"""Texts to ids: BERT's WordPiece over a vocab.txt, kept packed (one flat array and offsets).

Truncation is longest-first, as the harness does it.  Nothing is padded here: padding appears, at most
a few per cent of it, when a batch of similar lengths is gathered on the training device.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import BertWordPieceTokenizer

from .readers import DataError, Row

PAD, UNK, CLS, SEP, MASK = 0, 100, 101, 102, 103


def load(vocab: Path) -> BertWordPieceTokenizer:
    try:
        return BertWordPieceTokenizer(str(vocab), lowercase=True)
    except Exception as e:                         # the package raises no narrower one
        raise DataError(f"{vocab}: no WordPiece vocabulary ({e})") from None


@dataclass
class Packed:
    """Encoded rows end to end: row i is ids[start[i] : start[i] + length[i]]."""
    ids: np.ndarray          # int32 [tokens]
    types: np.ndarray        # int8  [tokens], 1 in the second text and its [SEP]
    start: np.ndarray        # int64 [rows]
    length: np.ndarray       # int64 [rows]
    label: np.ndarray        # float32 [rows], NaN where there is none
    group: np.ndarray        # int64 [rows]

    def __len__(self) -> int:
        return len(self.start)

    def take(self, rows: np.ndarray) -> "Packed":
        rows = np.asarray(rows, dtype=np.int64)
        lists = [np.arange(self.start[r], self.start[r] + self.length[r]) for r in rows]
        at = np.concatenate(lists) if lists else np.zeros(0, np.int64)
        length = self.length[rows]
        return Packed(self.ids[at], self.types[at], _starts(length), length, self.label[rows],
                      self.group[rows])


def _starts(length: np.ndarray) -> np.ndarray:
    return (np.cumsum(length) - length).astype(np.int64)


def unlabelled(ids: list[np.ndarray], types: list[np.ndarray], length) -> Packed:
    """Rows of `length` tokens each, whose pieces stand end to end in `ids` and `types`; without labels and groups."""
    length = np.asarray(length, np.int64)
    return Packed(np.concatenate(ids or [np.zeros(0, np.int32)]), np.concatenate(types or [np.zeros(0, np.int8)]),
                  _starts(length), length, np.full(len(length), np.nan, np.float32), np.full(len(length), -1, np.int64))


def _cut(a: list[int], b: list[int], room: int) -> None:
    while len(a) + len(b) > room:
        (a if len(a) > len(b) else b).pop()


def encode(tokenizer, rows: list[Row], max_length: int = 128) -> Packed:
    first = tokenizer.encode_batch([r.a for r in rows], add_special_tokens=False)
    pairs = [r for r in rows if r.b is not None]
    second = iter(tokenizer.encode_batch([r.b for r in pairs], add_special_tokens=False)
                  if pairs else [])
    if max_length < 3:
        raise DataError(f"--max-length {max_length} leaves no room for a text between [CLS] and [SEP]")
    ids, types, length = [], [], []
    for row, enc in zip(rows, first):
        a, b = list(enc.ids), list(next(second).ids) if row.b is not None else []
        _cut(a, b, max_length - (2 if row.b is None else 3))
        seq = [CLS, *a, SEP] + ([*b, SEP] if row.b is not None else [])
        ids.append(np.asarray(seq, np.int32))
        t = np.zeros(len(seq), np.int8)
        t[len(a) + 2:] = 1
        types.append(t)
        length.append(len(seq))
    lengths = np.asarray(length, np.int64)
    label = np.asarray([np.nan if r.label is None else r.label for r in rows], np.float32)
    empty = [np.zeros(0, np.int32)]
    return Packed(np.concatenate(ids or empty), np.concatenate(types or empty), _starts(lengths),
                  lengths, label, np.asarray([r.group for r in rows], np.int64))


def concat(parts: list[Packed]) -> Packed:
    length = np.concatenate([p.length for p in parts])
    return Packed(np.concatenate([p.ids for p in parts]), np.concatenate([p.types for p in parts]),
                  _starts(length), length, np.concatenate([p.label for p in parts]),
                  np.concatenate([p.group for p in parts]))
