"""BERT at batch 1: the cpu plugin against ONNX Runtime, same weights, alternating rounds, ratio with its spread."""
import argparse
import os

import numpy as np

import peer

PRECISION = {"fp32": 0, "bf16": 1, "int8": 2, "w4a8": 3, "w4a16": 4}


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--plugin", default=os.path.join(peer.ROOT, "build", "release", "plugins", "zeb_cpu.so"))
    p.add_argument("--model", default="mini", choices=sorted(peer.MODELS))
    p.add_argument("--tokens", default="16,32,64,128")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--isa", default="")
    p.add_argument("--precision", default="fp32", choices=sorted(PRECISION), help="of our side")
    p.add_argument("--attention", default="fp32", choices=sorted(PRECISION))
    p.add_argument("--peer", default="", choices=["", "fp32", "int8"], help="of ONNX Runtime; default: as ours")
    p.add_argument("--first-only", action="store_true", help="both sides compute the last layer for [CLS] alone")
    p.add_argument("--ours-first-only", action="store_true", help="only ours does")
    p.add_argument("--keep", default="", help="shares of rows that the layers keep, as 1,0.5,0.5,1 (1: all)")
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--seconds", type=float, default=0.25, help="of each side in a round")
    p.add_argument("--least", type=float, default=0, help="exit 1 if a ratio is below")
    a = p.parse_args()
    lib = peer.driver()
    flat, parts = peer.weights(a.model)
    other = a.peer or ("int8" if a.precision in ("int8", "w4a8") else "fp32")
    path = os.path.join(peer.ROOT, "build", "bench", f"{a.model}-{other}{'-first' if a.first_only else ''}.onnx")
    if not os.path.exists(path):
        peer.onnx_file(a.model, parts, path, a.first_only, other == "int8")
    ort = peer.Peer(path, a.threads)
    keep = [0 if float(k) >= 1 else float(k) for k in a.keep.split(",")] if a.keep else []
    lengths = [int(t) for t in a.tokens.split(",")]
    rng, worst = np.random.default_rng(1), 1e9
    print(f"# {a.model}, batch 1, {a.threads} thread(s): ours {a.precision} (attention {a.attention}"
          f"{', keep ' + a.keep if a.keep else ''}{', last layer [CLS] only' if a.first_only or a.ours_first_only else ''})"
          f" against ONNX Runtime {ort.version} {other}{' with the same skip' if a.first_only else ''}")
    print("| tokens | ours ms | ONNX Runtime ms | ratio (low - high of rounds) | greatest logit difference |")
    print("| --- | --- | --- | --- | --- |")
    for tokens in lengths:
        ours = peer.Engine(lib, a.plugin, a.model, flat, tokens, 1, a.threads, a.isa, PRECISION[a.precision],
                           PRECISION[a.attention], int(a.first_only or a.ours_first_only), keep)
        ids = rng.integers(5, peer.VOCAB, tokens)
        ours.write(ids, [0, tokens])
        ort.bind(ids)
        ours.run(3)
        difference = np.abs(ours.logits() - ort.logits()).max()
        t = peer.alternate([ours, ort], a.rounds, a.seconds)
        r = peer.ratio(t[1], t[0])
        worst = min(worst, r[0])
        print(f"| {tokens} | {np.median(t[0]):.3f} | {np.median(t[1]):.3f} | {r[0]:.2f} ({r[1]:.2f} - {r[2]:.2f}) |"
              f" {difference:.2e} |", flush=True)
        settings = ours.settings()
        ours.close()
    print("#", settings)
    if worst < a.least:
        peer.fail(f"ratio {worst:.2f} is below {a.least}")


if __name__ == "__main__":
    main()
