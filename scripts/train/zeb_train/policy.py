"""policy.json (docs/formats/policy.md): what each layer skips.  Reading checks everything; writing is atomic."""
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from safetensors.torch import load_file, save
from torch import nn

from . import store
from .bert import read_object

SCHEMA = "zeb-policy-1"
EXITS = ".exits.safetensors"            # behind a policy's own name: several may lie beside one checkpoint
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
    block: int = 0                     # FFN neurons closed together; 0: none are
    block_threshold: float = 0.0
    confidence: float = 0.0            # of those that leave behind the layer (Policy.exits); 0: nobody
    heads_kept: int = 0                # the heads that gave most in the layers before; 0: not so

    def json(self, number: int) -> dict:
        value = int(self.value) if self.mode == "topk" else float(self.value)
        name, out = f"zeb.gate.{number}", f"zeb.exit.{number}"
        return {"tokens": {"mode": self.mode, "value": value} if self.mode else None,
                "score_threshold": float(self.score_threshold),
                "heads": {"weight": f"{name}.weight", "bias": f"{name}.bias"} if self.gated
                else {"keep": self.heads_kept} if self.heads_kept else None,
                "ffn": {"block": self.block, "threshold": float(self.block_threshold)}
                if self.block else None,
                "exit": {"weight": f"{out}.weight", "bias": f"{out}.bias",
                         "confidence": float(self.confidence)} if self.confidence else None}


@dataclass
class Policy:
    name: str
    layers: list[LayerPolicy] = field(default_factory=list)
    floor: int = 2
    keep_last: bool = False
    exits: dict[int, nn.Linear] = field(default_factory=dict)   # heads of the layers with a confidence
    precisions: list[str] | None = None          # for the harness, as it was read
    provenance: object = None

    def _write_exits(self, path: Path) -> dict | None:
        """The heads beside the policy, under its name; what it says of them."""
        state = {f"zeb.exit.{i}.{name}": value.detach().float().cpu().contiguous()
                 for i, head in self.exits.items() for name, value in head.state_dict().items()}
        if not state:
            return None
        path = path.with_name(path.stem + EXITS)
        store.write_bytes(path, save(state))
        return {"file": path.name, "sha256": store.sha256(path)}

    def write(self, folder: Path, path: Path | None = None) -> None:
        """For the checkpoint in `folder`, as its policy.json or elsewhere."""
        path, weights = Path(path or Path(folder) / "policy.json"), store.shards(folder)
        kept = {"precisions": self.precisions, "provenance": self.provenance}
        store.write_json(path, {
            "schema": SCHEMA, "name": self.name,
            "model_sha256": store.model_sha256(folder) if weights[0].is_file() else None,
            "floor": self.floor, "keep_last": self.keep_last, "weights": self._write_exits(path),
            "layers": [layer.json(i) for i, layer in enumerate(self.layers)],
            **{k: v for k, v in kept.items() if v is not None}})


def dense(name: str, layers: int) -> Policy:
    return Policy(name, [LayerPolicy() for _ in range(layers)])


def read(path: Path, weights: Path | None = None) -> Policy:
    """Reads and checks; with `weights` (a checkpoint's folder, or its only file), also that it was made for that."""
    path = Path(path)
    try:
        raw = read_object(path)
    except (OSError, ValueError) as e:
        raise PolicyError(str(e)) from None
    try:
        return _parse(path, raw, weights)
    except (TypeError, AttributeError, KeyError) as e:
        raise PolicyError(f"{path}: a value is missing or of the wrong type ({e})") from None


def _parse(path: Path, raw: dict, weights: Path | None) -> Policy:
    if raw.get("schema") != SCHEMA:
        raise PolicyError(f"{path}: schema is {raw.get('schema')!r}, not {SCHEMA!r}")
    wanted = raw.get("model_sha256")
    if weights is not None and wanted is not None and wanted != store.model_sha256(weights):
        raise PolicyError(f"{path}: made for another model (sha256 {wanted[:12]}...)")
    out = Policy(raw.get("name", ""), [], int(raw.get("floor", 2)), bool(raw.get("keep_last", False)),
                 precisions=raw.get("precisions"), provenance=raw.get("provenance"))
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
        ffn, leave, heads = layer.get("ffn") or {}, layer.get("exit") or {}, layer.get("heads") or {}
        kept, before = heads.get("keep", 0), out.layers[-1].heads_kept if i else 0
        if kept and (i == 0 or kept < 1 or before and kept > before) or before and not kept:
            raise PolicyError(f"{path}: layer {i}: heads that were dropped don't come back, and layer 0 keeps all")
        if leave and not 0.0 < leave["confidence"] <= 1.0 or ffn and not 0.0 <= ffn["threshold"] <= 1000.0:
            raise PolicyError(f"{path}: layer {i}: a confidence or threshold is out of range")
        out.layers.append(LayerPolicy(mode, value, float(layer.get("score_threshold", 0.0)),
                                      "weight" in heads, int(ffn.get("block", 0)),
                                      float(ffn.get("threshold", 0.0)), float(leave.get("confidence", 0.0)), kept))
    if any(layer.confidence for layer in out.layers):
        out.exits = _read_exits(path, raw)
    return out


def _read_exits(path: Path, raw: dict) -> dict[int, nn.Linear]:
    weights = raw.get("weights")
    if weights is None:
        raise PolicyError(f"{path}: exits need \"weights\"")
    file = path.parent / weights["file"]
    if not file.is_file() or store.sha256(file) != weights["sha256"]:
        raise PolicyError(f"{file}: not there, or not the weights that {path} was written with")
    state, exits = load_file(file), {}
    for i, layer in enumerate(raw["layers"]):
        if layer.get("exit"):
            weight = state[layer["exit"]["weight"]]
            exits[i] = nn.Linear(weight.shape[1], weight.shape[0])
            exits[i].load_state_dict({"weight": weight, "bias": state[layer["exit"]["bias"]]})
    return exits
