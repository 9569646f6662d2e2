"""Share of the core's measured peak that the linear layers reach: packed weights, warm, bias included. In eight bits
(and bfloat16 where it is native) twice: with x quantised for this layer alone, and with x as a norm before it leaves it
in passing ("ready").

With --against, instead: the rate over that of another precision, in alternating rounds."""
import argparse
import ctypes as C

import numpy as np

import peer

PEAK = {"fp32": 0, "bf16": 0, "int8": 2, "w4a8": 2, "w4a16": 0}  # column of peaks, that of the instruction it runs on
TILES = {"bf16": 3, "int8": 4, "w4a8": 4}  # where the plugin multiplies in AMX tiles
NARROW = {"fp32": 5, "bf16": 5, "w4a16": 5, "int8": 6, "w4a8": 6}  # in vectors of 256 bits
SHAPES = [(256, 256), (256, 768), (256, 1024), (1024, 256), (384, 1152), (384, 1536), (1536, 384)]  # K, N


def column(precision, settings):
    if "isa=amx " in settings and precision in TILES:
        return TILES[precision]
    if "isa=avx512bf16 " in settings and precision == "bf16":
        return 1
    return (NARROW if "isa=avx2" in settings else PEAK)[precision]


class Linear:
    """One layer of a precision, compiled; rates of its passes in GOP/s."""

    def __init__(self, lib, a, precision, m, k, n, w, x):
        lib.bench_open_linear.restype = C.c_void_p
        self.error, text = C.create_string_buffer(512), C.create_string_buffer(512)
        self.lib, self.kept, self.operations = lib, (w, x), 2.0 * m * k * n
        b = lib.bench_open_linear(a.plugin.encode(), C.c_uint32(a.threads), a.isa.encode(), peer.PRECISION[precision],
                                  m, k, n, w.ctypes.data_as(C.c_void_p), x.ctypes.data_as(C.c_void_p), self.error)
        if not b:
            peer.fail(self.error.value.decode())
        self.b = C.c_void_p(b)
        lib.bench_settings(self.b, text)
        self.settings = text.value.decode()
        self.ns = np.zeros(max(15, int(3e-3 / (1e-9 * self.operations / 200))), np.uint64)

    def rate(self, ready=False):
        run = self.lib.bench_run_ready if ready else self.lib.bench_run
        if run(self.b, self.ns.size, self.ns.ctypes.data_as(C.c_void_p), self.error):
            peer.fail(self.error.value.decode())
        return self.operations / np.median(self.ns[self.ns.size // 4:])

    def close(self):
        self.lib.bench_close(self.b)


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--plugin", default=peer.PLUGIN)
    p.add_argument("--precision", default="fp32", choices=sorted(peer.PRECISION))
    p.add_argument("--against", default="", choices=["", *sorted(peer.PRECISION)])
    p.add_argument("--rows", default="16,32,64,128,256")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--isa", default="")
    p.add_argument("--rounds", type=int, default=9)
    peer.Targets.add(p)
    a = p.parse_args(argv)
    peer.warn_of_age(a.plugin)
    lib, targets, peaks = peer.driver(), peer.Targets(a), peer.peaks()
    rng, rows = np.random.default_rng(3), [int(r) for r in a.rows.split(",")]
    unit = f"of the rate in {a.against}" if a.against else "of the peak, %"
    print(f"# linear layers in {a.precision}, {a.threads} thread(s), {unit}\n| rows | " +
          " | ".join(f"{k}x{n}" for k, n in SHAPES) +
          f" | median GOP/s | median {unit} (of lowest - of highest rounds) | target | x ready: median, {unit} |\n" +
          "| --- " * (len(SHAPES) + 5) + "|")
    seen = []
    for m in rows:
        rates, shares, ready = [], [], []
        for k, n in SHAPES:
            w, x = rng.standard_normal(n * k + n, np.float32), rng.standard_normal(m * k, np.float32)
            ours, apart = (Linear(lib, a, a.precision, m, k, n, w, x) for _ in range(2))
            if a.isa and f"isa={a.isa} " not in ours.settings:
                print(f"SKIPPED: this processor has no {a.isa} ({ours.settings.strip()})")
                return
            other, other_apart = (Linear(lib, a, a.against, m, k, n, w, x) if a.against else None for _ in range(2))
            mine, share, alone = [], [], []
            for _ in range(a.rounds):  # the peak just before and after, so that both see the same machine
                seen.append(peaks())
                if other is not None:
                    top, top_ready = other.rate(), other_apart.rate(True)
                mine.append(ours.rate())
                mine_ready = apart.rate(True)
                if other is None:
                    seen.append(peaks())
                    top = max(s[column(a.precision, ours.settings)] for s in seen[-2:]) * a.threads / 100
                    top_ready = top
                share.append(mine[-1] / top)
                alone.append(mine_ready / top_ready)
            rates.append(float(np.median(mine)))
            shares.append([float(np.median(share)), min(share), max(share)])
            ready.append(float(np.median(alone)))
            settings = ours.settings
            for l in (ours, apart, other, other_apart):
                if l is not None:
                    l.close()
        middle, form = np.median(np.array(shares), axis=0), ".2f" if a.against else ".1f"
        print(f"| {m} | " + " | ".join(f"{s[0]:{form}}" for s in shares) + f" | {np.median(rates):.0f} |"
              f" {middle[0]:{form}} ({middle[1]:{form}} - {middle[2]:{form}}) | {targets.cell(middle[0])} | {np.median(ready):{form}} |", flush=True)
    print(f"# {settings}\n{peer.ceilings(seen)}")
    targets.end()


if __name__ == "__main__":
    main()
