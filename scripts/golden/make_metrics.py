#!/usr/bin/env python3
"""Writes tests/unit/suites/golden_metrics.json: scores by scikit-learn and SciPy that suites/ must reproduce.

Usage: scripts/golden/make_metrics.py [OUT]      (needs scikit-learn and SciPy; the file is checked in, CI does not run this)

A case holds truth and predictions, random or degenerate; a metric's value is null where it is not defined. Bootstrap
intervals are drawn with the project's own generator, reimplemented in zeb_random.py.
"""
import json
import pathlib
import sys
import warnings

import numpy as np
import scipy
import sklearn
from scipy import stats
from sklearn import metrics as sk

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from zeb_random import Random  # noqa: E402

RESAMPLES = 2000
SEED = 20261123
Z = stats.norm.ppf(0.975)
warnings.simplefilter("ignore")


def constant(values):
    return len(values) < 2 or all(v == values[0] for v in values)


def value_of(kind, truth, predicted):
    """The metric, or None where it is not defined."""
    if len(truth) == 0:
        return None
    if kind == "accuracy":
        return sk.accuracy_score(truth, predicted)
    if kind == "f1":
        return sk.f1_score(truth, predicted, labels=[1], average="macro", zero_division=0)
    if kind == "macro_f1":
        return sk.f1_score(truth, predicted, average="macro", zero_division=0)
    if kind == "matthews":
        return sk.matthews_corrcoef(truth, predicted)
    if constant(truth) or constant(predicted):
        return None
    r = (stats.pearsonr if kind == "pearson" else stats.spearmanr)(truth, predicted).statistic
    return None if np.isnan(r) else float(r)


def headline(values, mean):
    if len(values) == 1 or not mean:
        return values[0]
    return None if None in values else (values[0] + values[1]) / 2


def closed_interval(kind, value, truth, predicted):
    n = len(truth)
    if kind == "accuracy":
        right = sum(int(t == p) for t, p in zip(truth, predicted))
        ci = stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
        return ci.low, ci.high, "wilson"
    if kind == "pearson":
        if n < 4:
            return -1.0, 1.0, "fisher-z"
        ci = stats.pearsonr(truth, predicted).confidence_interval(0.95)
        return ci.low, ci.high, "fisher-z"
    if kind == "spearman":
        if n < 4:
            return -1.0, 1.0, "bonett-wright"
        spread = Z * np.sqrt((1 + value**2 / 2) / (n - 3))
        with np.errstate(divide="ignore"):
            return np.tanh(np.arctanh(value) - spread), np.tanh(np.arctanh(value) + spread), "bonett-wright"
    return None


def resample(kinds, mean, truth, predicted):
    """The headline and metrics of every resample."""
    random, n, drawn = Random(SEED), len(truth), []
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    for _ in range(RESAMPLES):
        at = [random.below(n) for _ in range(n)]
        values = [value_of(kind, truth[at], predicted[at]) for kind in kinds]
        drawn.append([headline(values, mean)] + values)
    return drawn


def score(kinds, mean, truth, predicted):
    """What zeb_task_score gives: the headline, then both metrics where there are two."""
    values = [value_of(kind, truth, predicted) for kind in kinds]
    rows = [("mean_" + "_".join(kinds) if mean else kinds[0], headline(values, mean), None if mean else kinds[0])]
    rows += [(kind, value, kind) for kind, value in zip(kinds, values)] if len(kinds) > 1 else []
    places = [0 if mean else 1] + list(range(1, len(kinds) + 1))
    drawn, result = None, []
    for place, (name, value, kind) in zip(places, rows):
        entry = {"name": name, "value": value}
        ci = closed_interval(kind, value, truth, predicted) if value is not None and kind else None
        if value is not None and ci is None and len(truth) > 1:
            drawn = drawn or resample(kinds, mean, truth, predicted)
            kept = [row[place] for row in drawn if row[place] is not None]
            lo, hi = np.quantile(kept, [0.025, 0.975]) if 2 * len(kept) >= RESAMPLES else (0, 0)
            if hi - lo > 1e-12:  # resamples that are all alike say nothing about spread
                ci = lo, hi, "bootstrap"
        if ci is not None:
            entry.update(lo=float(ci[0]), hi=float(ci[1]), method=ci[2])
        result.append(entry)
    return result


