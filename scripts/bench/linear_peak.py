"""Share of the core's measured peak that the linear layers reach: packed weights, warm, bias included."""
import argparse
import ctypes as C
import os
import subprocess

import numpy as np

import peer

PRECISION = {"fp32": (0, 0), "bf16": (1, 1), "int8": (2, 2), "w4a8": (3, 2), "w4a16": (4, 0)}  # id, column of peak
TILES = {"bf16": 3, "int8": 4}  # the column where the plugin multiplies in AMX tiles
SHAPES = [(256, 256), (256, 768), (256, 1024), (1024, 256), (384, 1152), (384, 1536), (1536, 384)]  # K, N


def peak_of():
    out = os.path.join(peer.ROOT, "build", "bench", "libpeak.so")
    subprocess.check_call(["cc", "-O2", "-shared", "-fPIC", os.path.join(peer.ROOT, "scripts", "bench", "peak.c"), "-o", out])
    lib, rate = C.CDLL(out), (C.c_double * 5)()

    def measure(column):
        lib.bench_peak(rate)
        return rate[column]
    return measure


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--plugin", default=os.path.join(peer.ROOT, "build", "release", "plugins", "zeb_cpu.so"))
    p.add_argument("--precision", default="fp32", choices=sorted(PRECISION))
    p.add_argument("--rows", default="16,32,64,128,256")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--isa", default="")
    p.add_argument("--rounds", type=int, default=9)
    p.add_argument("--least", type=float, default=0, help="exit 1 if a row count's median share (%%) is below")
    a = p.parse_args()
    lib = peer.driver()
    lib.bench_open_linear.restype = C.c_void_p
    text = C.create_string_buffer(512)
    code, column = PRECISION[a.precision]
    rng, error = np.random.default_rng(3), C.create_string_buffer(512)
    rows = [int(r) for r in a.rows.split(",")]
    peak = peak_of()
    rates, shares, tops = {}, {}, []
    for m in rows:
        for k, n in SHAPES:
            w, x = rng.standard_normal(n * k + n, np.float32), rng.standard_normal(m * k, np.float32)
            b = lib.bench_open_linear(a.plugin.encode(), C.c_uint32(a.threads), a.isa.encode(), code, m, k, n,
                                      w.ctypes.data_as(C.c_void_p), x.ctypes.data_as(C.c_void_p), error)
            if not b:
                peer.fail(error.value.decode())
            lib.bench_settings(C.c_void_p(b), text)
            if "isa=amx " in text.value.decode():
                column = TILES.get(a.precision, column)
            passes = max(15, int(3e-3 / (2e-9 * m * k * n / 200)))
            ns = np.zeros(passes, np.uint64)
            for _ in range(a.rounds):  # the peak just before and after, so that both see the same machine
                before = peak(column)
                lib.bench_run(C.c_void_p(b), passes, ns.ctypes.data_as(C.c_void_p), error)
                top = max(before, peak(column))
                rate = 2.0 * m * k * n / np.median(ns[passes // 4:])
                tops.append(top)
                rates.setdefault((m, k, n), []).append(rate)
                shares.setdefault((m, k, n), []).append(100 * rate / (top * a.threads))
            lib.bench_close(C.c_void_p(b))
    print(f"# {a.precision}, {a.threads} thread(s), {text.value.decode()}: peak {np.median(tops):.0f} GOP/s a core ({min(tops):.0f} - {max(tops):.0f})")
    print("| rows | " + " | ".join(f"{k}x{n}" for k, n in SHAPES) + " | median GOP/s | share of peak, % | best rounds, % |")
    print("| --- " * (len(SHAPES) + 4) + "|")
    worst = 1e9
    for m in rows:
        mid = [float(np.median(rates[m, k, n])) for k, n in SHAPES]
        share = [float(np.median(shares[m, k, n])) for k, n in SHAPES]
        high = [max(shares[m, k, n]) for k, n in SHAPES]
        worst = min(worst, float(np.median(share)))
        print(f"| {m} | " + " | ".join(f"{v:.0f}" for v in share) +
              f" | {np.median(mid):.0f} | {np.median(share):.1f} | {np.median(high):.1f} |")
    if worst < a.least:
        peer.fail(f"{worst:.1f} % is below {a.least} %")


if __name__ == "__main__":
    main()
