"""BERT for sequence classification, small and explicit, with Hugging Face's parameter names.

Two ways through a layer: dense (scaled_dot_product_attention) and sparse (`sparsity` given: explicit
probabilities, importances, token masks, head gates, score thresholds; semantics in
docs/formats/policy.md).  The last layer computes queries, context and FFN of [CLS] alone unless all of
its rows are asked for: the classifier reads nothing else.
"""
from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def read_object(path: Path) -> dict:
    """A JSON object; an error names the file."""
    try:
        raw = json.loads(Path(path).read_text())
    except ValueError as e:
        raise ValueError(f"{path}: not JSON ({e})") from None
    if not isinstance(raw, dict):
        raise ValueError(f"{path}: not a JSON object")
    return raw


@dataclass
class Config:
    vocab_size: int = 30522
    hidden_size: int = 256
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    intermediate_size: int = 1024
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    num_labels: int = 2
    # What is left of heads and FFN neurons, layer by layer, where some were removed for good; the sizes above stay
    # those of the whole model, which costs are told against.
    layer_heads: list[int] | None = None
    layer_ffn: list[int] | None = None

    def __post_init__(self):
        for name, most in (("layer_heads", self.num_attention_heads), ("layer_ffn", self.intermediate_size)):
            left = getattr(self, name)
            if left is not None and (len(left) != self.num_hidden_layers or not all(1 <= n <= most for n in left)):
                raise ValueError(f"config: {name} {left} is not 1..{most} for each of {self.num_hidden_layers} layers")

    @property
    def dim_head(self) -> int:
        return self.hidden_size // self.num_attention_heads

    def heads(self, layer: int) -> int:
        return self.layer_heads[layer] if self.layer_heads else self.num_attention_heads

    def ffn(self, layer: int) -> int:
        return self.layer_ffn[layer] if self.layer_ffn else self.intermediate_size

    @classmethod
    def read(cls, path: Path, **changes) -> "Config":
        raw = read_object(path)
        known = {k: raw[k] for k in cls.__dataclass_fields__ if k in raw}
        for key, default in cls().__dict__.items():
            if key in known and isinstance(default, (int, float)) and not (
                    isinstance(known[key], (int, float)) and known[key] >= 0):
                raise ValueError(f"{path}: {key} is {known[key]!r}, not a number from 0 up")
        if "num_labels" not in raw and "id2label" in raw:
            known["num_labels"] = len(raw["id2label"])
        return cls(**{**known, **changes})

    def hugging_face(self, labels: tuple[str, ...] | None) -> dict:
        """config.json as transformers and the harness read it."""
        out = {"architectures": ["BertForSequenceClassification"], "model_type": "bert",
               "hidden_act": "gelu", "initializer_range": 0.02, "pad_token_id": 0,
               "position_embedding_type": "absolute", **asdict(self)}
        for key in ("layer_heads", "layer_ffn"):
            if out[key] is None:
                del out[key]
        if labels is None:
            out["problem_type"] = "regression"
        else:
            out["id2label"] = {str(i): s for i, s in enumerate(labels)}
            out["label2id"] = {s: i for i, s in enumerate(labels)}
        return out


@dataclass
class Output:
    logits: Tensor                                      # [B, labels]
    hidden: list[Tensor] = field(default_factory=list)  # [B,T,D] a layer, embeddings first
    qkv: tuple[Tensor, ...] = ()                        # last layer's, [B,H,T,d] each
    stats: dict = field(default_factory=dict)           # what the sparse path did


