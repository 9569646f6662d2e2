"""Token pruning against dense, both the cpu plugin: is skipped work skipped time? Half of the operations by default."""
import argparse
import math
import os

import numpy as np

import peer

PRECISION = {"fp32": 0, "bf16": 1, "int8": 2, "w4a8": 3, "w4a16": 4}


def operations(model, tokens, keep):
    """Multiply-adds of linear layers and attention; layer l goes on with ceil(keep[l] n) rows after its softmax."""
    layers, d, _, f = peer.MODELS[model]
    n, total = tokens, 0
    for l in range(layers):
        m = max(min(2, n), math.ceil(np.float32(keep[l]) * np.float32(n))) if keep[l] else n
        total += 3 * n * d * d + n * n * d + m * n * d + m * d * d + 2 * m * d * f
        n = m
    return total


def ladder(model, tokens, share):
    """The one ratio that every layer keeps so that `share` of the operations is left."""
    layers, low, high = peer.MODELS[model][0], 0.01, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        if operations(model, tokens, [middle] * layers) > share * operations(model, tokens, [0] * layers):
            high = middle
        else:
            low = middle
    return [low] * layers


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--plugin", default=os.path.join(peer.ROOT, "build", "release", "plugins", "zeb_cpu.so"))
    p.add_argument("--model", default="mini", choices=sorted(peer.MODELS))
    p.add_argument("--tokens", default="64,128,256,512")
    p.add_argument("--share", type=float, default=0.5, help="of the dense operations")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--isa", default="")
    p.add_argument("--precision", default="int8", choices=sorted(PRECISION))
    p.add_argument("--attention", default="int8", choices=sorted(PRECISION))
    p.add_argument("--rounds", type=int, default=9)
    p.add_argument("--seconds", type=float, default=0.15, help="of each side in a round")
    p.add_argument("--least", type=float, default=0, help="exit 1 if a ratio is below")
    a = p.parse_args()
    lib = peer.driver()
    flat, _ = peer.weights(a.model)
    rng, worst = np.random.default_rng(1), 1e9
    print(f"# {a.model}, batch 1, {a.threads} thread(s), {a.precision} (attention {a.attention})")
    print("| tokens | kept a layer | operations left | dense ms | pruned ms | ratio (low - high of rounds) | share of time"
          " saved / of operations saved |")
    print("| --- " * 7 + "|")
    for tokens in [int(t) for t in a.tokens.split(",")]:
        keep = ladder(a.model, tokens, a.share)
        left = operations(a.model, tokens, keep) / operations(a.model, tokens, [0] * len(keep))
        ids, sides = rng.integers(5, peer.VOCAB, tokens), []
        for k in ([], keep):
            sides.append(peer.Engine(lib, a.plugin, a.model, flat, tokens, 1, a.threads, a.isa, PRECISION[a.precision],
                                     PRECISION[a.attention], 0, k))
            sides[-1].write(ids, [0, tokens])
        t = peer.alternate(sides, a.rounds, a.seconds)
        r = peer.ratio(t[0], t[1])
        worst = min(worst, r[0])
        print(f"| {tokens} | {keep[0]:.2f} | {100 * left:.0f} % | {np.median(t[0]):.3f} | {np.median(t[1]):.3f} |"
              f" {r[0]:.2f} ({r[1]:.2f} - {r[2]:.2f}) | {(1 - 1 / r[0]) / (1 - left):.2f} |", flush=True)
        for s in sides:
            s.close()
    if worst < a.least:
        peer.fail(f"ratio {worst:.2f} is below {a.least}")


if __name__ == "__main__":
    main()
