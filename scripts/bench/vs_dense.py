"""Token pruning against dense, both the cpu plugin: is skipped work skipped time? Half of the operations by default.

The last column is the ratio with the last layer computed for [CLS] alone on both sides."""
import numpy as np

import peer


def main(argv=None):
    p = peer.Bench.options(__doc__, "int8", 9)
    peer.Bench.sequence_options(p, "64,128,256,512")
    p.add_argument("--share", type=float, default=0.5, help="of the dense operations")
    bench = peer.Bench(p, argv)
    a = bench.a
    print(f"# {a.model}, batch 1, {a.threads} thread(s), {a.precision} (attention {bench.attention})\n"
          "| tokens | kept a layer | operations left | dense ms | pruned ms | ratio (low - high of rounds) | target |"
          " share of time saved / of operations saved | both [CLS] last |\n" + "| --- " * 9 + "|")
    for tokens in [int(t) for t in a.tokens.split(",")]:
        keep = peer.ladder(a.model, tokens, a.share)
        left = peer.operations(a.model, tokens, keep) / peer.operations(a.model, tokens, [])
        ids = bench.random.integers(5, peer.VOCAB, tokens)
        sides = [bench.sequence(ids, first, k) for first, k in ((0, []), (0, keep), (1, []), (1, keep))]
        t = peer.alternate(sides, a.rounds, a.seconds)
        r = peer.ratio(t[0], t[1])
        print(f"| {tokens} | {keep[0]:.2f} | {100 * left:.0f} % | {np.median(t[0]):.3f} | {np.median(t[1]):.3f} |"
              f" {peer.spread(r)} | {bench.targets.cell(r[0])} | {(1 - 1 / r[0]) / (1 - left):.2f} |"
              f" {peer.spread(peer.ratio(t[2], t[3]))} |", flush=True)
        bench.done()
    bench.end()


if __name__ == "__main__":
    main()
