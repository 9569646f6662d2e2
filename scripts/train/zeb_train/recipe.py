"""Recipes: YAML files that name every command between the public weights and a shipped checkpoint.

    name: sst2
    steps:
      - id: teacher-1            # also the folder, below the work folder, that it writes
        do: finetune
        with: {task: glue/sst2, start: "{minilm}", seed: 1, set: {lr: 5.0e-5}}
      - id: "{task}-student-{seed}"    # each: one step for every combination
        each: {task: [sst2, rte], seed: [1, 2]}
        needs: [teacher-1]
        do: distill
        with: {...}

Steps marked `ID.done` are done, by the command that it keeps: a recipe that was changed since is refused.  The rest
run as soon as their needs are, `jobs` at a time, each in its own process (one that dies costs itself and what
needs it), on the GPU that has the fewest of them.  Energy is tracked over all of them but the exports, which come
last and write it on their cards.  A recipe holds its work folder, and a step the folder that it writes: no second
process trains the same.  Steps end with their recipe.

With a zeb program, students are scored by it, in a process of their own as soon as they are written
(scoring.py), and not by PyTorch.  `ID.scored` marks those; a scoring that fails costs no step.
"""
from __future__ import annotations

import hashlib
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch
import yaml

from . import energy, scoring, store
from .loop import TrainError, device_of, log
from .process import alone, follow


def read(path: Path, places: dict[str, str]) -> dict:
    """The recipe with {data}, {minilm}, {mpnet}, {vocab}, {here} and {work} replaced."""
    with open(path, encoding="utf-8") as f:
        recipe = yaml.safe_load(f)
    if not isinstance(recipe, dict) or not isinstance(recipe.get("steps"), list) \
            or not all(isinstance(s, dict) for s in recipe["steps"]):
        raise TrainError(f"{path}: no recipe: `steps`, a list of what to do, is missing")
    for number, step in enumerate(recipe["steps"], 1):
        _check_keys(f"{path}: step {step.get('id', f'number {number}')}", step)
    recipe["steps"] = [one for step in recipe["steps"] for one in _each(step)]
    ids = [s.get("id") for s in recipe["steps"]]
    if not ids or None in ids or len(set(ids)) != len(ids):
        raise TrainError(f"{path}: steps need unique ids")
    for step in recipe["steps"]:
        unknown = set(step.get("needs", [])) - set(ids)
        if unknown:
            raise TrainError(f"{path}: step {step['id']} needs unknown {', '.join(unknown)}")
        if "do" not in step:
            raise TrainError(f"{path}: step {step['id']} does not say what to `do`")
        step["with"] = _fill(step.get("with", {}), places)
    recipe["places"] = places
    _check_order(path, {s["id"]: s for s in recipe["steps"]})
    return recipe


# What a step may say, and what that has to be.
_KEYS = {
    "id": ("text", lambda v: isinstance(v, str)),
    "do": ("text", lambda v: isinstance(v, str)),
    "with": ("an object", lambda v: isinstance(v, dict) and all(isinstance(k, str) for k in v)),
    "needs": ("a list of ids", lambda v: isinstance(v, list) and all(isinstance(i, str) for i in v)),
    # An empty list would be no step at all.
    "each": ("an object of lists of texts or numbers", lambda v: isinstance(v, dict) and all(
        isinstance(k, str) and isinstance(x, list) and x and all(isinstance(i, (str, int, float)) for i in x)
        for k, x in v.items())),
}


def _check_keys(where: str, step: dict) -> None:
    for key, value in step.items():
        if key not in _KEYS:
            raise TrainError(f"{where} has an unknown key `{key}`; there are {', '.join(_KEYS)}")
        kind, fits = _KEYS[key]
        if not fits(value):
            raise TrainError(f"{where}: `{key}` has to be {kind}, not {value!r}")


def _check_order(path: Path, steps: dict[str, dict]) -> None:
    """What could never begin would be waited for: steps that need each other, and those that need an export, which
    come last."""
    done: set[str] = set()
    while late := [i for i in steps if i not in done]:
        ready = [i for i in late if set(steps[i].get("needs", [])) <= done]
        if not ready:
            raise TrainError(f"{path}: steps {', '.join(late)} need each other")
        done.update(ready)
    for i, step in steps.items():
        behind = [n for n in step.get("needs", []) if steps[n]["do"] == "export"]
        if behind and step["do"] != "export":
            raise TrainError(f"{path}: step {i} needs the export {behind[0]}, but exports come last")