def class_pairs(rng, labels):
    """(name, truth, predicted) of classification."""
    for n in (0, 1, 2, 3, 5, 20, 60):
        truth = rng.integers(0, labels, n)
        noisy = np.where(rng.random(n) < 0.3, rng.integers(0, labels, n), truth)
        yield f"random {n}", truth, noisy
    n = 30
    truth = rng.integers(0, labels, n)
    other = (truth + 1) % labels
    rare = (np.arange(n) == 7).astype(int)
    zero, one = np.zeros(n, int), np.ones(n, int)
    yield "perfect", truth, truth
    yield "always wrong", truth, other
    yield "one class, right", zero, zero
    yield "one class of truth", one, truth
    yield "constant prediction 0", truth, zero
    yield "constant prediction 1", truth, one
    yield "two constants", zero, one
    yield "two constants, the other way", one, zero
    yield "all positive", one, one
    yield "rare positive missed", rare, zero
    yield "rare positive found", rare, rare
    yield "one row, wrong", np.array([1]), np.array([0])
    if labels > 2:
        yield "a class that nobody names", truth % 2, (truth % 2) ^ (rng.random(n) < 0.2)
        yield "a class only predicted", truth % 2, truth


def score_pairs(rng):
    """(name, truth, predicted) of regression."""
    for n in (0, 1, 2, 3, 4, 5, 25, 80):
        truth = np.round(rng.random(n) * 5, 2)
        yield f"random {n}", truth, truth + rng.normal(0, 1.2, n)
    n = 20
    truth = rng.integers(0, 6, n).astype(float)
    yield "ties", truth, rng.integers(0, 6, n).astype(float)
    yield "many ties", (np.arange(n) > 15).astype(float), (np.arange(n) % 3).astype(float)
    yield "constant truth", np.full(n, 0.1), truth
    yield "constant prediction", truth, np.full(n, 0.3)
    yield "both constant", np.full(n, 2.5), np.full(n, 2.5)
    yield "same", np.arange(n) * 0.25, np.arange(n) * 0.25
    yield "opposite", np.arange(n) * 0.25, -np.arange(n) * 1.0
    yield "nearly constant", truth, 3 + truth * 1e-9
    yield "huge", truth, truth * 1e200
    yield "tiny", truth, rng.normal(size=n) * 1e-200
    yield "two points", np.array([1.0, 2.0]), np.array([5.0, 3.0])


def cases():
    rng = np.random.default_rng(SEED)
    for labels, kinds, mean in ((2, ["accuracy"], False), (2, ["matthews"], False), (2, ["accuracy", "f1"], True),
                                (3, ["accuracy", "macro_f1"], True), (3, ["accuracy", "matthews"], False)):
        for name, truth, predicted in class_pairs(rng, labels):
            truth, predicted = [int(v) for v in truth], [int(v) for v in predicted]
            yield {"name": f"{'+'.join(kinds)}: {name}", "labels": labels, "kinds": kinds, "mean": mean, "truth": truth,
                   "predicted": predicted, "metrics": score(kinds, mean, truth, predicted)}
    for name, truth, predicted in score_pairs(rng):
        kinds, truth, predicted = ["pearson", "spearman"], [float(v) for v in truth], [float(v) for v in predicted]
        yield {"name": f"pearson+spearman: {name}", "labels": 1, "kinds": kinds, "mean": True, "truth": truth,
               "predicted": predicted, "metrics": score(kinds, True, truth, predicted)}


def main():
    if "-h" in sys.argv or "--help" in sys.argv:
        print(__doc__)
        return
    root = pathlib.Path(__file__).resolve().parents[2]
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else root / "tests/unit/suites/golden_metrics.json"
    made = {"made_by": f"scripts/golden/make_metrics.py, scikit-learn {sklearn.__version__}, SciPy {scipy.__version__}",
            "seed": SEED, "cases": list(cases())}
    text = json.dumps(made, allow_nan=False)
    out.write_text(text.replace('{"name"', '\n{"name"').replace('"metrics"', '\n "metrics"') + "\n")
    print(f"{out}: {len(made['cases'])} cases")


if __name__ == "__main__":
    main()
