"""Files that are whole or absent: atomic writes, Hugging Face directories, training states."""
from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from .bert import Bert, Config, load_state, read_object
from .process import gone
from .tokens import Packed

INDEX = "model.safetensors.index.json"


def write_bytes(path: Path, data: bytes) -> None:
    """Write beside, sync, rename: a reader sees the old file or the new one, never half of one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
    except OSError as e:                           # a full disk must not stay full of halves
        temporary.unlink(missing_ok=True)
        raise OSError(e.errno, e.strerror, str(path)) from None


def write_json(path: Path, value) -> None:
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def sha256(path: Path) -> str:
    h = hashlib.sha256()
    with open(path, "rb") as f:
        while part := f.read(1 << 20):
            h.update(part)
    return h.hexdigest()


def shards(folder: Path) -> list[Path]:
    """The checkpoint's safetensors files: model.safetensors, or those its index names, in their names' order.
    A name leads at most one folder up (docs/formats/quantisation.md)."""
    folder = Path(folder)
    single, index = folder / "model.safetensors", folder / INDEX
    if single.is_file() or not index.is_file():
        return [single]
    names = read_object(index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(n, str) for n in names.values()):
        raise ValueError(f"{index}: weight_map is no object of file names")
    names = sorted(set(names.values()))
    for name in names:
        parts = name.removeprefix("../").split("/")
        if any(p in ("", ".", "..") for p in parts):
            raise ValueError(f"{index}: {name!r} is not the name of a file in this folder or beside it")
    return [folder / name for name in names]


def model_sha256(model: Path) -> str:
    """As the harness has it: of the only file, or of the shards' hashes as text, one after the other."""
    files = shards(model) if Path(model).is_dir() else [model]
    hashes = [sha256(f) for f in files]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def load_shard(file: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(file)
    except SafetensorError as e:
        raise ValueError(f"{file}: not whole, or no safetensors file ({e})") from None


def load_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor as it is stored."""
    out = {}
    for file in shards(folder):
        part = load_shard(file)
        both = out.keys() & part.keys()
        if both:
            raise ValueError(f"{file}: {min(both)} is in another shard too")
        out.update(part)
    return out


def save_tensors(folder: Path, state: dict[str, torch.Tensor], words: Path | None = None) -> None:
    """model.safetensors; with `words`, a file in a folder beside this one, the word table is there and the rest in
    encoder.safetensors, under an index.  The shared file is written once: another table is an error.  What the other of
    the two ways left in the folder goes: its weights would be found first, or lie about."""
    folder, meta = Path(folder), {"format": "pt"}
    if words is None:
        write_bytes(folder / "model.safetensors", save(state, metadata=meta))
        for name in (INDEX, "encoder.safetensors"):
            (folder / name).unlink(missing_ok=True)
        return
    words = Path(words)
    if words.resolve().parent.parent != folder.resolve().parent:
        raise ValueError(f"{words}: shared words must be in a folder beside {folder}")
    shared = {k: v for k, v in state.items() if "word_embeddings." in k}
    if not words.is_file():
        write_bytes(words, save(shared, metadata=meta))
    there = load_file(words)
    if there.keys() != shared.keys() or not all(torch.equal(there[k], shared[k]) for k in there):
        raise ValueError(f"{words}: its word table is not that of the model for {folder}")
    own = {k: v for k, v in state.items() if k not in shared}
    write_bytes(folder / "encoder.safetensors", save(own, metadata=meta))
    name = f"../{words.resolve().parent.name}/{words.name}"
    write_json(folder / INDEX, {
        "metadata": {"total_size": sum(v.nbytes for v in state.values())},
        "weight_map": {k: name if k in shared else "encoder.safetensors" for k in sorted(state)}})
    (folder / "model.safetensors").unlink(missing_ok=True)


def save_model(folder: Path, model: Bert, labels=None, dtype=torch.float32) -> None:
    """config.json last: a directory that has one is complete."""
    state = {k: v.detach().to("cpu", dtype if v.is_floating_point() else v.dtype).contiguous()
             for k, v in model.state_dict().items()}
    save_tensors(folder, state)
    write_json(Path(folder) / "config.json", model.config.hugging_face(labels))


def load_model(folder: Path, num_labels: int | None = None, **changes) -> Bert:
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder}: no complete checkpoint there (config.json missing)")
    if num_labels is not None:
        changes["num_labels"] = num_labels
    from . import mpnet
    teacher = mpnet.is_mpnet(folder)
    model = (mpnet.Mpnet(mpnet.config(folder, **changes)) if teacher
             else Bert(Config.read(folder / "config.json", **changes)))
    state = mpnet.renamed(folder, load_tensors(folder)) if teacher else load_tensors(folder)
    formats = {}
    if any(k.endswith("_scale") for k in state):
        from . import quantise
        state, formats = quantise.dequantise(state)
    if any(k.startswith("zeb.gate.") for k in state):
        model.add_gates()
    missing = load_state(model, state)
    model.headless = any(k.startswith("classifier") for k in missing)
    bad = [k for k in missing if not k.startswith("classifier")]
    if bad:
        raise ValueError(f"{folder}: weights lack {', '.join(bad[:4])}")
    return quantise.wrap(model, formats, fixed=True) if formats else model


def load_for(folder: Path, task) -> Bert:
    """A model whose answers count, scored or taught: they come from a head of its own, made for the task."""
    model = load_model(folder)
    if model.headless:
        raise ValueError(f"{folder}: has no classifier: fine-tune it on {task.name} first")
    if model.config.num_labels != task.num_labels:
        raise ValueError(f"{folder}: gives {model.config.num_labels} outputs, {task.name} has {task.num_labels}")
    return model


def save_heads(folder: Path, heads: torch.nn.ModuleDict) -> None:
    """Classifiers learned beside a task-agnostic encoder, by the name of their task."""
    state = {k: v.detach().float().cpu().contiguous() for k, v in heads.state_dict().items()}
    write_bytes(Path(folder) / "heads.safetensors", save(state))


def load_heads(folder: Path) -> torch.nn.ModuleDict | None:
    path = Path(folder) / "heads.safetensors"
    if not path.is_file():
        return None
    state = load_file(path)
    heads = torch.nn.ModuleDict()
    for name in sorted({k.rpartition(".")[0] for k in state}):
        weight = state[f"{name}.weight"]
        heads[name] = torch.nn.Linear(weight.shape[1], weight.shape[0])
    heads.load_state_dict(state)
    return heads


def start(folder: Path, task, **changes) -> Bert:
    """A model to fine-tune on a task: with the task's own head where the encoder has learned one."""
    model = load_model(folder, num_labels=task.num_labels, **changes)
    heads = load_heads(folder)
    if heads is not None and task.name in heads:
        model.classifier.load_state_dict(heads[task.name].state_dict())
    return model


def save_training(path: Path, value: dict) -> None:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    write_bytes(path, buffer.getvalue())


def load_training(path: Path, device) -> dict | None:
    """None where there is none; what processes that were killed in the middle of writing one left is removed."""
    path = Path(path)
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        if gone(int(left.name.split(".")[-2])):
            left.unlink(missing_ok=True)
    if not path.is_file():
        return None
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as e:                         # whatever a damaged archive makes of it
        raise ValueError(f"{path}: cannot be read ({type(e).__name__}): remove it to begin anew") from None


def save_packed(path: Path, packed: Packed, **more: np.ndarray) -> None:
    """Encoded rows and, row by row, whatever goes with them (answers, say)."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, ids=packed.ids.astype(np.uint16), types=packed.types,
                        length=packed.length.astype(np.uint16), label=packed.label.astype(np.float32),
                        group=packed.group.astype(np.int32), **more)
    write_bytes(path, buffer.getvalue())


def load_packed(path: Path) -> tuple[Packed, dict[str, np.ndarray]]:
    with np.load(path) as f:
        x = dict(f)
    length = x.pop("length").astype(np.int64)
    start = np.concatenate([[0], np.cumsum(length)[:-1]]).astype(np.int64)
    return Packed(x.pop("ids").astype(np.int32), x.pop("types"), start, length, x.pop("label"),
                  x.pop("group").astype(np.int64)), x
