"""INT8 and INT4 exactly as the harness defines them (docs/formats/quantisation.md, zeb/number.h).

INT8: one row (an output channel, or a token's activations) has scale max/127; q = rint(x * (127/max)) in
binary32.  INT4: a group of 32 or 64 along K has scale binary16(max/7); q = rint(w / scale) in [-7,7].
The encoder's six matrices a layer are quantised, and for shipping the embedding tables, a row being a word
(INT4: the words alone; positions and types are small and INT8), and the pooler if asked; the classifier stays.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import store
from .bert import Bert

TINY = 2.0 ** -100


def _divide(a: Tensor | float, b: Tensor | float) -> Tensor:
    """One correctly rounded division an element.  With a number on either side, torch multiplies by a rounded
    reciprocal (number / tensor everywhere, tensor / number on CUDA): both sides must be tensors."""
    like = a if isinstance(a, Tensor) else b
    a, b = (x if isinstance(x, Tensor) else torch.full_like(like, x) for x in (a, b))
    return a / b


def int8_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """q (int8) and scale (fp32, one a row of the last extent) of x; of a row that is not finite a scale that is not,
    so that no number of its results is."""
    x = x.float()
    most = x.abs().amax(-1)
    real = most >= TINY
    inv = torch.where(real, _divide(127.0, torch.where(real, most, 1.0)), 0.0)
    q = torch.round(x * inv[..., None]).to(torch.int8)
    return q, torch.where(real, _divide(most, 127.0), torch.where(most.isnan(), most, 0.0))


def int4_scale(groups: Tensor) -> Tensor:
    """binary16 scale of each group (last extent); NaN of one that is not finite."""
    most = groups.float().abs().amax(-1)
    scale = _divide(most, 7.0).to(torch.float16).clamp(max=65504.0)
    return torch.where(torch.isfinite(most), scale, torch.nan)


def int4_groups(w: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """q in [-7,7] (int8) [N,K] and scale (fp16) [N,K/group]."""
    n, k = w.shape
    if k % group:
        raise ValueError(f"{k} columns are no multiple of the group {group}")
    parts = w.float().view(n, k // group, group)
    scale = int4_scale(parts)
    return int4_round(parts, scale).view(n, k), scale


def int4_round(parts: Tensor, scale: Tensor) -> Tensor:
    s = scale.float()[..., None]
    return torch.where(s > 0, torch.round(parts / s.clamp_min(1e-30)), 0.0).clamp(-7, 7).to(torch.int8)


def pack4(q: Tensor) -> Tensor:
    """[N,K] in [-7,7] -> [N,K/2] bytes of q+8, low nibble the even k."""
    u = (q.to(torch.int16) + 8).to(torch.uint8)
    return u[:, 0::2] | (u[:, 1::2] << 4)


def unpack4(packed: Tensor) -> Tensor:
    low, high = packed & 15, packed >> 4
    return torch.stack([low, high], -1).flatten(1).to(torch.int8) - 8


def int8_values(x: Tensor) -> Tensor:
    q, scale = int8_rows(x)
    return q.float() * scale[..., None]


def int4_values(w: Tensor, group: int) -> Tensor:
    q, scale = int4_groups(w, group)
    return (q.view(w.shape[0], -1, group).float() * scale.float()[..., None]).view(w.shape)


@dataclass(frozen=True)
class Format:
    bits: int = 8
    group: int = 0                   # 0: a scale an output channel (INT8)
    acts: bool = True                # activations INT8 a row (W8A8, W4A8), or left alone (W4A16)

    @classmethod
    def of(cls, name: str) -> "Format":
        """int8, int4 (group 32, INT8 activations), int4-64, int4-a16."""
        head, *rest = name.split("-")
        if head not in ("int8", "int4") or set(rest) - {"32", "64", "a16"}:
            raise ValueError(f"unknown number format {name!r}")
        group = 64 if "64" in rest else 32
        return cls(8) if head == "int8" else cls(4, group, "a16" not in rest)

    def values(self, w: Tensor) -> Tensor:
        return int8_values(w) if self.bits == 8 else int4_values(w, self.group)


class QuantLinear(nn.Linear):
    """A Linear that computes with quantised weights and activations; gradients pass straight through."""
    format: Format
    fixed = False                     # the weights already are quantised values

    def forward(self, x: Tensor) -> Tensor:
        w = self.weight
        if not self.fixed:
            w = w + (self.format.values(w) - w).detach()
        if self.format.acts:
            x = x + (int8_values(x).to(x.dtype) - x).detach()
        return F.linear(x, w.to(x.dtype) if torch.is_autocast_enabled() else w, self.bias)


def matrices(model: Bert):
    """(name, module) of every matrix that is quantised, in order."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and name.startswith("bert.encoder."):
            yield name, module


