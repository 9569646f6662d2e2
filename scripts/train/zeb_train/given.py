"""What a run was given that its result depends on: kept with its state and its result, so that neither is gone on from
or shown for anything else.  Files stand by what is in them, not by where they lie.
"""
from __future__ import annotations

import hashlib
from pathlib import Path

from . import store
from .tasks import get

# Where and how fast it computes, what its energy is reckoned by, and what is scored when the result is there.
_FREE = {"device", "no_energy", "country", "out", "evaluate", "format", "target"}
_SETTINGS = {"set", "seed", "max_minutes"}             # in loop.Settings
# Of a checkpoint or a pool, what a run reads.
_READ = ("config.json", "heads.safetensors", "hidden.pt", "pairs.npz", "pool.safetensors")


def arguments(args, vocab: Path) -> dict[str, str]:
    """By name, as text."""
    out = {k: v for k, v in vars(args).items() if k not in _FREE | _SETTINGS}
    for key in ("weight", "prune", "structure", "without"):
        if key in out:
            out[key] = sorted(out[key])
    for key in ("start", "teacher", "pool", "config"):
        if out.get(key):
            paths = out[key] if isinstance(out[key], list) else [out[key]]
            out[key] = [f"{path.name}@{_hash(path)}" for path in paths]
    out["vocab"], out["data"] = _hash(vocab), _data(args)
    return {k: " ".join(map(str, v)) if isinstance(v, list) else "" if v is None else str(v) for k, v in out.items()}


def _hash(path: Path) -> str:
    files = [path]
    if path.is_dir():
        files = [f for f in (*(path / name for name in _READ), *store.shards(path)) if f.is_file()]
    if not all(f.is_file() for f in files):
        return "missing"                               # which is an error, when it is opened
    return hashlib.sha256("".join(f.name + store.sha256(f) for f in files).encode()).hexdigest()[:12]


def _data(args) -> str:
    """Names and sizes of the task's files, without a task of all that is read."""
    task = getattr(args, "task", None)
    tops = [get(task).folder] if task else ["glue", "superglue", "wikitext2", "wordnet"]
    files = [p for top in tops for p in sorted((args.data / top).rglob("*")) if p.is_file()]
    sizes = "".join(f"{p.relative_to(args.data)} {p.stat().st_size}\n" for p in files)
    return f"{len(files)} files, {hashlib.sha256(sizes.encode()).hexdigest()[:12]}"
