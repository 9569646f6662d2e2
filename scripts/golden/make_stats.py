#!/usr/bin/env python3
"""Writes tests/unit/stats/golden_stats.json: what harness/run's statistics must reproduce, by NumPy and SciPy.

Usage: scripts/golden/make_stats.py [OUT]        (needs SciPy; the file is checked in, CI does not run this)
"""
import json
import pathlib
import sys

import numpy as np
import scipy
from scipy import stats

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from zeb_random import Random  # noqa: E402

SEED = 20261123
RNG = np.random.default_rng(SEED)


def ranks(n, p, confidence=0.95):
    """Order statistics round the p quantile, straight from the definition: ranks from 1, 0 and n + 1 for none."""
    tail, cdf = (1 - confidence) / 2, stats.binom.cdf(np.arange(-1, n + 1), n, p)
    low = int(np.sum(cdf <= tail))  # the largest l with P(X <= l - 1) <= tail; cdf[0] = 0 counts l = 0
    survive = stats.binom.sf(np.arange(-1, n), n, p)  # P(X >= k), k = 0..n
    under = np.nonzero(survive <= tail)[0]
    return low - 1, int(under[0]) if len(under) else n + 1


def describe(name, samples):
    x = np.array(samples, dtype=float)
    n, median, mad = len(x), np.median(x), stats.median_abs_deviation(x)
    quantiles, ordered = [], np.sort(x)
    for p in (0.5, 0.9, 0.95, 0.99):
        low, high = ranks(n, p)
        quantiles.append({"value": np.quantile(x, p), "lo": ordered[low - 1] if low >= 1 else None,
                          "hi": ordered[high - 1] if high <= n else None})
    bounds = quantiles[0]
    known = bounds["lo"] is not None and bounds["hi"] is not None and median > 0
    return {"name": name, "samples": [int(v) for v in samples], "mean": x.mean(), "min": x.min(), "max": x.max(),
            "mad": mad, "outliers": int(np.sum(np.abs(x - median) > 14.8 * max(mad, 1))), "quantiles": quantiles,
            "half_width": (bounds["hi"] - bounds["lo"]) / 2 / median if known else -1}


def latencies(n, scale=1e5):
    return np.round(scale * np.exp(RNG.normal(0, 0.2, n))).astype(np.int64)


def describe_cases():
    for n in (1, 2, 3, 5, 6, 7, 8, 9, 44, 45, 72, 300, 367, 368, 473):
        yield describe(f"lognormal {n}", latencies(n))
    yield describe("constant", [5000] * 50)
    yield describe("constant but one", [5000] * 49 + [5014])
    yield describe("constant but one far", [5000] * 49 + [5015])
    yield describe("zeros", [0] * 20)
    yield describe("many ties", RNG.integers(3, 6, 200))
    yield describe("outliers", np.concatenate([latencies(95), latencies(5, 1e8)]))
    yield describe("sorted", np.arange(1, 102) * 7)
    yield describe("reversed", np.arange(100, 0, -1) * 7)
    yield describe("large", (1 << 50) + RNG.integers(0, 1000, 60))


def binomial_cases():
    for n, p in ((1, 0.5), (5, 0.5), (10, 0.1), (64, 0.1), (662, 0.01), (1000, 0.5), (1000, 0.99), (100000, 0.5),
                 (100000, 0.9), (10000000, 0.5), (10000000, 0.99)):
        spread, mean = np.sqrt(n * p * (1 - p)), n * p
        for k in sorted({int(np.clip(round(mean + z * spread), -1, n)) for z in (-6, -3, -2, -1, 0, 1, 2, 3, 6)}):
            yield {"k": k, "n": n, "p": p, "cdf": stats.binom.cdf(k, n, p), "pmf": stats.binom.pmf(k, n, p)}
    yield {"k": -1, "n": 10, "p": 0.5, "cdf": 0, "pmf": 0}
    yield {"k": 10, "n": 10, "p": 0.5, "cdf": 1, "pmf": 0.5**10}


