"""BERT at batch 1: the cpu plugin against ONNX Runtime, same weights, alternating rounds, ratios with their spread.

ONNX Runtime gets the fastest of its graphs at each length, chosen in a short trial: plain, or fused by its own tool. The
credit of computing the last layer for [CLS] alone is shown: the ratio with ours doing so, then with neither side, then
with both."""
import numpy as np

import onnx_peer
import peer


def main(argv=None):
    p = peer.Bench.options(__doc__, "fp32", 7)
    peer.Bench.sequence_options(p, "16,32,64,128")
    p.add_argument("--peer", default="", choices=["", "fp32", "int8"], help="of ONNX Runtime; default: as ours")
    p.add_argument("--keep", default="", help="shares of rows that the layers keep, as 1,0.5,0.5,1 (1: all)")
    p.add_argument("--share", type=float, default=0, help="or: keep so many that this share of the operations is left")
    bench = peer.Bench(p, argv)
    a, trials = bench.a, []
    other = a.peer or ("int8" if a.precision in ("int8", "w4a8") else "fp32")
    theirs = [onnx_peer.sessions(a.model, bench.parts, other, first, a.threads) for first in (False, True)]
    keep = [0 if float(k) >= 1 else float(k) for k in a.keep.split(",")] if a.keep else []
    dropped = f", rows dropped to {a.share:g} of the operations" if a.share else f", keep {a.keep}" if keep else ""
    print(f"# {a.model}, batch 1, {a.threads} thread(s): ours {a.precision} (attention {bench.attention}{dropped}) against"
          f" ONNX Runtime {theirs[0][0].version} {other}\n"
          "| tokens | ours ms | ours [CLS] last ms | ONNX Runtime ms | with [CLS] last ms | ratio, ours [CLS] last |"
          " target | neither | both | greatest logit difference |\n" + "| --- " * 10 + "|")
    for tokens in [int(t) for t in a.tokens.split(",")]:
        kept = peer.ladder(a.model, tokens, a.share) if a.share else keep
        ids = bench.random.integers(5, peer.VOCAB, tokens)
        for s in (s for side in theirs for s in side):
            s.bind(ids)
        (full, seen), (first, seen_first) = (peer.fastest(side) for side in theirs)
        trials.append(f"# {tokens} tokens, ONNX Runtime's graphs, ms: {seen}; with [CLS] last: {seen_first}")
        ours = [bench.sequence(ids, first_only, kept) for first_only in (0, 1)]
        ours[0].run(1)
        difference = np.abs(ours[0].logits() - full.logits()).max()
        t = peer.alternate([*ours, full, first], a.rounds, a.seconds)
        best, neither, both = peer.ratio(t[2], t[1]), peer.ratio(t[2], t[0]), peer.ratio(t[3], t[1])
        cells = [f"{np.median(x):.3f}" for x in t]
        print(f"| {tokens} | {cells[0]} | {cells[1]} | {cells[2]} {full.name} | {cells[3]} {first.name} |"
              f" {peer.spread(best)} | {bench.targets.cell(best[0])} | {peer.spread(neither)} | {peer.spread(both)} |"
              f" {difference:.2e} |", flush=True)
        bench.done()
    print("\n".join(trials))
    bench.end()


if __name__ == "__main__":
    main()
