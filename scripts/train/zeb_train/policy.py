"""policy.json (docs/formats/policy.md): what each layer skips.  Reading checks everything; writing is atomic."""
from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from . import store

SCHEMA = "zeb-policy-1"
THRESHOLDS = ("threshold", "relative")   # of importance, of importance x rows
MODES = (*THRESHOLDS, "topk", "ratio")


class PolicyError(ValueError):
    """A policy that is malformed or belongs to another model."""


@dataclass
class LayerPolicy:
    mode: str | None = None            # token selection: one of MODES; None keeps all
    value: float = 0.0
    score_threshold: float = 0.0
    gated: bool = False                # the model holds zeb.gate.L.{weight,bias}

    def json(self, number: int) -> dict:
        value = int(self.value) if self.mode == "topk" else float(self.value)
        name = f"zeb.gate.{number}"
        return {"tokens": {"mode": self.mode, "value": value} if self.mode else None,
                "score_threshold": float(self.score_threshold),
                "heads": {"weight": f"{name}.weight", "bias": f"{name}.bias"} if self.gated
                else None, "ffn": None}


@dataclass
class Policy:
    name: str
    layers: list[LayerPolicy] = field(default_factory=list)
    floor: int = 2
    keep_last: bool = False

    def write(self, folder: Path) -> None:
        weights = store.shards(folder)
        store.write_json(Path(folder) / "policy.json", {
            "schema": SCHEMA, "name": self.name,
            "model_sha256": store.model_sha256(folder) if weights[0].is_file() else None,
            "floor": self.floor, "keep_last": self.keep_last,
            "layers": [layer.json(i) for i, layer in enumerate(self.layers)]})


def dense(name: str, layers: int) -> Policy:
    return Policy(name, [LayerPolicy() for _ in range(layers)])


def read(path: Path, weights: Path | None = None) -> Policy:
    """Reads and checks; with `weights` (a checkpoint's folder, or its only file), also that it was made for that."""
    path = Path(path)
    try:
        raw = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as e:
        raise PolicyError(f"{path}: {e}") from None
    if raw.get("schema") != SCHEMA:
        raise PolicyError(f"{path}: schema is {raw.get('schema')!r}, not {SCHEMA!r}")
    wanted = raw.get("model_sha256")
    if weights is not None and wanted is not None and wanted != store.model_sha256(weights):
        raise PolicyError(f"{path}: made for another model (sha256 {wanted[:12]}...)")
    out = Policy(raw.get("name", ""), [], int(raw.get("floor", 2)), bool(raw.get("keep_last", False)))
    if out.floor < 1:
        raise PolicyError(f"{path}: floor {out.floor} would let a sequence vanish")
    for i, layer in enumerate(raw.get("layers", [])):
        tokens = layer.get("tokens") or {}
        mode, value = tokens.get("mode"), float(tokens.get("value", 0.0))
        if mode is not None and mode not in MODES:
            raise PolicyError(f"{path}: layer {i}: unknown token mode {mode!r}")
        most = {"threshold": 1.0, "relative": 1000.0}.get(mode, value)
        if mode == "ratio" and not 0.0 < value <= 1.0 or mode == "topk" and value < 1 \
                or mode in THRESHOLDS and not 0.0 <= value <= most:
            raise PolicyError(f"{path}: layer {i}: {mode} {value} is out of range")
        out.layers.append(LayerPolicy(mode, value, float(layer.get("score_threshold", 0.0)),
                                      layer.get("heads") is not None))
    return out