def _each(step: dict) -> list[dict]:
    choices = step.pop("each", {})
    return [_fill(step, dict(zip(choices, map(str, values))))
            for values in itertools.product(*choices.values())]


def _fill(value, places: dict[str, str]):
    if isinstance(value, str):
        for key, place in places.items():
            value = value.replace("{" + key + "}", place)
        return value
    if isinstance(value, list):
        return [_fill(v, places) for v in value]
    if isinstance(value, dict):
        return {k: _fill(v, places) for k, v in value.items()}
    return value


def command(step: dict, work: Path, common: list[str]) -> list[str]:
    out = [sys.executable, "-m", "zeb_train", step["do"], "--out", str(work / step["id"]),
           "--no-energy", *common]
    return out + _options(step)


def _options(step: dict) -> list[str]:
    out = []
    for key, value in step["with"].items():
        flag = "--" + key.replace("_", "-")
        if isinstance(value, dict):
            for k, v in value.items():
                out += [flag, f"{k}={v}"]
        elif isinstance(value, list):
            for v in value:
                out += [flag, str(v)]
        elif value is True:
            out.append(flag)
        elif value is not False:
            out += [flag, str(value)]
    return out


def _marks(recipe: dict, common: list[str]) -> dict[str, str]:
    """What `ID.done` keeps of each step: its command, without where the step's files lie, and a hash of what is kept of
    each step that it needs."""
    steps, out = {s["id"]: s for s in recipe["steps"]}, {}

    def place(word: str) -> str:
        under = [(len(p), k, p) for k, p in recipe.get("places", {}).items() if word == p or word.startswith(p + "/")]
        if not under:
            return word
        _, key, path = max(under)
        return (os.path.abspath(path) if key in ("minilm", "mpnet") else "{" + key + "}") + word[len(path):]

    def mark(i: str) -> str:
        if i not in out:
            words = [steps[i]["do"], *(w for w in common if w in ("--bf16", "--fp16")), *_options(steps[i])]
            needs = {n: hashlib.sha256(mark(n).encode()).hexdigest()[:16] for n in steps[i].get("needs", [])}
            out[i] = json.dumps({"command": list(map(place, words)), "needs": needs}, indent=1) + "\n"
        return out[i]
    return {i: mark(i) for i in steps}


def _check_done(work: Path, done: list[str], marks: dict[str, str]) -> None:
    """An error if steps were done by other commands than the recipe's, or came of such steps."""
    kept = {i: (work / f"{i}.done").read_text() for i in done}
    if unknown := [i for i in done if not kept[i]]:
        log(f"{work}: {', '.join(unknown)} done before their commands were kept: taken to be the recipe's")
    other = [i for i in done if kept[i] and kept[i] != marks[i]]
    if not other:
        return
    said = []
    for i in other:
        was, now = (" ".join(json.loads(text)["command"]).split(" --") for text in (kept[i], marks[i]))
        if was != now:
            then, now = (", ".join(w for w in a if w not in b) or "(nothing)" for a, b in ((was, now), (now, was)))
            said.append(f"{i} ({then}, now {now})")
        else:
            said.append(f"{i} (came of one that has changed)")
    raise TrainError(f"{work}: steps were done by another recipe: {', '.join(said)}. Choose another --work, or, to make them "
                     f"anew, remove {' '.join(f'{work / i} {work / i}.done' for i in other)}")


def run(recipe: dict, work: Path, common: list[str], *args, **kw) -> list[str]:
    """Runs what is not done yet; returns the ids of the steps that failed or could not start, and `ID
    (scoring)` of those that zeb could not score."""
    common, gpus = _placed(common)
    with alone(work):
        return _all(recipe, work, common, gpus, *args, **kw)


def _all(recipe: dict, work: Path, common: list[str], gpus: list[str], jobs: int = 1, only: list[str] = (),
         track: bool = True, country: str = "", zeb: Path | None = None, zeb_device: str = "cpu") -> list[str]:
    steps = {s["id"]: s for s in recipe["steps"]}
    wanted = _closure(steps, list(only) or list(steps))
    done = {i for i in wanted if (work / f"{i}.done").is_file()}
    marks = _marks(recipe, common)
    _check_done(work, [i for i in wanted if i in done], marks)
    exports = [i for i in wanted if steps[i]["do"] == "export"]
    trains = [i for i in wanted if i not in exports and i not in done]
    failed: set[str] = set()
    scores = {}
    if zeb is not None:
        scores = {i: scoring.step_command(steps[i], work, common, zeb, zeb_device) for i in wanted
                  if scoring.wanted(steps[i])}
        steps |= {i: scoring.unscored(steps[i]) for i in scores}
    late = [i for i in scores if i in done and not scoring.marker(work / i).is_file()]
    with energy.tracked(work, f"zeb-train {recipe.get('name', '')}", country, track and bool(trains)):
        unscored = _run(steps, trains, work, common, jobs, gpus, done, failed, marks, scores, late)
    waiting = [i for i in exports if i not in done]
    by = [] if zeb is None else ["--zeb", str(zeb), "--zeb-device", zeb_device]
    _run(steps, waiting, work, [*common, "--emissions", str(work / "emissions.csv"), *by], 1, gpus, done, failed, marks)
    for i in unscored:
        log(f"{i}: NOT SCORED by zeb; see {work / i}.log, and run the recipe again")
    return [*sorted(failed), *(f"{i} (scoring)" for i in sorted(unscored))]