class Embeddings(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        self.word_embeddings = nn.Embedding(c.vocab_size, c.hidden_size)
        self.position_embeddings = nn.Embedding(c.max_position_embeddings, c.hidden_size)
        self.token_type_embeddings = nn.Embedding(c.type_vocab_size, c.hidden_size)
        self.LayerNorm = nn.LayerNorm(c.hidden_size, eps=c.layer_norm_eps)
        self.dropout = nn.Dropout(c.hidden_dropout_prob)

    def forward(self, ids: Tensor, types: Tensor) -> Tensor:
        if ids.shape[1] > len(self.position_embeddings.weight):
            raise ValueError(f"rows of {ids.shape[1]} tokens for a position table of {len(self.position_embeddings.weight)}: "
                             "lower --max-length")
        x = (self.word_embeddings(ids) + self.token_type_embeddings(types)
             + self.position_embeddings.weight[:ids.shape[1]])
        return self.dropout(self.LayerNorm(x))


class AddNorm(nn.Module):
    def __init__(self, c: Config, inner: int):
        super().__init__()
        self.dense = nn.Linear(inner, c.hidden_size)
        self.LayerNorm = nn.LayerNorm(c.hidden_size, eps=c.layer_norm_eps)
        self.dropout = nn.Dropout(c.hidden_dropout_prob)

    def forward(self, inner: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(residual + self.dropout(self.dense(inner)))


class Layer(nn.Module):
    def __init__(self, c: Config, i: int):
        super().__init__()
        self.heads, self.d, self.drop = c.heads(i), c.dim_head, c.attention_probs_dropout_prob
        width = self.heads * self.d
        self.attention = nn.Module()
        self.attention.self = nn.Module()
        for name in ("query", "key", "value"):
            setattr(self.attention.self, name, nn.Linear(c.hidden_size, width))
        self.attention.output = AddNorm(c, width)
        self.intermediate = nn.Module()
        self.intermediate.dense = nn.Linear(c.hidden_size, c.ffn(i))
        self.output = AddNorm(c, c.ffn(i))

    def split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, self.d).transpose(1, 2)

    def project(self, x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of `rows`, keys and values of x, each [B,H,T,d]."""
        a = self.attention.self
        return self.split(a.query(rows)), self.split(a.key(x)), self.split(a.value(x))

    def finish(self, context: Tensor, rows: Tensor, close=lambda inner: inner) -> Tensor:
        """Output projection, residuals, norms and FFN; context [B,H,T,d], rows [B,T,D]; `close` sees what the
        neurons activate."""
        context = context.transpose(1, 2).flatten(2)
        y = self.attention.output(context, rows)
        return self.output(close(F.gelu(self.intermediate.dense(y))), y)

    def dense(self, x: Tensor, rows: Tensor, mask: Tensor):
        q, k, v = self.project(x, rows)
        context = F.scaled_dot_product_attention(q, k, v, attn_mask=mask,
                                                 dropout_p=self.drop if self.training else 0.0)
        return self.finish(context, rows), (q, k, v)

    def probabilities(self, q: Tensor, k: Tensor, alive: Tensor) -> Tensor:
        """Softmax over keys; a key of weight m in `alive` [B,T] enters as m * exp(score)."""
        scores = (q @ k.transpose(2, 3)).float() / math.sqrt(self.d)
        bias = torch.where(alive > 0, torch.log(alive.clamp_min(1e-30)), -torch.inf)
        return torch.softmax(scores + bias[:, None, None, :], dim=-1)


class Encoder(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        self.layer = nn.ModuleList(Layer(c, i) for i in range(c.num_hidden_layers))


class Bert(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        self.config = c
        self.bert = nn.Module()
        self.bert.embeddings = Embeddings(c)
        self.bert.encoder = Encoder(c)
        self.bert.pooler = nn.Module()
        self.bert.pooler.dense = nn.Linear(c.hidden_size, c.hidden_size)
        self.dropout = nn.Dropout(c.hidden_dropout_prob)
        self.classifier = nn.Linear(c.hidden_size, c.num_labels)
        self.apply(_initialise)

    @property
    def layers(self):
        return self.bert.encoder.layer

    def pool(self, cls: Tensor) -> Tensor:
        return self.dropout(torch.tanh(self.bert.pooler.dense(cls)))

    def head(self, cls: Tensor) -> Tensor:
        return self.classifier(self.pool(cls))

    def add_gates(self) -> None:
        """Head gates of every layer but the last; they start open (bias 2, no evidence)."""
        c = self.config
        self.zeb = nn.Module()
        self.zeb.gate = nn.ModuleDict({str(i): nn.Linear(c.hidden_size, c.heads(i))
                                       for i in range(c.num_hidden_layers - 1)})
        for gate in self.zeb.gate.values():
            nn.init.zeros_(gate.weight)
            nn.init.constant_(gate.bias, 2.0)

    def forward(self, ids: Tensor, types: Tensor, live: Tensor, hidden: bool = False,
                full_last: bool = False, sparsity=None) -> Output:
        x = self.bert.embeddings(ids, types)
        if sparsity is not None:
            return self._sparse(x, live, sparsity, hidden)
        states, qkv, last = [x], (), len(self.layers) - 1
        mask = live[:, None, None, :]
        for i, layer in enumerate(self.layers):
            rows = x[:, :1] if i == last and not full_last else x
            x, qkv = layer.dense(x, rows, mask)
            states.append(x)
        return Output(self.head(x[:, 0]).float(), states if hidden else [], qkv)

    def _sparse(self, x: Tensor, live: Tensor, sparsity, hidden: bool) -> Output:
        """`sparsity` decides (see sparsity.py); this only applies its decisions in order."""
        alive, states = live.to(torch.float32), [x]
        last = len(self.layers) - 1
        sparsity.begin(live)
        for i, layer in enumerate(self.layers):
            rows = x[:, :1] if i == last else x
            gate = sparsity.heads(i, self, x, alive)
            q, k, v = layer.project(x, rows)
            p = layer.probabilities(q, k, alive)
            after = sparsity.tokens(i, p, alive, gate) if i < last else alive
            p = F.dropout(sparsity.scores(i, p), layer.drop, self.training)
            context = p.to(v.dtype) @ v
            if gate is not None:
                context = context * gate[:, :, None, None].to(context.dtype)
            if i < last:
                sparsity.gave(context, after)
            x = layer.finish(context, rows, lambda inner, i=i: sparsity.close(i, inner))
            sparsity.count(i, alive, after, gate)
            sparsity.leave(i, x)
            alive = after
            states.append(x)
        logits = sparsity.join(self.head(x[:, 0]).float())
        return Output(logits, states if hidden else [], (), sparsity.stats())


def _initialise(module: nn.Module) -> None:
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)


def load_state(model: nn.Module, state: dict[str, Tensor]) -> list[str]:
    """Loads what fits by name (with or without the `bert.` prefix); returns what was not found."""
    own = model.state_dict()
    found = {}
    for name, value in state.items():
        for key in (name, "bert." + name):
            if key in own and own[key].shape == value.shape:
                found[key] = value.to(own[key].dtype)
                break
    model.load_state_dict({**own, **found})
    return sorted(set(own) - set(found))
