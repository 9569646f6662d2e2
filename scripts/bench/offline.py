"""Throughput on real, ragged batches: the cpu plugin (packed, no padding) against ONNX Runtime (padded to the longest
of each batch). Lengths are those of a GLUE dev split under WordPiece, shares of rows kept those of a ladder of half the
work or of a policy (which rows doesn't matter to the time); weights are random and the same on both sides. Passes are
timed, tokenising is not."""
import json
import os
import re

import numpy as np

import onnx_peer
import peer

COLUMNS = {"SST-2": (0, None), "MRPC": (3, 4), "RTE": (1, 2), "QNLI": (1, 2)}
# Ladders of half the work, as students of BERT-mini's shape learned them on the task.
LADDERS = {"SST-2": [0.500, 0.881, 0.587, 0], "MRPC": [0.689, 0.512, 0.616, 0]}


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

    def __init__(self, name, steps):
        self.name, self.steps = name, steps

    def run(self, passes):
        return np.array([sum(float(s()) for s in self.steps) for _ in range(passes)])


def kept_of(path):
    """Shares of rows that the layers of a policy of token ratios keep; 0: all."""
    with open(path, encoding="utf-8") as f:
        layers = [layer["tokens"] for layer in json.load(f)["layers"]]
    if any(t is not None and t["mode"] != "ratio" for t in layers):
        peer.fail(f"{path}: only ratios are understood here")
    return [t["value"] if t is not None else 0 for t in layers]


def ours_of(bench, groups, keep, first_only):
    """All batches with our engine. The last one may be smaller: a plan of its own."""
    engines, steps = {}, []
    most = max(int(offsets[-1]) for offsets, _ in groups)
    for offsets, ids in groups:
        size = len(offsets) - 1
        if size not in engines:
            engines[size] = bench.engine(most, size, first_only, keep)
        e = engines[size]
        steps.append(lambda e=e, ids=ids, offsets=offsets: (e.write(ids, offsets), e.run(1)[0])[1])
    return Batches("ours", steps)


def theirs_of(session, groups):
    steps = []
    for offsets, ids in groups:
        lengths = np.diff(offsets)
        padded, mask = (np.zeros((len(lengths), max(lengths)), np.int64) for _ in range(2))
        for i, n in enumerate(lengths):
            padded[i, :n], mask[i, :n] = ids[offsets[i]:offsets[i] + n], 1
        steps.append(lambda padded=padded, mask=mask: (session.bind(padded, mask), session.run(1)[0])[1])
    return Batches(session.name, steps)


def main(argv=None):
    p = peer.Bench.options(__doc__, "int8", 7, threads=2)
    p.add_argument("--data", default=os.path.join(peer.ROOT, "..", "shared", "data"))
    p.add_argument("--vocab", default=os.path.join(peer.ROOT, "baselines", "bert-mini-sst2", "vocab.txt"))
    p.add_argument("--tasks", default="SST-2,MRPC")
    p.add_argument("--limit", type=int, default=None)
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--policy", default="", help="of the sparse rows; default: a ladder of half the work")
    bench = peer.Bench(p, argv)
    a, trials = bench.a, []
    other = "int8" if a.precision in ("int8", "w4a8") else "fp32"
    with open(a.vocab, encoding="utf-8") as f:
        vocab = {line.rstrip("\n") for line in f}
    ort = [onnx_peer.sessions(a.model, bench.parts, other, first, a.threads) for first in (False, True)]
    print(f"# {a.model}, batches of {a.batch}, {a.threads} thread(s), {a.precision} against ONNX Runtime"
          f" {ort[0][0].version} {other}\n"
          "| task, shares kept | sequences | mean length | ONNX Runtime seq/s | with [CLS] last | ours |"
          " ours [CLS] last | ratio, ours [CLS] last | target | neither | both |\n" + "| --- " * 11 + "|")
    for task in a.tasks.split(","):
        if not a.policy and task not in LADDERS:
            peer.fail(f"{task} has no ladder here; give a --policy")
        keep = kept_of(a.policy) if a.policy else LADDERS[task]
        lengths = lengths_of(a.data, task, vocab, a.limit)
        groups = []
        for i in range(0, len(lengths), a.batch):
            offsets = np.concatenate([[0], np.cumsum(lengths[i:i + a.batch])])
            groups.append((offsets, bench.random.integers(5, peer.VOCAB, offsets[-1])))
        (full, seen), (first, seen_first) = (
            peer.fastest([theirs_of(s, groups) for s in side], once=True) for side in ort)
        trials.append(f"# {task}, ONNX Runtime's graphs, ms: {seen}; with [CLS] last: {seen_first}")
        ours = [ours_of(bench, groups, k, first_only) for k in ([], keep) for first_only in (0, 1)]
        t = peer.alternate([full, first, *ours], a.rounds, 0, once=True)
        rate = [len(lengths) / (np.median(x) * 1e-3) for x in t]
        for name, at in (("dense", 2), ("sparse", 4)):
            best, neither, both = peer.ratio(t[0], t[at + 1]), peer.ratio(t[0], t[at]), peer.ratio(t[1], t[at + 1])
            if name == "sparse":
                name += " " + " ".join(f"{k:.2f}" if k else "1" for k in keep)
            print(f"| {task} {name} | {len(lengths)} | {np.mean(lengths):.1f} | {rate[0]:.0f} {full.name} |"
                  f" {rate[1]:.0f} {first.name} | {rate[at]:.0f} | {rate[at + 1]:.0f} | {peer.spread(best)} |"
                  f" {bench.targets.cell(best[0])} | {peer.spread(neither)} | {peer.spread(both)} |", flush=True)
        bench.done()
    print("\n".join(trials))
    bench.end()


if __name__ == "__main__":
    main()
