"""Task metrics on host arrays.  Undefined cases (one class, constant output) are 0, never NaN."""
from __future__ import annotations

import numpy as np

from .tasks import Task


def _f1(gold, guess, positive) -> float:
    hit = np.sum((guess == positive) & (gold == positive))
    total = np.sum(guess == positive) + np.sum(gold == positive)
    return float(2 * hit / total) if total else 0.0


def _correlation(x, y) -> float:
    x, y = x - x.mean(), y - y.mean()
    norm = np.sqrt((x * x).sum() * (y * y).sum())
    return float((x * y).sum() / norm) if norm > 0 else 0.0


def _ranks(x) -> np.ndarray:
    """Ranks with ties averaged."""
    _, inverse, count = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2.0)[inverse]


def _grouped(task: Task, scores, gold, group) -> dict[str, float]:
    margin = scores[:, 1] - scores[:, 0]
    by = [np.flatnonzero(group == g) for g in np.unique(group)]
    if task.layout == "multirc":
        guess = (margin > 0).astype(int)
        exact = [np.array_equal(guess[r], gold[r]) for r in by]
        return {"em": float(np.mean(exact)), "f1a": _f1(gold, guess, 1)}
    right = float(np.mean([gold[r][np.argmax(margin[r])] for r in by]))
    return {"accuracy": right} if task.layout == "copa" else {"em": right, "f1": right}


def score(task: Task, scores: np.ndarray, gold: np.ndarray, group: np.ndarray) -> dict[str, float]:
    """All of the task's metrics; `scores` [N, labels], `gold` [N] class ids or values."""
    if task.labels is None:
        x = scores[:, 0].astype(np.float64)
        return {"pearson": _correlation(x, gold),
                "spearman": _correlation(_ranks(x), _ranks(gold))}
    gold = gold.astype(int)
    if task.layout in ("copa", "multirc", "record"):
        return _grouped(task, scores, gold, group)
    guess = scores.argmax(1)
    out = {"accuracy": float(np.mean(guess == gold))}
    if "f1" in task.metrics:
        out["f1"] = _f1(gold, guess, 1)
    if "macro_f1" in task.metrics:
        out["macro_f1"] = float(np.mean([_f1(gold, guess, c) for c in range(task.num_labels)]))
    if "mcc" in task.metrics:
        n = task.num_labels
        g, p = np.eye(n)[gold], np.eye(n)[guess]
        cov = [np.sum((u - u.mean(0)) * (v - v.mean(0))) for u, v in ((g, p), (g, g), (p, p))]
        norm = np.sqrt(cov[1] * cov[2])
        out["mcc"] = float(cov[0] / norm) if norm > 0 else 0.0
    return {k: out[k] for k in task.metrics}


def predictions(scores: np.ndarray):
    """What is kept of a scoring: values to three places, or one digit a row."""
    if scores.shape[1] == 1:
        return np.round(scores[:, 0].astype(float), 3).tolist()
    return "".join(map(str, scores.argmax(1)))


def headline(task: Task, values: dict[str, float]) -> float:
    """One number to choose by: the mean of a two-metric task's metrics, else the first."""
    if task.name in ("glue/cola", "glue/ax", "superglue/ax-b"):
        return values["mcc"]
    return float(np.mean([values[m] for m in task.metrics]))
