"""Dev, scored by zeb itself: a checkpoint as a training step wrote it, once in each number format that it is meant for.

Every scoring is a row of the database (the folder's name is the row's model); evaluation.json keeps its metrics, work
and predictions for paired tests.  Nothing is scored twice: weights that evaluation.json knows are left alone, and
`NAME.scored` beside the folder says that all of it is there.  scorings.json lists what else dev was asked about the model:
each of its exports, as often as it was made, and all that is on record of the checkpoint that it was quantised from.
"""
from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from . import metrics, store
from .bert import Config
from .loop import TrainError, log

_PRECISION = {"int8": "w8a8", "int4": "w4a8", "int4-a16": "w4a16"}
SCORINGS = "scorings.json"
_METRIC = {"matthews": "mcc"}                                    # zeb's name: this package's


def precisions(formats: list[str] | str) -> list[str]:
    """fp32, and what zeb calls each format when it rounds the weights as it opens them."""
    formats = [formats] if isinstance(formats, str) else formats
    unknown = [f for f in formats if f not in _PRECISION]
    if unknown:
        raise TrainError(f"zeb opens no float checkpoint as {unknown[0]} ({', '.join(_PRECISION)})")
    return ["fp32", *(_PRECISION[f] for f in formats)]


def wanted(step: dict) -> bool:
    """Whether a recipe's step makes a model that is to be scored."""
    w = step["with"]
    return step["do"] in ("finetune", "distill", "prune") and bool(w.get("task")) and bool(w.get("evaluate"))


def unscored(step: dict) -> dict:
    """The step without what zeb does instead of PyTorch; free policies (`target`) stay PyTorch's."""
    drop = ("format",) if step["with"].get("target") else ("format", "evaluate")
    return {**step, "with": {k: v for k, v in step["with"].items() if k not in drop}}


def step_command(step: dict, work: Path, common: list[str], zeb: Path, device: str = "cpu") -> list[str]:
    """The process that scores what the step wrote below `work`."""
    w = step["with"]
    formats = w.get("format", [])
    formats = [formats] if isinstance(formats, str) else formats
    precisions(formats)
    return [sys.executable, "-m", "zeb_train", "scored", "--out", str(work / step["id"]), "--zeb", str(zeb),
            "--zeb-device", device, "--task", str(w["task"]), "--split", str(w["evaluate"]),
            "--max-length", str(w.get("max_length", 128)), "--db", str(work / "results.db"),
            *(x for f in formats for x in ("--format", f)), *common]


def zeb_command(zeb: Path, device: str, folder: Path, task: str, split: str, precision: str, data: Path, db: Path,
                predictions: Path, max_length: int) -> list[str]:
    """zeb over the whole split, on one thread that may move (others run beside it), timed no longer than it must."""
    policy = folder / "policy.json"
    return [str(zeb), "run", "--model", str(folder), "--task", task, "--split", split, "--data", str(data),
            "--device", device, "--precision", precision, *(["--policy", str(policy)] if policy.is_file() else []),
            "--scenario", "offline", "--batch", "32", "--seq-max", str(max_length), "--threads", "1", "--no-pin",
            "--max-time", "1ms", "--target-ci", "100%", "--sensor", "none", "--idle", "0s", "--db", str(db),
            "--format", "json", "--predictions", str(predictions)]


def marker(folder: Path) -> Path:
    return folder.with_name(folder.name + ".scored")


def history(folder: Path) -> list[dict]:
    """Every scoring of a checkpoint that its folder tells of, the earlier ones first."""
    folder, own = Path(folder), {}
    before = json.loads((folder / SCORINGS).read_text()) if (folder / SCORINGS).is_file() else []
    if (folder / "evaluation.json").is_file():
        own = json.loads((folder / "evaluation.json").read_text())
    return [*before, *({"model": folder.name, "as": k, "metrics": v["metrics"]} for k, v in own.items())]


def record(folder: Path, scored: dict) -> None:
    """Adds a scoring of something that was made of the checkpoint."""
    path = Path(folder) / SCORINGS
    store.write_json(path, [*(json.loads(path.read_text()) if path.is_file() else []), scored])


def score(folder: Path, task: str, split: str, formats: list[str], data: Path, vocab: Path, zeb: Path, device: str,
          db: Path, max_length: int) -> dict:
    """evaluation.json of the folder; an error, after everything else was tried, names the formats that failed."""
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder}: no complete checkpoint there (config.json missing)")
    max_length = min(max_length, Config.read(folder / "config.json").max_position_embeddings)
    own, path, weights = folder / "vocab.txt", folder / "evaluation.json", store.model_sha256(folder)
    if not own.exists():
        own.unlink(missing_ok=True)                              # a link that leads nowhere
        own.symlink_to(Path(vocab).resolve())
    out = json.loads(path.read_text()) if path.is_file() else {}
    failed = []
    for precision in precisions(formats):
        if out.get(precision, {}).get("zeb", {}).get("model_sha256") == weights:
            continue
        try:
            out[precision] = answers(folder, task, split, precision, data, zeb, device, db, max_length)
        except TrainError as e:
            failed.append(precision)
            log(str(e))
            continue
        store.write_json(path, out)
    if failed:
        raise TrainError(f"{folder.name}: not scored in {', '.join(failed)}; the checkpoint is as it was")
    store.write_bytes(marker(folder), b"")
    return out


def answers(folder: Path, task: str, split: str, precision: str, data: Path, zeb: Path, device: str, db: Path,
            max_length: int) -> dict:
    """One scoring by zeb: metrics, predictions, and what of its row says how they came about."""
    with tempfile.TemporaryDirectory() as scratch:
        given = Path(scratch) / "predictions.jsonl"
        argv = zeb_command(zeb, device, folder, task, split, precision, data, db, given, max_length)
        done = subprocess.run(argv, capture_output=True, text=True)
        try:
            return _kept(done, given)
        except (ValueError, LookupError, OSError) as e:
            raise TrainError(f"{folder.name}: zeb did NOT score {precision} ({e}): {done.stderr.strip()[-600:]}") from None


def _kept(done: subprocess.CompletedProcess, answers: Path) -> dict:
    """What evaluation.json keeps of a run of zeb: nothing of one that left something out.  A line is an example; a row
    read is one example, or (COPA, MultiRC, ReCoRD) a record of several.  Without skipped rows examples are numbered
    from 0 in either case."""
    if done.returncode != 0:
        raise ValueError(f"exit status {done.returncode}")
    (row,) = json.loads(done.stdout)
    lines = sorted(map(json.loads, answers.read_text().splitlines()), key=lambda line: line["index"])
    if (row["verdict"] != "ok" or row["rows_skipped"] or row["examples"] < row["rows_read"]
            or [line["index"] for line in lines] != list(range(row["examples"]))):
        raise ValueError(f"{row['verdict']}: {len(lines)} of {row['examples']} examples answered, "
                         f"{row['rows_skipped']} of {row['rows_read']} rows skipped")
    values = {_METRIC.get(m["name"], m["name"]): round(m["value"], 6) for m in row["metrics"]
              if m["defined"] and not m["name"].startswith("mean_")}
    return {"metrics": values, "predictions": metrics.predictions(np.array([line["scores"] for line in lines])),
            "zeb": {"task": row["task"], "split": row["split"], "backend": row["backend"], "policy": row["policy"],
                    "driver": row["driver"], "model_sha256": row["model_hash"],
                    "flops_executed": row["flops"]["executed"], "flops_dense": row["flops"]["dense"]}}
