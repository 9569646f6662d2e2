"""Results of a recipe's work folder: mean and spread over seeds, and sparse against dense row by row.

A student's dense twin has its seed and, behind as long a beginning of its family as there is one, `dense`:
sst2-dense-2 of sst2-lean-cpu-2, sst2-minilm-dense-1 of sst2-minilm-ladder-1.

The paired tests take rows for independent and a row for an answer.  Of COPA, MultiRC, ReCoRD (a question has several
rows) and AX-g (rows come in pairs) only the work is compared.
"""
from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from functools import lru_cache
from pathlib import Path

import numpy as np

from . import metrics, tasks
from .readers import read_split

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


def twin(family: str, families) -> str | None:
    """The family of dense students that this one is held against; None of a dense one."""
    parts = family.split("-")
    for n in range(len(parts), -1, -1):
        dense = "-".join([*parts[:n], "dense"])
        if dense in families:
            return None if dense == family else dense
    return None


def judged(task: tasks.Task) -> str:
    """The metric that two students of a task are compared by."""
    return next((m for m in ("spearman", "mcc") if m in task.metrics), task.metrics[0])


def difference(task: tasks.Task, a, b, gold: np.ndarray, draws: int = 1000) -> tuple[float, float, float]:
    """b less a in the judged metric, and the 95 % percentile interval of as many paired resamples; `a` and `b` as
    metrics.predictions keeps them."""
    def scores(kept):
        kept = np.array(list(map(float, kept)))
        return kept[:, None] if task.labels is None else np.eye(task.num_labels)[kept.astype(int)]
    a, b, group, name = scores(a), scores(b), np.full(len(gold), -1), judged(task)

    def gain(rows):
        first, second = (metrics.score(task, x[rows], gold[rows], group)[name] for x in (a, b))
        return second - first
    rng, n = np.random.default_rng(1), len(gold)
    low, high = np.percentile([gain(rng.integers(0, n, n)) for _ in range(draws)], [2.5, 97.5])
    return gain(np.arange(n)), float(low), float(high)


def _work(family: str, variant: str, seeds: dict[int, dict], found: dict) -> str:
    """Mean work: PyTorch's cost, or zeb's executed operations over those of the dense twins."""
    rows = [e[variant] for e in seeds.values() if variant in e]
    if not any("zeb" in r for r in rows):
        costs = [r["cost"]["ratio"] for r in rows if "cost" in r]
        return f"{sum(costs) / len(costs):.3f}" if costs else "1"
    dense = family if family.split("-")[-1] == "dense" else twin(family, found)
    whole = [e[variant]["zeb"] for e in found.get(dense, {}).values() if "zeb" in e.get(variant, {})]
    by = {z["flops_dense"]: z["flops_executed"] for z in whole}         # one task and shape: one work of all
    ratios = [r["zeb"]["flops_executed"] / by.get(r["zeb"]["flops_dense"], math.nan) for r in rows if "zeb" in r]
    mean = sum(ratios) / len(ratios)
    return "-" if math.isnan(mean) else f"{mean:.3f}"


def markdown(work: Path, data: Path) -> str:
    """One row a family and variant; metrics in per cent, mean (least-greatest) over the seeds.  Then, of what zeb
    scored, one row a student and its dense twin; `data` has the labels."""
    lines = ["| model | variant | seeds | metrics | cost |", "| --- | --- | --- | --- | --- |"]
    found = collect(work)
    for family, seeds in sorted(found.items()):
        names = list(dict.fromkeys(v for e in seeds.values() for v in e))
        for variant in names:
            rows = [e[variant] for e in seeds.values() if variant in e]
            values = ", ".join(f"{m} {spread([r['metrics'][m] for r in rows])}"
                               for m in rows[0]["metrics"])
            lines.append(f"| {family} | {variant} | {len(rows)} | {values} | {_work(family, variant, seeds, found)} |")
    return "\n".join([*lines, *_pairs(found, data)])


def _pairs(found: dict, data: Path) -> list[str]:
    @lru_cache(maxsize=None)
    def gold(task: str, split: str) -> np.ndarray:
        return np.array([row.label for row in read_split(data, tasks.get(task), split)])
    lines = []
    for family, seeds in sorted(found.items()):
        dense = found.get(twin(family, found) or "", {})
        for seed, variants in sorted(seeds.items()):
            for variant, b in variants.items():
                a = dense.get(seed, {}).get(variant, {})
                if "zeb" in a and "zeb" in b and a["zeb"]["flops_dense"] == b["zeb"]["flops_dense"]:
                    lines.append(f"| {family}-{seed} | {variant} | {_pair(a, b, gold)} |")
    if not lines:
        return []
    return ["", "| model | variant | less its dense twin, points (95 %) | only dense right | only it right | exact p | "
            "work |", "| --- | --- | --- | --- | --- | --- | --- |", *lines]


def _pair(a: dict, b: dict, gold) -> str:
    work = f"{b['zeb']['flops_executed'] / a['zeb']['flops_executed']:.3f}"
    task = tasks.get(b["zeb"]["task"])
    if task.pairs or task.is_question:
        return f"- | - | - | - | {work}"
    labels = gold(task.name, b["zeb"]["split"])
    value, low, high = difference(task, a["predictions"], b["predictions"], labels)
    test = "- | - | -"
    if task.labels is not None:
        only_a, only_b, p = mcnemar(a["predictions"], b["predictions"], labels)
        test = f"{only_a} | {only_b} | {p:.2g}"
    return f"{judged(task)} {100 * value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}) | {test} | {work}"


def _counted(variant: dict) -> dict:
    """The operations that zeb counted, where it scored."""
    zeb = variant.get("zeb", {})
    return {k: zeb[k] for k in ("policy", "flops_executed", "flops_dense") if k in zeb}


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
                "dev": {v: {k: x[k] for k in ("metrics", "cost") if k in x} | _counted(x) for v, x in variants.items()}}
    return out
