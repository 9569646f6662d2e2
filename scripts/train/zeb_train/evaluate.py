"""Scores a model as it is, and as it would be in other number formats or under training-free policies.

Everything that has to be chosen (thresholds, GPTQ's inputs) sees calib only.  The predictions are kept, so
that two models can be compared row by row (McNemar, paired bootstrap) without scoring again.
"""
from __future__ import annotations

from pathlib import Path

from . import calibrate, dataset, gptq, metrics, policy, quantise, store
from .batches import Store
from .dataset import TaskData
from .sparsity import Hard


def variants(folder: Path, data: TaskData, split: Store, formats: list[str], targets: list[float],
             min_length: int = 0) -> dict:
    """{variant: {metrics, cost, predictions}}: `fp32`, each of `formats` (int4-gptq: GPTQ at group 32),
    and `free-R` for each target R, a training-free policy fitted on calib."""
    folder = Path(folder)
    own = None
    if (folder / "policy.json").is_file():
        own = policy.read(folder / "policy.json", folder)
    out = {}
    for name in ["fp32", *formats]:
        model = store.load_for(folder, data.task).to(split.device).eval()
        if name == "int4-gptq":
            gptq.apply(model, data.calib, 32)
            quantise.wrap(model, quantise.Format(4, 32), fixed=True)
        elif name != "fp32":
            quantise.wrap(model, quantise.Format.of(name))
        out[name] = _score(data, model, split, own)
    model = store.load_model(folder).to(split.device).eval()
    for target in targets:
        calibrate.check_target(target, model, data.calib, min_length)
        free = calibrate.quantile_thresholds(model, data.calib, f"free-{target}", target, min_length)
        out[free.name] = _score(data, model, split, free)
    return out


def _score(data: TaskData, model, split: Store, how: policy.Policy | None) -> dict:
    sparsity = None if how is None else Hard(model.config, how)
    scores = dataset.predict(model, split, sparsity=sparsity, precise=True)
    values = metrics.score(data.task, scores, split.packed.label, split.packed.group)
    out = {"metrics": {k: round(v, 6) for k, v in values.items()},
           "predictions": metrics.predictions(scores)}
    if how is not None or model.config.layer_ffn:
        none = policy.dense("none", model.config.num_hidden_layers)
        out["cost"] = calibrate.cost(model, how or none, split, limit=len(split), precise=True)
    return out
