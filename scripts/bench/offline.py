"""Throughput on real, ragged batches: the cpu plugin (packed, no padding) against ONNX Runtime (padded to the longest of
each batch). Lengths are those of a GLUE dev split under WordPiece; weights are random and the same on both sides."""
import argparse
import os
import re

import numpy as np

import peer

PRECISION = {"fp32": 0, "bf16": 1, "int8": 2, "w4a8": 3, "w4a16": 4}
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


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--plugin", default=os.path.join(peer.ROOT, "build", "release", "plugins", "zeb_cpu.so"))
    p.add_argument("--model", default="mini", choices=sorted(peer.MODELS))
    p.add_argument("--data", default=os.path.join(peer.ROOT, "..", "shared", "data"))
    p.add_argument("--vocab", default=os.path.join(peer.ROOT, "baselines", "bert-mini-sst2", "vocab.txt"))
    p.add_argument("--tasks", default="SST-2,MRPC")
    p.add_argument("--limit", type=int, default=408)
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--precision", default="int8", choices=sorted(PRECISION))
    p.add_argument("--attention", default="int8", choices=sorted(PRECISION))
    p.add_argument("--keep", default="0.7,0.7,0.7,0.7", help="of the sparse column")
    p.add_argument("--rounds", type=int, default=5)
    a = p.parse_args()
    lib = peer.driver()
    flat, parts = peer.weights(a.model)
    other = "int8" if a.precision in ("int8", "w4a8") else "fp32"
    path = os.path.join(peer.ROOT, "build", "bench", f"{a.model}-{other}.onnx")
    if not os.path.exists(path):
        peer.onnx_file(a.model, parts, path, False, other == "int8")
    with open(a.vocab, encoding="utf-8") as f:
        vocab = {line.rstrip("\n") for line in f}
    ort = peer.Peer(path, a.threads)
    rng = np.random.default_rng(2)
    print(f"# {a.model}, batches of {a.batch}, {a.threads} thread(s), {a.precision} against ONNX Runtime {other}; median of"
          f" {a.rounds} alternating rounds")
    print("| task | sequences | mean length | ONNX Runtime seq/s | ours dense seq/s | ratio | ours pruned seq/s | ratio |")
    print("| --- " * 8 + "|")
    for task in a.tasks.split(","):
        lengths = lengths_of(a.data, task, vocab, a.limit)
        lengths = lengths[:len(lengths) // a.batch * a.batch]
        groups = [lengths[i:i + a.batch] for i in range(0, len(lengths), a.batch)]
        keep = [float(k) for k in a.keep.split(",")]
        engines = [peer.Engine(lib, a.plugin, a.model, flat, max(map(sum, groups)), a.batch, a.threads, "",
                               PRECISION[a.precision], PRECISION[a.attention], 0, k) for k in ([], keep)]
        ours, theirs = [[], []], []
        for group in groups:
            offsets = np.concatenate([[0], np.cumsum(group)])
            ids = rng.integers(5, peer.VOCAB, offsets[-1])
            for e, steps in zip(engines, ours):
                steps.append(lambda e=e, ids=ids, offsets=offsets: (e.write(ids, offsets), e.run(1)[0])[1])
            padded = np.zeros((a.batch, max(group)), np.int64)
            mask = np.full((a.batch, 1, 1, max(group)), -1e4, np.float32)
            for i, n in enumerate(group):
                padded[i, :n], mask[i, 0, 0, :n] = ids[offsets[i]:offsets[i] + n], 0
            theirs.append(lambda padded=padded, mask=mask: (ort.bind(padded, mask), ort.run(1)[0])[1])
        t = peer.alternate([Batches(theirs), Batches(ours[0]), Batches(ours[1])], a.rounds, 0.01)
        rate = [len(lengths) / (np.median(x) * 1e-3) for x in t]
        dense, pruned = peer.ratio(t[0], t[1]), peer.ratio(t[0], t[2])
        print(f"| {task} | {len(lengths)} | {np.mean(lengths):.1f} | {rate[0]:.0f} | {rate[1]:.0f} | {dense[0]:.2f}"
              f" ({dense[1]:.2f} - {dense[2]:.2f}) | {rate[2]:.0f} | {pruned[0]:.2f} ({pruned[1]:.2f} - {pruned[2]:.2f}) |",
              flush=True)
        for e in engines:
            e.close()


if __name__ == "__main__":
    main()
