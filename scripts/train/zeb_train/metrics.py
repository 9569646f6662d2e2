"""Task metrics on host arrays, as zeb has them (suites/metric.c, suites/score.c).  Undefined cases (no rows, constant
scores) are 0, never NaN.

ReCoRD's F1 is not here: it needs the words of the entity chosen and of the answers, and a split in memory has token ids
and whether an entity is right.  zeb reports it.
"""
from __future__ import annotations

import numpy as np

from .tasks import Task


def _f1(gold, guess, positive) -> float:
    hit = np.sum((guess == positive) & (gold == positive))
    total = np.sum(guess == positive) + np.sum(gold == positive)
    return float(2 * hit / total) if total else 0.0


def _macro_f1(gold, guess) -> float:
    """Over the classes that occur in either: one that nobody names is no class of this sample."""
    return float(np.mean([_f1(gold, guess, c) for c in np.union1d(gold, guess)]))


def _mcc(gold, guess, labels: int) -> float:
    g, p = np.eye(labels)[gold], np.eye(labels)[guess]
    both, truth, guessed = (np.sum((u - u.mean(0)) * (v - v.mean(0))) for u, v in ((g, p), (g, g), (p, p)))
    return float(both / np.sqrt(truth * guessed)) if truth > 0 and guessed > 0 else 0.0


def _correlation(x, y) -> float:
    if np.ptp(x) == 0 or np.ptp(y) == 0:                         # whatever rounding makes of the mean
        return 0.0
    x, y = ((v - v.mean()) / np.abs(v - v.mean()).max() for v in (x, y))     # squares stay in range
    r = (x * y).sum() / (np.sqrt((x * x).sum()) * np.sqrt((y * y).sum()))
    return float(np.clip(r, -1.0, 1.0)) if np.isfinite(r) else 0.0


def _ranks(x) -> np.ndarray:
    """Ranks with ties averaged."""
    _, inverse, count = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2.0)[inverse]


def _starts(group) -> np.ndarray:
    """The first row of each question or pair; rows of group -1 stand alone."""
    return np.flatnonzero(np.r_[True, (group[1:] < 0) | (group[1:] != group[:-1])])


def score(task: Task, scores: np.ndarray, gold: np.ndarray, group: np.ndarray) -> dict[str, float]:
    """All of the task's metrics; `scores` [N, labels], `gold` [N] class ids or values, the rows of a group together."""
    if not len(gold):
        return dict.fromkeys(task.metrics, 0.0)
    scores, gold = scores.astype(np.float64), gold.astype(np.float64)      # zeb's width: float has ties of its own
    if task.labels is None:
        x = scores[:, 0]
        return {"pearson": _correlation(x, gold), "spearman": _correlation(_ranks(x), _ranks(gold))}
    gold, guess, starts = gold.astype(int), scores.argmax(1), _starts(group)
    if task.layout in ("copa", "record"):                        # of each group the row that most prefers class 1
        margin = scores[:, 1] - scores[:, 0]
        chosen = [first + np.argmax(of) for first, of in zip(starts, np.split(margin, starts[1:]))]
        return dict.fromkeys(task.metrics, float(np.mean(gold[chosen] == 1)))
    how = {"accuracy": lambda: np.mean(guess == gold),
           "f1": lambda: _f1(gold, guess, 1), "f1a": lambda: _f1(gold, guess, 1),
           "macro_f1": lambda: _macro_f1(gold, guess), "mcc": lambda: _mcc(gold, guess, task.num_labels),
           "em": lambda: np.mean(np.logical_and.reduceat(guess == gold, starts)),
           "gender_parity": lambda: np.mean(np.maximum.reduceat(guess, starts) == np.minimum.reduceat(guess, starts))}
    return {k: float(how[k]()) for k in task.metrics}


def predictions(scores: np.ndarray):
    """What is kept of a scoring: values to three places, or one digit a row (of COPA and ReCoRD that is the row's own
    class, not what its question's rows were chosen by)."""
    if scores.shape[1] == 1:
        return np.round(scores[:, 0].astype(float), 3).tolist()
    return "".join(map(str, scores.argmax(1)))


def headline(task: Task, values: dict[str, float]) -> float:
    """One number to choose by: the mean of a two-metric task's metrics, else the first."""
    if task.name in ("glue/cola", "glue/ax", "superglue/ax-b", "superglue/ax-g"):
        return values[task.metrics[0]]
    return float(np.mean([values[m] for m in task.metrics]))