def rank_cases():
    pairs = [(latencies(5), latencies(7)), (latencies(8), latencies(8) + 20000), (latencies(20), latencies(20) + 9000),
             (latencies(1), latencies(1)), (latencies(21), latencies(6)), (latencies(200), latencies(150)),
             (latencies(500), latencies(500) + 4000), (RNG.integers(0, 5, 30), RNG.integers(1, 6, 25)),
             (RNG.integers(0, 2, 4), RNG.integers(0, 2, 5)), (np.full(9, 3), np.full(4, 3)), (np.arange(6), np.arange(6)),
             (np.arange(10), np.arange(10) + 100)]
    for a, b in pairs:
        tied = len(np.unique(np.concatenate([a, b]))) < len(a) + len(b)
        exact = not tied and len(a) <= 20 and len(b) <= 20
        test = stats.mannwhitneyu(a, b, method="exact" if exact else "asymptotic", alternative="two-sided")
        p = 1.0 if np.isnan(test.pvalue) else test.pvalue  # all alike: SciPy divides by a variance of 0
        yield {"a": a.tolist(), "b": b.tolist(), "u": test.statistic, "p": p, "exact": exact}


def mcnemar_cases():
    for b, c in ((0, 0), (1, 0), (0, 6), (5, 5), (3, 12), (12, 3), (40, 61), (700, 800), (100000, 100600)):
        n, few = b + c, min(b, c)
        at = stats.binom.pmf(few, n, 0.5)
        exact = stats.binomtest(b, n, 0.5).pvalue if n else 1.0
        yield {"b": b, "c": c, "exact": exact, "mid": 1.0 if n == 0 else 1 - at / 2 if b == c else exact - at}


def ratio_cases():
    """Bounds by drawing the resamples themselves, very many of them."""
    for na, nb, shift in ((101, 200, 1.0), (200, 101, 1.1), (51, 50, 0.8), (7, 8, 1.5)):
        a, b = latencies(na), np.round(latencies(nb) * shift).astype(np.int64)
        drawn = [np.median(RNG.choice(b, (1000, nb)), axis=1) / np.median(RNG.choice(a, (1000, na)), axis=1)
                 for _ in range(200)]
        lo, hi = np.quantile(np.concatenate(drawn), [0.025, 0.975])
        yield {"a": a.tolist(), "b": b.tolist(), "value": np.median(b) / np.median(a), "lo": lo, "hi": hi}


def gain_cases():
    resamples = 500
    for n, pa, pb in ((1, 1, 0), (10, 0.5, 0.9), (100, 0.8, 0.85), (100, 1, 1)):
        a, b = (RNG.random(n) < pa).astype(int), (RNG.random(n) < pb).astype(int)
        random, outcome = Random(SEED), []
        for _ in range(resamples):
            at = [random.below(n) for _ in range(n)]
            outcome.append((b[at] - a[at]).sum() / n)
        lo, hi = np.quantile(outcome, [0.025, 0.975])
        yield {"a": a.tolist(), "b": b.tolist(), "resamples": resamples, "value": (b.sum() - a.sum()) / n, "lo": lo,
               "hi": hi}


def random_cases():
    random = Random(SEED)
    return {"next": [str(random.next()) for _ in range(5)], "below": [random.below(872) for _ in range(8)],
            "below_wide": [str(random.below((1 << 63) + 1)) for _ in range(8)],
            "unit": [random.unit() for _ in range(5)]}


def plain(value):
    return value.item() if isinstance(value, np.generic) else str(value)


def main():
    if "-h" in sys.argv or "--help" in sys.argv:
        print(__doc__)
        return
    root = pathlib.Path(__file__).resolve().parents[2]
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else root / "tests/unit/stats/golden_stats.json"
    made = {"made_by": f"scripts/golden/make_stats.py, NumPy {np.__version__}, SciPy {scipy.__version__}", "seed": SEED,
            "random": random_cases(), "describe": list(describe_cases()), "binomial": list(binomial_cases()),
            "ranks": list(rank_cases()), "mcnemar": list(mcnemar_cases()), "ratio": list(ratio_cases()),
            "gain": list(gain_cases())}
    text = json.dumps(made, allow_nan=False, default=plain)
    out.write_text(text.replace("{", "\n{") + "\n")
    print(f"{out}: {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
