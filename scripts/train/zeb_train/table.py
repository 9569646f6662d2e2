"""Results of a recipe's work folder: mean and spread over seeds, and sparse against dense row by row."""
from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from pathlib import Path

_SEED = re.compile(r"-(\d+)$")


def collect(work: Path) -> dict[str, dict[int, dict]]:
    """family -> seed -> evaluation.json; the family is the step's id without its seed."""
    out: dict[str, dict[int, dict]] = defaultdict(dict)
    for path in sorted(Path(work).glob("*/evaluation.json")):
        name = path.parent.name
        seed = _SEED.search(name)
        out[_SEED.sub("", name)][int(seed[1]) if seed else 1] = json.loads(path.read_text())
    return out


def mcnemar(a: str, b: str, gold: list[int]) -> tuple[int, int, float]:
    """Rows that only a, only b has right, and the exact two-sided p of that split."""
    only_a = sum(x == g != y for x, y, g in zip(map(int, a), map(int, b), gold))
    only_b = sum(y == g != x for x, y, g in zip(map(int, a), map(int, b), gold))
    n, k = only_a + only_b, min(only_a, only_b)
    if n == 0:
        return 0, 0, 1.0
    tail = sum(math.comb(n, i) for i in range(k + 1)) / 2.0 ** n
    return only_a, only_b, min(1.0, 2.0 * tail)


def spread(values: list[float]) -> str:
    mean = sum(values) / len(values)
    if len(values) == 1:
        return f"{100 * mean:.1f}"
    return f"{100 * mean:.1f} ({100 * min(values):.1f}-{100 * max(values):.1f})"


def markdown(work: Path) -> str:
    """One row a family and variant; metrics in per cent, mean (least-greatest) over the seeds."""
    lines = ["| model | variant | seeds | metrics | cost |", "| --- | --- | --- | --- | --- |"]
    for family, seeds in sorted(collect(work).items()):
        names = list(dict.fromkeys(v for e in seeds.values() for v in e))
        for variant in names:
            rows = [e[variant] for e in seeds.values() if variant in e]
            metrics = ", ".join(f"{m} {spread([r['metrics'][m] for r in rows])}"
                                for m in rows[0]["metrics"])
            costs = [r["cost"]["ratio"] for r in rows if "cost" in r]
            cost = f"{sum(costs) / len(costs):.3f}" if costs else "1"
            lines.append(f"| {family} | {variant} | {len(rows)} | {metrics} | {cost} |")
    return "\n".join(lines) + "\n"


def compact(work: Path) -> dict:
    """What is worth keeping of a work folder: metrics and costs, without predictions and logs."""
    out: dict = {}
    for family, seeds in sorted(collect(work).items()):
        for seed, variants in sorted(seeds.items()):
            result = Path(work) / f"{family}-{seed}" / "result.json"
            made = json.loads(result.read_text()) if result.is_file() else {}
            out[f"{family}-{seed}"] = {
                "steps": made.get("steps"), "seconds": made.get("seconds"),
                "calib_best": made.get("best"), "calib": made.get("calib"),
                "dev": {v: {k: x[k] for k in ("metrics", "cost") if k in x}
                        for v, x in variants.items()}}
    return out
