#!/usr/bin/env python3
"""Writes the fixtures of tests/unit/models/golden: small BERT checkpoints with random weights, and what Hugging Face
`transformers` answers for them.

A folder a case: config.json and model.safetensors (or shards) as a checkpoint has them, and golden.safetensors with a
ragged batch and its logits: offsets I32 [B+1], ids I32 [T], types I32 [T], logits F32 [B, labels]. The weights are
spread far wider than an initialised model's, so that every layer bends the result; weights of F16 and BF16 are
rounded first and the reference then runs in binary32 (checked against binary64).

Usage: make_bert_logits.py [--out tests/unit/models/golden]
Needs: pip install torch transformers safetensors numpy
"""
import argparse
import json
import pathlib
import shutil

import numpy
import torch
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file
from transformers import BertConfig, BertForSequenceClassification

# name: configuration, type of the stored weights, how the names are spelled, lengths of the sequences
CASES = {
    "regression": (dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=40, num_labels=1),
                   torch.float32, "plain", [1, 2, 9, 24]),
    "odd": (dict(hidden_size=15, num_hidden_layers=2, num_attention_heads=3, intermediate_size=37, num_labels=3,
                 hidden_act="gelu_new", vocab_size=53, max_position_embeddings=19, layer_norm_eps=0.02),
            torch.float32, "plain", [19, 1, 5]),
    "relu-f16": (dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64, num_labels=2,
                      hidden_act="relu", id2label={0: "bad", 1: "good"}), torch.float16, "plain", [3, 24, 8, 1, 2]),
    "bf16": (dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=96, num_labels=3),
             torch.bfloat16, "plain", [12, 24]),
    "legacy": (dict(hidden_size=22, num_hidden_layers=2, num_attention_heads=2, intermediate_size=30, num_labels=2),
               torch.float32, "legacy", [7, 24, 1]),
    "sharded": (dict(hidden_size=12, num_hidden_layers=2, num_attention_heads=12, intermediate_size=24, num_labels=2,
                     type_vocab_size=1), torch.float32, "sharded", [24, 6]),
    "wide-f16": (dict(hidden_size=96, num_hidden_layers=1, num_attention_heads=1, intermediate_size=160, num_labels=2,
                      hidden_act="gelu_pytorch_tanh"), torch.float16, "plain", [24, 13, 1]),
    "removed": (dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=56, num_labels=2),
                torch.float32, "plain", [6, 24, 1]),
}
# Of each layer: heads and FFN neurons that are left. `transformers` runs the whole model with the others' columns at
# zero; the checkpoint holds matrices without them.
REMOVED = {"removed": [([2], range(3, 40)), ([0, 2], range(0, 56, 3))]}
COMMON = dict(vocab_size=61, max_position_embeddings=24, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def randomise(model, stored, generator):
    """Fills every parameter and rounds it to the stored type."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "LayerNorm.weight" in name:
                value = 1 + 0.3 * noise
            elif parameter.dim() == 1:
                value = 0.3 * noise
            elif "embeddings" in name:
                value = noise
            else:
                value = 1.5 * noise / parameter.shape[1] ** 0.5
            parameter.copy_(value.to(stored).float())


def spelled(tensors, spelling):
    """TensorFlow's names, without the prefix, as old checkpoints have them."""
    if spelling != "legacy":
        return tensors
    renamed = {}
    for name, tensor in tensors.items():
        name = name.removeprefix("bert.")
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        renamed[name] = tensor
    renamed["embeddings.position_ids"] = torch.arange(24).unsqueeze(0)  # an integer buffer that they also carry
    return renamed


def save(folder, tensors, spelling):
    if spelling != "sharded":
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(tensors)
    parts = [names[0::2], names[1::2]]
    where = {}
    for i, part in enumerate(parts):
        file = f"model-{i + 1:05}-of-{len(parts):05}.safetensors"
        save_file({name: tensors[name] for name in part}, folder / file, metadata={"format": "pt"})
        where.update({name: file for name in part})
    index = {"metadata": {"total_size": sum(t.nbytes for t in tensors.values())}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def parts(config, layers):
    """The tensors of each layer that lose rows, and those that lose columns, with the indices that are left."""
    size = config.hidden_size // config.num_attention_heads
    for i, (heads, neurons) in enumerate(layers):
        at = f"bert.encoder.layer.{i}."
        wide = torch.tensor([h * size + k for h in heads for k in range(size)])
        rows = {f"{at}attention.self.{n}.{p}": wide for n in ("query", "key", "value") for p in ("weight", "bias")}
        rows |= {f"{at}intermediate.dense.{p}": torch.tensor(neurons) for p in ("weight", "bias")}
        yield rows, {f"{at}attention.output.dense.weight": wide, f"{at}output.dense.weight": torch.tensor(neurons)}


def close(model, layers):
    """Nobody reads what is not left."""
    named = dict(model.named_parameters())
    for _, columns in parts(model.config, layers):
        for name, left in columns.items():
            mask = torch.zeros(named[name].shape[1])
            mask[left] = 1
            named[name].data *= mask


def batch(config, lengths, generator):
    offsets, ids, types = [0], [], []
    for length in lengths:
        offsets.append(offsets[-1] + length)
        ids.append(torch.randint(0, config.vocab_size, (length,), generator=generator))
        second = int(torch.randint(0, length + 1, (1,), generator=generator))
        types.append((torch.arange(length) >= second).long() * (config.type_vocab_size > 1))
    return offsets, ids, types


def logits_of(model, ids, types):
    with torch.no_grad():
        return torch.cat([model(input_ids=i[None], token_type_ids=t[None]).logits for i, t in zip(ids, types)])


def make(out, name, seed):
    options, stored, spelling, lengths = CASES[name]
    generator = torch.Generator().manual_seed(seed)
    config = BertConfig(**{**COMMON, **options}, attn_implementation="eager")
    model = BertForSequenceClassification(config).eval()
    randomise(model, stored, generator)
    removed = REMOVED.get(name, [])
    close(model, removed)
    offsets, ids, types = batch(config, lengths, generator)
    logits = logits_of(model, ids, types)
    exact = logits_of(model.double(), ids, types)
    assert (logits - exact).abs().max() < 2e-5, name
    assert logits.abs().max() > 0.3, name
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tensors = {n: p.detach().to(stored).contiguous() for n, p in model.named_parameters()}
    for rows, columns in parts(config, removed):
        tensors |= {n: tensors[n][left].contiguous() for n, left in rows.items()}
        tensors |= {n: tensors[n][:, left].contiguous() for n, left in columns.items()}
    save(folder, spelled(tensors, spelling), spelling)
    kept = json.loads(config.to_json_string())
    kept["architectures"] = ["BertForSequenceClassification"]
    for key in ("transformers_version", "dtype"):
        kept.pop(key, None)
    if removed:
        kept |= {"layer_heads": [len(h) for h, _ in removed], "layer_ffn": [len(n) for _, n in removed]}
    (folder / "config.json").write_text(json.dumps(kept, indent=1) + "\n")
    save_arrays({"offsets": numpy.array(offsets, numpy.int32), "ids": torch.cat(ids).numpy().astype(numpy.int32),
                 "types": torch.cat(types).numpy().astype(numpy.int32), "logits": logits.float().numpy()},
                folder / "golden.safetensors")
    print(f"{name}: |logits| up to {float(logits.abs().max()):.3f}, binary32 off binary64 by "
          f"{float((logits - exact).abs().max()):.1e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("tests/unit/models/golden"))
    args = parser.parse_args()
    for seed, name in enumerate(CASES):
        make(args.out, name, seed + 1)


if __name__ == "__main__":
    main()
