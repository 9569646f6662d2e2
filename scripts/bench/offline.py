"""Throughput on real, ragged batches: the cpu plugin (packed, no padding) against ONNX Runtime (padded to the longest
of each batch). Lengths are those of a GLUE dev split under WordPiece, shares of rows kept those of a policy (which rows
doesn't matter to the time); weights are random and the same on both sides. Passes are timed, tokenising is not."""
import argparse
import json
import os
import re

import numpy as np

import peer

COLUMNS = {"SST-2": (0, None), "MRPC": (3, 4), "RTE": (1, 2), "QNLI": (1, 2)}


def word_pieces(text, vocab):
    """Number of WordPiece tokens: BERT's greedy rule on lower-cased words and punctuation."""
    count = 0
    for word in re.findall(r"\w+|[^\w\s]", text.lower()):
        at, pieces = 0, 0
        while at < len(word):
            end = len(word)
            while end > at and ("##" if at else "") + word[at:end] not in vocab:
                end -= 1
            if end == at:
                pieces = 1  # [UNK]
                break
            at, pieces = end, pieces + 1
        count += pieces
    return count


def lengths_of(data, task, vocab, limit):
    with open(os.path.join(data, "glue", task, "dev.tsv"), encoding="utf-8") as f:
        rows = [line.rstrip("\n").split("\t") for line in f][1:]
    first, second = COLUMNS[task]
    out = []
    for r in rows[:limit]:
        n = word_pieces(r[first], vocab) + 2
        out.append(min(128, n + (word_pieces(r[second], vocab) + 1 if second is not None else 0)))
    return out


class Batches:
    """All batches one after the other as one run."""

    def __init__(self, steps):
        self.steps = steps

    def run(self, passes):
        return np.array([sum(float(s()) for s in self.steps) for _ in range(passes)])


def kept_of(path):
    """Shares of rows that the layers of a policy of token ratios keep; 0: all."""
    with open(path, encoding="utf-8") as f:
        layers = [layer["tokens"] for layer in json.load(f)["layers"]]
    if any(t is not None and t["mode"] != "ratio" for t in layers):
        peer.fail(f"{path}: only ratios are understood here")
    return [t["value"] if t is not None else 0 for t in layers]


def ours_of(lib, a, flat, groups, keep, first_only):
    """A run of all batches with our engine, and what closes it. The last batch may be smaller: a plan of its own."""
    engines, steps = {}, []
    most = max(int(offsets[-1]) for offsets, _ in groups)
    for offsets, ids in groups:
        size = len(offsets) - 1
        if size not in engines:
            engines[size] = peer.Engine(lib, a.plugin, a.model, flat, most, size, a.threads, a.isa,
                                        peer.PRECISION[a.precision], peer.PRECISION[a.precision], first_only, keep)
        e = engines[size]
        steps.append(lambda e=e, ids=ids, offsets=offsets: (e.write(ids, offsets), e.run(1)[0])[1])
    return Batches(steps), list(engines.values())


def theirs_of(ort, groups):
    steps = []
    for offsets, ids in groups:
        lengths = np.diff(offsets)
        padded = np.zeros((len(lengths), max(lengths)), np.int64)
        mask = np.full((len(lengths), 1, 1, max(lengths)), -1e4, np.float32)
        for i, n in enumerate(lengths):
            padded[i, :n], mask[i, 0, 0, :n] = ids[offsets[i]:offsets[i] + n], 0
        steps.append(lambda padded=padded, mask=mask: (ort.bind(padded, mask), ort.run(1)[0])[1])
    return Batches(steps)


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--plugin", default=peer.PLUGIN)
    p.add_argument("--model", default="mini", choices=sorted(peer.MODELS))
    p.add_argument("--data", default=os.path.join(peer.ROOT, "..", "shared", "data"))
    p.add_argument("--vocab", default=os.path.join(peer.ROOT, "baselines", "bert-mini-sst2", "vocab.txt"))
    p.add_argument("--tasks", default="SST-2,MRPC")
    p.add_argument("--limit", type=int, default=None)
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--isa", default="")
    p.add_argument("--precision", default="int8", choices=["fp32", "bf16", "int8"])
    p.add_argument("--policy", default="", help="of the sparse rows; default: the one that ships for the task")
    p.add_argument("--rounds", type=int, default=7)
    peer.Targets.add(p)
    a = p.parse_args(argv)
    lib, targets, peaks = peer.driver(), peer.Targets(a), peer.peaks()
    flat, parts = peer.weights(a.model)
    other, seen = "int8" if a.precision == "int8" else "fp32", [peaks()]
    with open(a.vocab, encoding="utf-8") as f:
        vocab = {line.rstrip("\n") for line in f}
    ort = [peer.peer_of(a.model, parts, other, first, a.threads) for first in (False, True)]
    rng = np.random.default_rng(2)
    print(f"# {a.model}, batches of {a.batch}, {a.threads} thread(s), {a.precision} against ONNX Runtime"
          f" {ort[0].version} {other}\n"
          "| task, shares kept | sequences | mean length | ONNX Runtime seq/s | with [CLS] last | ours |"
          " ours [CLS] last | ratio, ours [CLS] last | target | neither | both |\n" + "| --- " * 11 + "|")
    for task in a.tasks.split(","):
        shipped = f"bert-mini-{task.lower().replace('-', '')}-sparse-int8"
        keep = kept_of(a.policy or os.path.join(peer.ROOT, "baselines", shipped, "policy.json"))
        lengths = lengths_of(a.data, task, vocab, a.limit)
        groups = []
        for i in range(0, len(lengths), a.batch):
            offsets = np.concatenate([[0], np.cumsum(lengths[i:i + a.batch])])
            groups.append((offsets, rng.integers(5, peer.VOCAB, offsets[-1])))
        ours = [ours_of(lib, a, flat, groups, k, first) for k in ([], keep) for first in (0, 1)]
        t = peer.alternate([theirs_of(o, groups) for o in ort] + [o[0] for o in ours], a.rounds, 0, once=True)
        rate = [len(lengths) / (np.median(x) * 1e-3) for x in t]
        seen.append(peaks())
        for name, at in (("dense", 2), ("sparse", 4)):
            best, neither, both = peer.ratio(t[0], t[at + 1]), peer.ratio(t[0], t[at]), peer.ratio(t[1], t[at + 1])
            if name == "sparse":
                name += " " + " ".join(f"{k:.2f}" if k else "1" for k in keep)
            print(f"| {task} {name} | {len(lengths)} | {np.mean(lengths):.1f} | {rate[0]:.0f} | {rate[1]:.0f} |"
                  f" {rate[at]:.0f} | {rate[at + 1]:.0f} | {peer.spread(best)} | {targets.cell(best[0])} |"
                  f" {peer.spread(neither)} | {peer.spread(both)} |", flush=True)
        settings = ours[0][1][0].settings()
        for _, engines in ours:
            for e in engines:
                e.close()
    print(f"# {settings}\n{peer.ceilings(seen)}")
    targets.end()


if __name__ == "__main__":
    main()
