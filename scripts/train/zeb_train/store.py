"""Files that are whole or absent: atomic writes, Hugging Face directories, training states."""
from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from .bert import Bert, Config, load_state


def write_bytes(path: Path, data: bytes) -> None:
    """Write beside, sync, rename: a reader sees the old file or the new one, never half of one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())
    os.replace(temporary, path)


def write_json(path: Path, value) -> None:
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def sha256(path: Path) -> str:
    h = hashlib.sha256()
    with open(path, "rb") as f:
        while part := f.read(1 << 20):
            h.update(part)
    return h.hexdigest()


def save_model(folder: Path, model: Bert, labels=None, dtype=torch.float32) -> None:
    """config.json last: a directory that has one is complete."""
    state = {k: v.detach().to("cpu", dtype if v.is_floating_point() else v.dtype).contiguous()
             for k, v in model.state_dict().items()}
    write_bytes(Path(folder) / "model.safetensors", save(state, metadata={"format": "pt"}))
    write_json(Path(folder) / "config.json", model.config.hugging_face(labels))


def load_model(folder: Path, num_labels: int | None = None, **changes) -> Bert:
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder}: no complete checkpoint there (config.json missing)")
    if num_labels is not None:
        changes["num_labels"] = num_labels
    model = Bert(Config.read(folder / "config.json", **changes))
    state = load_file(folder / "model.safetensors")
    formats = {}
    if any(k.endswith("_scale") for k in state):
        from . import quantise
        state, formats = quantise.dequantise(state)
    if any(k.startswith("zeb.gate.") for k in state):
        model.add_gates()
    missing = load_state(model, state)
    bad = [k for k in missing if not k.startswith("classifier")]
    if bad:
        raise ValueError(f"{folder}: weights lack {', '.join(bad[:4])}")
    return quantise.wrap(model, formats, fixed=True) if formats else model


def save_training(path: Path, value: dict) -> None:
    import io
    buffer = io.BytesIO()
    torch.save(value, buffer)
    write_bytes(path, buffer.getvalue())


def load_training(path: Path, device) -> dict | None:
    return torch.load(path, map_location=device, weights_only=True) if Path(path).is_file() else None
