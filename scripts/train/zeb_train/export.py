"""The shipped form of a checkpoint: half precision or codes, vocabulary, policy and a card that says where it is
from.  Checkpoints of one encoder can share a file with its frozen word table.

The card says what the shipped weights score on dev, by zeb where its program is at hand, with dev's hash and how often
this model has been scored on it, in whatever form (scoring.py): every export adds itself to the record of its source.
"""
from __future__ import annotations

import csv
import json
import math
import os
import shutil
from pathlib import Path

import torch
import yaml

from . import calibrate, dataset, energy, policy, quantise, scoring, store, tasks
from .batches import Store
from .bert import Bert
from .sparsity import Hard

_DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}


def best_of(models: list[Path]) -> Path:
    """The model whose result.json has the best calib value; a lone model needs none."""
    if len(models) == 1:
        return models[0]
    return max(models, key=lambda m: json.loads((m / "result.json").read_text())["best"])


def trained_length(model: Path) -> int:
    """--max-length of the step that made it; zeb-train's own where nothing tells."""
    path = model / "result.json"
    return int((json.loads(path.read_text()) if path.is_file() else {}).get("arguments", {}).get("max_length", 128))


def wilson(p: float, n: int, z: float = 1.959964) -> list[float]:
    """95 % interval of a proportion."""
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return [round(centre - half, 4), round(centre + half, 4)]


def export(models: list[Path], out: Path, task_name: str, vocab: Path, data: Path, dtype: str,
           facts: Path | None, emissions: Path | None, max_length: int = 0, weights: str = "keep",
           embeddings: str = "keep", words: Path | None = None, pooler: str = "keep", positions: int = 0,
           vocabulary: Path | None = None, zeb: Path | None = None, zeb_device: str = "cpu") -> dict:
    """weights, embeddings, pooler: keep, int8, int4, int4-64; words: the file that holds, or is to hold, the word table
    of this and other checkpoints, in a folder beside `out`; vocabulary: likewise of vocab.txt, which then is a link;
    positions: how many of the position table's rows are kept (those that training has seen), 0 for all; zeb: the program
    that scores dev, instead of PyTorch; max_length: of dev's rows, 0 for what the model was trained with."""
    source = best_of(models)
    task, out = tasks.get(task_name), Path(out)
    model, state = store.load_model(source), store.load_tensors(source)
    max_length = min(max_length or trained_length(source), positions or model.config.max_position_embeddings)
    dev = dataset.open_split(data, vocab, task.name, "dev", torch.device("cpu"), max_length)     # or nothing is written
    formats = quantise.wanted(model, weights, embeddings, pooler)
    fixed = [n for n in formats if not state[f"{n}.weight"].is_floating_point()]
    if fixed:
        raise ValueError(f"{source}: {fixed[0]} is quantised already: export it as it is (keep)")
    how = policy.read(source / "policy.json", source) if (source / "policy.json").is_file() else None
    if positions:
        _trim(state, model.config, positions)
    for name in ("config.json", "card.json", "card.md", "policy.json", "policy" + policy.EXITS):
        (out / name).unlink(missing_ok=True)         # an earlier export's; without a config.json it is no checkpoint
    store.save_tensors(out, quantise.shipped(state, formats, _DTYPES[dtype]), words)
    store.write_json(out / "config.json", model.config.hugging_face(task.labels))
    _vocabulary(out, vocab, vocabulary)
    if how is not None:
        how.name = out.name
        how.write(out)
    store.write_json(out / "tokenizer_config.json", {
        "tokenizer_class": "BertTokenizer", "do_lower_case": True, "strip_accents": None,
        "tokenize_chinese_chars": True, "model_max_length": model.config.max_position_embeddings, "cls_token": "[CLS]",
        "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"})
    if emissions is not None and Path(emissions).is_file():
        shutil.copyfile(emissions, out / "emissions.csv")
    else:
        (out / "emissions.csv").unlink(missing_ok=True)
    card = make_card(out, source, task, dev, data, facts, max_length, zeb, zeb_device)
    store.write_json(out / "card.json", card)
    store.write_bytes(out / "card.md", markdown(card).encode())
    return card


def _trim(state: dict[str, torch.Tensor], config, positions: int) -> None:
    key = "bert.embeddings.position_embeddings.weight"
    if not 0 < positions <= config.max_position_embeddings:
        raise ValueError(f"{positions} positions are not some of {config.max_position_embeddings}")
    for name in (key, key + "_scale"):
        if name in state:
            state[name] = state[name][:positions].contiguous()
    config.max_position_embeddings = positions


def _vocabulary(out: Path, vocab: Path, shared: Path | None) -> None:
    """vocab.txt, or a link to one in a folder beside `out` that several checkpoints share, made if missing."""
    own = out / "vocab.txt"
    if own.is_symlink():
        own.unlink()
    if shared is None or Path(shared).resolve() == own.resolve():
        shutil.copyfile(vocab, own)
        return
    shared = Path(shared)
    if shared.resolve().parent.parent != out.resolve().parent:
        raise ValueError(f"{shared}: a shared vocabulary must be in a folder beside {out}")
    if not shared.is_file():
        store.write_bytes(shared, Path(vocab).read_bytes())
    if shared.read_bytes() != Path(vocab).read_bytes():
        raise ValueError(f"{shared}: its tokens are not those of {vocab}")
    own.unlink(missing_ok=True)
    own.symlink_to(Path("..") / shared.resolve().parent.name / shared.name)


