"""The table of what the engine is to reach, each line measured beside its bounds and the peaks of the machine.

Without a name all pieces run one after the other; each takes about a minute or less. Exit status 1 if a row misses its
bound. Every ratio stands beside the one in which neither side, and the one in which both sides, compute the last layer
for [CLS] alone."""
import argparse
import shlex
import time

import linear_peak
import offline
import peer
import vs_dense
import vs_onnxruntime

LINEAR = "--precision {} --isa {} --rounds 7 --least {} --aim {}"
PIECES = {}
for isa in ("avx2vnni", "avx512vnni", "avx512bf16", "amx"):
    for precision, least, aim in (("fp32", 93, 97), ("bf16", 90, 96), ("int8", 88, 96)):
        if (precision, isa) not in (("fp32", "avx512bf16"), ("int8", "avx512bf16"), ("fp32", "amx")):  # nothing of their own
            PIECES[f"linear-{precision}-{isa}"] = (linear_peak, LINEAR.format(precision, isa, least, aim))
for isa in ("avx512vnni", "amx"):
    PIECES[f"linear-int8-2-{isa}"] = (
        linear_peak, f"--precision int8 --isa {isa} --rows 16 --threads 2 --rounds 25 --least 75 --aim 90")
    PIECES[f"w4a8-{isa}"] = (linear_peak, f"--precision w4a8 --against int8 --isa {isa} --least 0.65 --aim 0.8")
PIECES.update({
    "fp32": (vs_onnxruntime, "--precision fp32 --least 1.25 --aim 1.4"),
    "bf16": (vs_onnxruntime, "--precision bf16 --least 2.1 --aim 2.5"),
    "int8": (vs_onnxruntime, "--precision int8 --tokens 16,32,64,128,256,512 --least 1.5 --aim 1.85"),
    "int8-2": (vs_onnxruntime, "--precision int8 --threads 2 --tokens 16,64,128 --least 2.2,1.9,1.7 --aim 2.8,2.2,2"),
    "minilm": (vs_onnxruntime, "--model minilm --precision int8 --tokens 16,32,64,128,256,512 --least 1.4 --aim 1.7"),
    "minilm-2": (vs_onnxruntime,
                 "--model minilm --precision int8 --threads 2 --tokens 16,32,64,128,256,512 --least 1.7 --aim 2.2"),
    "pruned": (vs_dense, "--least 1.7,1.8,1.85,1.9 --aim 1.95"),
    "pruned-avx512vnni": (vs_dense, "--isa avx512vnni --least 1.7,1.8,1.85,1.9 --aim 1.95"),
    "sparse-int8": (vs_onnxruntime, "--precision int8 --tokens 128 --share 0.5 --rounds 15 --least 2.7 --aim 3.4"),
    "sparse-fp32": (vs_onnxruntime,
                    "--precision int8 --peer fp32 --tokens 128 --share 0.5 --rounds 15 --least 6.5 --aim 8"),
    "offline-sst2": (offline, "--tasks SST-2 --least 3,5 --aim 4,7"),
    "offline-mrpc": (offline, "--tasks MRPC --least 3,5 --aim 4,7"),
})


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--plugin", default=peer.PLUGIN)
    p.add_argument("pieces", nargs="*", metavar="PIECE", help=", ".join(PIECES))
    a = p.parse_args()
    unknown = [n for n in a.pieces if n not in PIECES]
    if unknown:
        p.error(f"no piece {', '.join(unknown)}; there are {', '.join(PIECES)}")
    missed = []
    for name in a.pieces or PIECES:
        script, words = PIECES[name]
        print(f"\n## {name} ({time.strftime('%Y-%m-%d')})", flush=True)
        try:
            script.main(["--plugin", a.plugin, *shlex.split(words)])
        except SystemExit as end:
            missed += [name] if end.code else []
    if missed:
        peer.fail(f"\nmissed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