def _run(steps: dict, ids: list[str], work: Path, common: list[str], jobs: int, gpus: list[str], done: set[str],
         failed: set[str], marks: dict[str, str], scores: dict[str, list[str]] | None = None,
         late: list[str] = ()) -> list[str]:
    """Returns the steps whose scoring failed; `scores`: the process that scores a step; `late`: done before,
    but not scored."""
    scores = scores or {}
    waiting, scoring_waits, unscored = list(ids), list(late), []
    running: dict[str, tuple[subprocess.Popen, float, str]] = {}
    scored: dict[str, subprocess.Popen] = {}
    try:
        while waiting or running or scoring_waits or scored:
            for i in list(waiting):
                needs = set(steps[i].get("needs", []))
                if needs & failed:
                    failed.add(i)
                    waiting.remove(i)
                elif needs <= done and len(running) < jobs:
                    taken = [gpu for _, _, gpu in running.values()]
                    gpu = min(gpus, key=taken.count, default="")
                    running[i] = (_spawn(i, command(steps[i], work, common), work, gpu), time.monotonic(), gpu)
                    waiting.remove(i)
            while scoring_waits and len(scored) < jobs:
                i = scoring_waits.pop(0)
                scored[i] = _spawn(i, scores[i], work)
            time.sleep(0.2)
            for i, (process, began, _) in list(running.items()):
                if process.poll() is None:
                    continue
                del running[i]
                good = process.returncode == 0
                (done if good else failed).add(i)
                if good:
                    if i in scores:
                        scoring.marker(work / i).unlink(missing_ok=True)
                        scoring_waits.append(i)
                    store.write_bytes(work / f"{i}.done", marks[i].encode())
                log(f"{i}: {'done' if good else f'FAILED ({process.returncode})'} in "
                    f"{time.monotonic() - began:.0f} s; {len(running)} running, "
                    f"{len(waiting)} waiting")
            for i, process in list(scored.items()):
                if process.poll() is None:
                    continue
                del scored[i]
                if process.returncode != 0:
                    unscored.append(i)
                    log(f"{i}: SCORING FAILED ({process.returncode}); see {work / i}.log")
    finally:
        left = [*(process for process, _, _ in running.values()), *scored.values()]
        for process in left:
            process.terminate()                  # each saves its state and leaves
        for process in left:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
    return unscored


def _closure(steps: dict, ids: list[str]) -> list[str]:
    unknown = set(ids) - set(steps)
    if unknown:
        raise TrainError(f"no step {', '.join(sorted(unknown))}; there are {', '.join(steps)}")
    wanted, todo = set(), list(ids)
    while todo:
        i = todo.pop()
        if i not in wanted:
            wanted.add(i)
            todo += steps[i].get("needs", [])
    return [i for i in steps if i in wanted]


def _placed(common: list[str]) -> tuple[list[str], list[str]]:
    """What every step is told, and the GPUs that steps are spread over, as CUDA_VISIBLE_DEVICES names them; none where
    there is no choice.  A step sees its own GPU alone: the one that `--device cuda:1` names is its first."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    found = named.split(",") if named else [str(i) for i in range(torch.cuda.device_count())]
    device = dict(zip(common, common[1:])).get("--device", "")
    head, colon, index = device.partition(":")
    if head != "cuda" or not colon:
        return common, found if len(found) > 1 else []
    device_of(device)
    return [head if word == device else word for word in common], [found[int(index)]]


def _spawn(name: str, argv: list[str], work: Path, gpu: str = "") -> subprocess.Popen:
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": gpu} if gpu else None
    with open(work / f"{name}.log", "ab") as out:
        return subprocess.Popen(argv, stdout=out, stderr=out, env=env, preexec_fn=follow())