def stored_as(model: Bert) -> str:
    """The precision that computes with the matrices as they are stored."""
    bits = {m.format.bits for _, m in quantise.matrices(model) if isinstance(m, quantise.QuantLinear)}
    return {4: "w4a8", 8: "w8a8"}[min(bits)] if bits else "fp32"


def make_card(out: Path, source: Path, task: tasks.Task, dev: Store, data: Path, facts: Path | None, max_length: int,
              zeb: Path | None, zeb_device: str) -> dict:
    model = store.load_for(out, task)               # what is scored is what was written
    config, sparsity, how = model.config, None, None
    if (out / "policy.json").is_file():
        how = policy.read(out / "policy.json", out)
        sparsity = Hard(config, how)
    precision, computed = stored_as(model), "PyTorch"
    if zeb is None:
        values = dataset.measure(task, model, dev, sparsity=sparsity, precise=True)
    else:
        scored = scoring.answers(out, task.name, "dev", precision, data, zeb, zeb_device, out.parent / "results.db", max_length)
        values, computed = scored["metrics"], scored["zeb"]["driver"]
    metrics = {k: round(v, 6) for k, v in values.items()}
    scoring.record(source, {"model": out.name, "as": f"{computed}, {precision}", "metrics": metrics})
    card = {
        "schema": "zeb-card-1", "name": out.name, "checkpoint": ".", "task": task.name,
        "architecture": {
            "family": "bert", "layers": config.num_hidden_layers, "hidden": config.hidden_size,
            "heads": config.layer_heads or config.num_attention_heads,
            "ffn": config.layer_ffn or config.intermediate_size,
            "vocabulary": config.vocab_size,
            "parameters": sum(p.numel() for p in model.parameters())},
        "dev": {"metrics": metrics, "rows": len(dev),
                "sha256": store.sha256(Path(data) / task.folder / task.files["dev"]),
                "max_length": max_length, "computed": f"{computed}, {precision}, from the shipped files",
                "scorings": len(scoring.history(source))},
        "sha256": store.model_sha256(out),
        "files": {os.path.relpath(p, out): {"sha256": store.sha256(p), "bytes": p.stat().st_size}
                  for p in sorted({*out.iterdir(), *store.shards(out)})
                  if p.suffix != ".md" and p.name != "card.json"},
    }
    if how is not None:
        card["dev"]["policy"] = how.name
    if how is not None or config.layer_ffn:
        card["dev"]["cost"] = calibrate.cost(model, how or policy.dense("none", config.num_hidden_layers), dev,
                                             limit=len(dev), precise=True)
    if "accuracy" in values:
        card["dev"]["accuracy_95"] = wilson(values["accuracy"], len(dev))
    result = source / "result.json"
    if result.is_file():
        made = json.loads(result.read_text())
        card["training"] = {k: made[k] for k in ("steps", "seconds", "structure", "calib", "history")
                            if k in made}
        card["seed"] = int(made["arguments"]["seed"])
        if "seen" in made:
            card["seen"] = made["seen"]
    spent = energy.total(out / "emissions.csv")
    if spent is not None:
        with open(out / "emissions.csv", newline="") as f:
            last = list(csv.DictReader(f))[-1]
        card["training_energy"] = {
            "kwh": round(spent["kwh"], 6), "kg_co2e": round(spent["kg_co2e"], 6),
            "seconds": round(spent["seconds"], 1), "by": f"CodeCarbon {last['codecarbon_version']}",
            "gpu": last["gpu_model"], "source": "emissions.csv"}
    if facts is not None:
        card.update(yaml.safe_load(Path(facts).read_text()))
    return card


def markdown(card: dict) -> str:
    """The card for people; card.json is the one that programs read."""
    a, d = card["architecture"], card["dev"]
    lines = [f"# {card['name']}", "", card.get("summary", "").strip(), "",
             "| | |", "| --- | --- |",
             f"| task | {card['task']} |",
             f"| architecture | BERT, L{a['layers']} H{a['hidden']} A{a['heads']} FFN {a['ffn']}, "
             f"{a['parameters']:,} parameters |"]
    for name, value in d["metrics"].items():
        span = (f" (95 % interval {d['accuracy_95'][0]:.3f}-{d['accuracy_95'][1]:.3f})"
                if name == "accuracy" else "")
        lines.append(f"| dev {name} | {value:.4f}{span}, {d['rows']} rows |")
    if "cost" in d:
        lines.append(f"| cost on dev, executed over dense | {d['cost']['ratio']:.3f} (matrix products, "
                     f"[CLS]-only last layer on both sides) |")
        lines.append("| rows kept after each layer | "
                     + ", ".join(f"{k:.2f}" for k in d["cost"]["kept"]) + " |")
    lines.append(f"| dev scored | {d['computed']}; scoring number {d['scorings']} of this model |")
    if "seen" in card:
        lines.append(f"| labelled rows seen | {', '.join(card['seen'])} |")
    for key in ("dev_scorings", "teacher", "data", "method", "seed", "licence", "recipe"):
        if key in card:
            lines.append(f"| {key.replace('_', ' ')} | {card[key]} |")
    if "training_energy" in card:
        e = card["training_energy"]
        lines.append(f"| training energy | {e['kwh'] * 3600:,.0f} kJ, {e['kg_co2e'] * 1000:.1f} g "
                     f"CO2e, {e['seconds']:.0f} s on {e['gpu'] or 'CPU'} ({e['by']}) |")
    for name, f in card["files"].items():
        lines.append(f"| {name} | {f['bytes']:,} bytes, sha256 `{f['sha256']}` |")
    if "notes" in card:
        lines += ["", *(f"- {n}" for n in card["notes"])]
    return "\n".join(lines) + "\n"