def wrap(model: Bert, formats: dict[str, Format] | Format, fixed: bool = False) -> Bert:
    """Makes the named matrices (or all of the encoder's) compute in their formats, in place; parameter names do
    not change."""
    if isinstance(formats, Format):
        formats = {name: formats for name, _ in matrices(model)}
    for name, how in formats.items():
        module = model.get_submodule(name)
        if isinstance(module, nn.Linear):
            module.__class__ = QuantLinear
            module.format, module.fixed = how, fixed
    return model


def unwrap(model: Bert) -> Bert:
    for module in model.modules():
        if isinstance(module, QuantLinear):
            module.__class__ = nn.Linear
    return model


Rounded = dict[str, tuple[Tensor, Tensor]]        # matrix -> (q, scale), where they are chosen already


def tensors(model: Bert, formats: dict[str, Format], rounded: Rounded | None = None,
            rest=torch.float16) -> dict[str, Tensor]:
    """The state as it is stored: I8 / U8 matrices with their scales, all else in `rest`."""
    state = {k: v.detach().cpu() for k, v in model.state_dict().items()}
    for name, (q, scale) in (rounded or {}).items():
        if name in formats:
            _finite(f"{name}.weight", state[f"{name}.weight"])
            state[f"{name}.weight"], state[f"{name}.weight_scale"] = pack4(q).contiguous(), scale
    return shipped(state, formats, rest)


def tables(names) -> dict[str, str]:
    """{module: key} of the embedding tables among a state's keys."""
    return {k.removesuffix(".weight"): k for k in names if k.endswith("_embeddings.weight")}


def wanted(model: Bert, weights: str = "keep", embeddings: str = "keep", pooler: str = "keep") -> dict[str, Format]:
    """The format of each matrix and table of a model that is to be stored in codes."""
    formats = {}
    if weights != "keep":
        formats.update({n: Format.of(weights) for n, _ in matrices(model)})
    if pooler != "keep":
        formats["bert.pooler.dense"] = Format.of(pooler)
    if embeddings != "keep":
        for name in tables(model.state_dict()):
            formats[name] = Format.of(embeddings if name.endswith("word_embeddings") else "int8")
    return formats


def _finite(key: str, value: Tensor) -> Tensor:
    if not bool(torch.isfinite(value).all()):
        raise ValueError(f"{key}: not finite as {str(value.dtype).removeprefix('torch.')}: weights like that are not stored")
    return value


def shipped(state: dict[str, Tensor], formats: dict[str, Format], rest: torch.dtype) -> dict[str, Tensor]:
    """A stored state in the form that ships: float tensors named in `formats` become codes with scales, the other
    ones `rest`; what is stored as codes already stays."""
    out = {}
    for key, value in state.items():
        how = formats.get(key.removesuffix(".weight")) if key.endswith(".weight") else None
        codes = not value.is_floating_point() or key.endswith("_scale")
        if codes or how is None:
            out[key] = value if codes else _finite(key, value.to(rest)).contiguous()
        elif how.bits == 8:
            out[key], out[key + "_scale"] = int8_rows(_finite(key, value))
        else:
            q, out[key + "_scale"] = int4_groups(_finite(key, value), how.group)
            out[key] = pack4(q).contiguous()
    return out


def write(folder: Path, model: Bert, formats: dict[str, Format], labels,
          rounded: Rounded | None = None) -> None:
    store.save_tensors(folder, tensors(model, formats, rounded))
    store.write_json(Path(folder) / "config.json", model.config.hugging_face(labels))


def dequantise(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Format]]:
    """Float tensors of a stored state, and the format each matrix was in."""
    out, formats = {}, {}
    for key, value in state.items():
        if key.endswith("_scale"):
            continue
        scale = state.get(key + "_scale")
        name = key.removesuffix(".weight")
        if scale is None:
            out[key] = value
        elif value.dtype == torch.int8:
            out[key], formats[name] = value.float() * scale[:, None], Format(8)
        else:
            q = unpack4(value)
            group = q.shape[1] // scale.shape[1]
            out[key] = (q.view(len(q), -1, group).float() * scale.float()[..., None]).view(q.shape)
            formats[name] = Format(4, group)
    return out, formats
