"""Post-training quantisation of a checkpoint: INT8, INT4 (nearest or GPTQ), or a mix chosen on calib."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from . import dataset, gptq, metrics, policy, quantise, scoring, store
from .bert import Bert
from .dataset import TaskData
from .loop import log
from .quantise import Format
from .sparsity import Hard


def _sparsity(folder: Path, model: Bert):
    path = Path(folder) / "policy.json"
    if not path.is_file():
        return None, None
    own = policy.read(path, folder)
    return own, Hard(model.config, own)


def _formatted(folder: Path, formats: dict[str, Format], device) -> Bert:
    return quantise.wrap(store.load_model(folder).to(device).eval(), formats)


def choose(folder: Path, data: TaskData, budget: float, group: int = 32) -> dict[str, Format]:
    """INT4 where it hurts least, INT8 elsewhere: matrices join INT4 in the order of the harm each does
    alone to calib's scores, as long as calib's metric stays within `budget` of all-INT8's."""
    device = data.calib.device
    eight, four = Format(8), Format(4, group)
    names = [n for n, _ in quantise.matrices(store.load_model(folder))]

    def scores(formats) -> np.ndarray:
        model = _formatted(folder, formats, device)
        return dataset.predict(model, data.calib, sparsity=_sparsity(folder, model)[1])

    def quality(s: np.ndarray) -> float:
        packed = data.calib.packed
        return metrics.headline(data.task, metrics.score(data.task, s, packed.label, packed.group))
    formats = {n: eight for n in names}
    base = scores(formats)
    harm = {n: float(((scores({**formats, n: four}) - base) ** 2).mean()) for n in names}
    least = quality(base) - budget
    for name in sorted(names, key=harm.get):
        trial = {**formats, name: four}
        if quality(scores(trial)) >= least:
            formats = trial
    log(f"mixed: {sum(f.bits == 4 for f in formats.values())} of {len(names)} matrices in INT4")
    return formats


def quantize(folder: Path, out: Path, name: str, method: str, data: TaskData | None, labels,
             budget: float = 0.005) -> dict:
    """Writes the quantised checkpoint (and its policy, if the model has one) to `out`."""
    folder, out = Path(folder), Path(out)
    if data is None and (name == "mixed" or method == "gptq"):
        raise ValueError(f"{name} by {method} is chosen on calibration data: --task is needed")
    model = store.load_model(folder).eval()
    how = None if name == "mixed" else Format.of(name)
    formats = (choose(folder, data, budget) if how is None
               else {n: how for n, _ in quantise.matrices(model)})
    rounded = None
    four = {n for n, f in formats.items() if f.bits == 4}
    if method == "gptq" and four:
        model.to(data.calib.device)
        group = next(formats[n].group for n in four)
        rounded = gptq.apply(model, data.calib, group, four)
        model.cpu()
    own, _ = _sparsity(folder, model)
    quantise.write(out, model, formats, labels, rounded)
    if own is not None:
        own.write(out)
    if (folder / "result.json").is_file():
        store.write_bytes(out / "result.json", (folder / "result.json").read_bytes())
    if known := scoring.history(folder):
        store.write_json(out / scoring.SCORINGS, known)
    return {"formats": {n: f"int{f.bits}" + (f"-{f.group}" if f.group else "")
                        for n, f in formats.items()},
            "bytes": sum(f.stat().st_size for f in store.shards(out))}


def calibrate_policy(folder: Path, data: TaskData, name: str, mode: str, target: float,
                     score_budget: float = 0.0, exits: list[int] | None = None,
                     agreement: float = 0.99, out: Path | None = None) -> dict:
    """Writes a training-free policy to `out`, or as a checkpoint's policy.json if it has none; `exits` are layers behind
    which sure sequences leave."""
    from . import calibrate
    path = out or Path(folder) / "policy.json"
    if out is None and path.exists():
        raise ValueError(f"{path}: a policy is there already: name the file to write with --out")
    model = store.load_for(folder, data.task).to(data.calib.device).eval()
    if mode != "dense":
        calibrate.check_target(target, model, data.calib)
    if mode in policy.THRESHOLDS:
        how = calibrate.quantile_thresholds(model, data.calib, name, target, mode=mode)
    elif mode == "ratio":
        how = calibrate.search_ladder(model, data.calib, name, target)
    elif mode == "dense":
        how = policy.dense(name, len(model.layers))
    else:
        raise ValueError(f"unknown mode {mode!r}: threshold, relative, ratio or dense")

    def quality(p: policy.Policy) -> float:
        return metrics.headline(data.task, dataset.measure(
            data.task, model, data.calib, sparsity=Hard(model.config, p)))
    if score_budget > 0:
        how = calibrate.score_thresholds(how, quality, score_budget)
    said = {}
    if exits:
        from . import exits as fit
        how, said = fit.add(how, model, data, exits, agreement)
    how.write(folder, path)
    return {"policy": str(path), "calib": quality(how), "exits": said,
            "dense_calib": quality(policy.dense("dense", len(model.layers))),
            "cost": calibrate.cost(model, how, data.calib)}
