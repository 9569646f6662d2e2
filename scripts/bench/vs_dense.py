"""Token pruning against dense, both the cpu plugin: is skipped work skipped time? Half of the operations by default.

The last column is the ratio with the last layer computed for [CLS] alone on both sides."""
import argparse

import numpy as np

import peer


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--plugin", default=peer.PLUGIN)
    p.add_argument("--model", default="mini", choices=sorted(peer.MODELS))
    p.add_argument("--tokens", default="64,128,256,512")
    p.add_argument("--share", type=float, default=0.5, help="of the dense operations")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--isa", default="")
    p.add_argument("--precision", default="int8", choices=sorted(peer.PRECISION))
    p.add_argument("--attention", default="int8", choices=sorted(peer.PRECISION))
    p.add_argument("--rounds", type=int, default=9)
    p.add_argument("--seconds", type=float, default=0.15, help="of each side in a round")
    peer.Targets.add(p)
    a = p.parse_args(argv)
    lib, targets, peaks = peer.driver(), peer.Targets(a), peer.peaks()
    flat, _ = peer.weights(a.model)
    rng, seen = np.random.default_rng(1), [peaks()]
    print(f"# {a.model}, batch 1, {a.threads} thread(s), {a.precision} (attention {a.attention})\n"
          "| tokens | kept a layer | operations left | dense ms | pruned ms | ratio (low - high of rounds) | target |"
          " share of time saved / of operations saved | both [CLS] last |\n" + "| --- " * 9 + "|")
    for tokens in [int(t) for t in a.tokens.split(",")]:
        keep = peer.ladder(a.model, tokens, a.share)
        left = peer.operations(a.model, tokens, keep) / peer.operations(a.model, tokens, [])
        ids, sides = rng.integers(5, peer.VOCAB, tokens), []
        for first, k in ((0, []), (0, keep), (1, []), (1, keep)):
            sides.append(peer.Engine(lib, a.plugin, a.model, flat, tokens, 1, a.threads, a.isa,
                                     peer.PRECISION[a.precision], peer.PRECISION[a.attention], first, k))
            sides[-1].write(ids, [0, tokens])
        t = peer.alternate(sides, a.rounds, a.seconds)
        r = peer.ratio(t[0], t[1])
        seen.append(peaks())
        print(f"| {tokens} | {keep[0]:.2f} | {100 * left:.0f} % | {np.median(t[0]):.3f} | {np.median(t[1]):.3f} |"
              f" {peer.spread(r)} | {targets.cell(r[0])} | {(1 - 1 / r[0]) / (1 - left):.2f} |"
              f" {peer.spread(peer.ratio(t[2], t[3]))} |", flush=True)
        settings = sides[0].settings()
        for s in sides:
            s.close()
    print(f"# {settings}\n{peer.ceilings(seen)}")
    targets.end()


if __name__ == "__main__":
    main()
