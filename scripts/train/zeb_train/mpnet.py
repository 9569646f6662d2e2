"""MPNet (arXiv 2004.09297) as a teacher: BERT's layers, and for each head a bias that depends on how far apart two
tokens are.  Read from a Hugging Face folder in BERT's vocabulary order, so that one encoding of a text serves
teachers and students; two texts are parted by one [SEP], by the second's place alone it is told (no token types).
"""
from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from .bert import Bert, Config, Output, read_object

# BERT's special tokens by id, and MPNet's names of them.
_SPECIAL = {0: "<pad>", 101: "<s>", 102: "</s>", 103: "<mask>"}


@dataclass
class MpnetConfig(Config):
    relative_buckets: int = 32

    def hugging_face(self, labels: tuple[str, ...] | None) -> dict:
        return {**super().hugging_face(labels), "architectures": ["zeb_train.mpnet.Mpnet"], "model_type": "zeb-mpnet"}


class Mpnet(Bert):
    def __init__(self, c: MpnetConfig):
        super().__init__(c)
        self.relative = nn.Embedding(c.relative_buckets, c.num_attention_heads)
        self.relative.weight.requires_grad_(False)       # a bias that learns rules the fast kernels out

    def bias(self, length: int) -> Tensor:
        """[H,T,T]: half the buckets a direction, exact up to half of those, then by the logarithm of the distance."""
        half = self.config.relative_buckets // 2
        at = torch.arange(length, device=self.relative.weight.device)
        ahead = at[None, :] - at[:, None]
        far, exact = ahead.abs(), half // 2
        by_log = exact + (torch.log(far.clamp_min(1).float() / exact) / math.log(128 / exact)
                          * (half - exact)).long()
        bucket = torch.where(far < exact, far, by_log.clamp(max=half - 1)) + half * (ahead > 0)
        return self.relative(bucket).permute(2, 0, 1)

    def forward(self, ids: Tensor, types: Tensor, live: Tensor, hidden: bool = False,
                full_last: bool = False, sparsity=None) -> Output:
        if sparsity is not None:
            raise ValueError("MPNet is a teacher: it is not pruned")
        x = self.bert.embeddings(ids, torch.zeros_like(types))
        states, qkv, last = [x], (), len(self.layers) - 1
        device = x.device.type
        like = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        mask = torch.where(live[:, None, None, :], self.bias(ids.shape[1])[None], -torch.inf).to(like)
        for i, layer in enumerate(self.layers):
            cut = i == last and not full_last
            x, qkv = layer.dense(x, x[:, :1] if cut else x, mask[:, :, :1] if cut else mask)
            states.append(x)
        return Output(self.head(x[:, 0]).float(), states if hidden else [], qkv)


def is_mpnet(folder: Path) -> bool:
    return read_object(Path(folder) / "config.json").get("model_type") in ("mpnet", "zeb-mpnet")


def config(folder: Path, **changes) -> MpnetConfig:
    raw = json.loads((Path(folder) / "config.json").read_text())
    if raw["model_type"] == "mpnet":
        changes = {"vocab_size": raw["vocab_size"] - 5, "max_position_embeddings": raw["max_position_embeddings"] - 2,
                   "type_vocab_size": 1, "layer_norm_eps": raw["layer_norm_eps"],
                   "relative_buckets": raw["relative_attention_num_buckets"], **changes}
    return MpnetConfig.read(Path(folder) / "config.json", **changes)


def renamed(folder: Path, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A Hugging Face state under BERT's names, its words in BERT's order, its positions from 0."""
    if "encoder.relative_attention_bias.weight" not in state:
        return state
    out = {"relative.weight": state.pop("encoder.relative_attention_bias.weight")}
    words = state.pop("embeddings.word_embeddings.weight")
    place = {t: i for i, t in enumerate((Path(folder) / "vocab.txt").read_text(encoding="utf-8").split("\n"))}
    order = torch.arange(4, len(words) - 1)              # four specials before BERT's own, <mask> behind
    for i, name in _SPECIAL.items():
        order[i] = place[name]
    out["bert.embeddings.word_embeddings.weight"] = words[order]
    out["bert.embeddings.position_embeddings.weight"] = state.pop("embeddings.position_embeddings.weight")[2:]
    out["bert.embeddings.token_type_embeddings.weight"] = torch.zeros(1, words.shape[1])
    for name, value in state.items():
        for theirs, ours in ((".attention.attn.q.", ".attention.self.query."), (".attention.attn.k.", ".attention.self.key."),
                             (".attention.attn.v.", ".attention.self.value."), (".attention.attn.o.", ".attention.output.dense."),
                             (".attention.LayerNorm.", ".attention.output.LayerNorm.")):
            name = name.replace(theirs, ours)
        out["bert." + name] = value
    return out
