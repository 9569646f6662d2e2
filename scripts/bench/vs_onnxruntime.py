"""BERT at batch 1: the cpu plugin against ONNX Runtime, same weights, alternating rounds, ratios with their spread.

The credit of computing the last layer for [CLS] alone is shown: the ratio with ours doing so, then with neither side,
then with both."""
import argparse

import numpy as np

import peer


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--plugin", default=peer.PLUGIN)
    p.add_argument("--model", default="mini", choices=sorted(peer.MODELS))
    p.add_argument("--tokens", default="16,32,64,128")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--isa", default="")
    p.add_argument("--precision", default="fp32", choices=sorted(peer.PRECISION), help="of our side")
    p.add_argument("--attention", default="", choices=["", *sorted(peer.PRECISION)], help="default: as the rest")
    p.add_argument("--peer", default="", choices=["", "fp32", "int8"], help="of ONNX Runtime; default: as ours")
    p.add_argument("--keep", default="", help="shares of rows that the layers keep, as 1,0.5,0.5,1 (1: all)")
    p.add_argument("--share", type=float, default=0, help="or: keep so many that this share of the operations is left")
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--seconds", type=float, default=0.15, help="of each side in a round")
    peer.Targets.add(p)
    a = p.parse_args(argv)
    lib, targets, peaks = peer.driver(), peer.Targets(a), peer.peaks()
    flat, parts = peer.weights(a.model)
    other = a.peer or ("int8" if a.precision in ("int8", "w4a8") else "fp32")
    attention = a.attention or {"w4a8": "int8", "w4a16": "fp32"}.get(a.precision, a.precision)
    theirs = [peer.peer_of(a.model, parts, other, first, a.threads) for first in (False, True)]
    keep = [0 if float(k) >= 1 else float(k) for k in a.keep.split(",")] if a.keep else []
    rng, seen = np.random.default_rng(1), [peaks()]
    dropped = f", rows dropped to {a.share:g} of the operations" if a.share else f", keep {a.keep}" if keep else ""
    print(f"# {a.model}, batch 1, {a.threads} thread(s): ours {a.precision} (attention {attention}{dropped}) against"
          f" ONNX Runtime {theirs[0].version} {other}\n"
          "| tokens | ours ms | ours [CLS] last ms | ONNX Runtime ms | with [CLS] last ms | ratio, ours [CLS] last |"
          " target | neither | both | greatest logit difference |\n" + "| --- " * 10 + "|")
    for tokens in [int(t) for t in a.tokens.split(",")]:
        kept = peer.ladder(a.model, tokens, a.share) if a.share else keep
        ids = rng.integers(5, peer.VOCAB, tokens)
        ours = [peer.Engine(lib, a.plugin, a.model, flat, tokens, 1, a.threads, a.isa, peer.PRECISION[a.precision],
                            peer.PRECISION[attention], first, kept) for first in (0, 1)]
        for o, t in zip(ours, theirs):
            o.write(ids, [0, tokens])
            o.run(1)
            t.bind(ids)
        difference = np.abs(ours[0].logits() - theirs[0].logits()).max()
        t = peer.alternate(ours + theirs, a.rounds, a.seconds)
        best, neither, both = peer.ratio(t[2], t[1]), peer.ratio(t[2], t[0]), peer.ratio(t[3], t[1])
        seen.append(peaks())
        print(f"| {tokens} | " + " | ".join(f"{np.median(x):.3f}" for x in t) + f" | {peer.spread(best)} |"
              f" {targets.cell(best[0])} | {peer.spread(neither)} | {peer.spread(both)} | {difference:.2e} |", flush=True)
        settings = ours[0].settings()
        for o in ours:
            o.close()
    print(f"# {settings}\n{peer.ceilings(seen)}")
    targets.end()


if __name__ == "__main__":
    main()
