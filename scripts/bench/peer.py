"""What the benchmark scripts share: options and set-up, the plugin through libbert.so, statistics."""
import argparse
import ctypes as C
import math
import os
import subprocess
import sys

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LAYERS_MAX = 48
MODELS = {  # layers, hidden, heads, ffn
    "mini": (4, 256, 4, 1024),
    "minilm": (6, 384, 12, 1536),
    "base": (12, 768, 12, 3072),
}
VOCAB, POSITIONS, LABELS = 30522, 512, 2
PRECISION = {"fp32": 0, "bf16": 1, "int8": 2, "w4a8": 3, "w4a16": 4}
PLUGIN = os.path.join(ROOT, "build", "release", "plugins", "zeb_cpu.so")


class Config(C.Structure):
    _fields_ = [(n, C.c_int32) for n in ("layers", "hidden", "heads", "ffn", "vocab", "positions", "labels", "token_max",
                                         "batch_max", "precision", "attention_precision", "first_only", "unused")]
    _fields_ += [("keep", C.c_float * LAYERS_MAX)]


def driver():
    """Compiles bert.c where it is missing or older than its source."""
    folder = os.path.join(ROOT, "build", "bench")
    os.makedirs(folder, exist_ok=True)
    out, source = os.path.join(folder, "libbert.so"), os.path.join(ROOT, "scripts", "bench", "bert.c")
    if not os.path.exists(out) or os.path.getmtime(out) < os.path.getmtime(source):
        subprocess.check_call(["cc", "-std=c17", "-D_GNU_SOURCE", "-O2", "-shared", "-fPIC",
                               "-I" + os.path.join(ROOT, "harness", "include"), source, "-o", out, "-ldl"])
    lib = C.CDLL(out)
    lib.bench_open.restype = C.c_void_p
    lib.bench_weights.restype = C.c_int64
    for f in ("bench_close", "bench_write", "bench_run", "bench_logits", "bench_profile", "bench_settings"):
        getattr(lib, f).argtypes = None
    return lib


def weights(model, seed=7):
    """Random weights of a plausible size, in the order that bert.h names."""
    layers, d, heads, f = MODELS[model]
    rng = np.random.default_rng(seed)
    parts = []

    def add(name, *shape, scale=0.05, shift=0.0):
        parts.append((name, (rng.standard_normal(shape, dtype=np.float32) * np.float32(scale) + np.float32(shift))))

    add("word", VOCAB, d)
    add("position", POSITIONS, d)
    add("type", 2, d)
    add("gamma", d, shift=1.0)
    add("beta", d)
    for l in range(layers):
        for n in "qkvo":
            add(f"{l}.{n}.w", d, d)
            add(f"{l}.{n}.b", d)
        add(f"{l}.gamma1", d, shift=1.0)
        add(f"{l}.beta1", d)
        add(f"{l}.in.w", f, d)
        add(f"{l}.in.b", f)
        add(f"{l}.out.w", d, f)
        add(f"{l}.out.b", d)
        add(f"{l}.gamma2", d, shift=1.0)
        add(f"{l}.beta2", d)
    add("pooler.w", d, d)
    add("pooler.b", d)
    add("classifier.w", LABELS, d)
    add("classifier.b", LABELS)
    flat = np.concatenate([p[1].ravel() for p in parts])
    flat = np.require(flat, np.float32, ["C", "A"])
    return flat, dict(parts)


class Engine:
    """Our side: one compiled plan."""

    def __init__(self, lib, plugin, model, flat, tokens, batch=1, threads=1, isa="", precision=0, attention=0,
                 first_only=0, keep=()):
        layers, d, heads, f = MODELS[model]
        self.lib, self.flat, self.batch = lib, flat, batch
        c = Config(layers, d, heads, f, VOCAB, POSITIONS, LABELS, tokens, batch, precision, attention, first_only, 0)
        for i, k in enumerate(keep):
            c.keep[i] = k
        self.error = C.create_string_buffer(512)
        if lib.bench_weights(C.byref(c)) != flat.size:
            raise SystemExit("weights and configuration disagree")
        self.b = lib.bench_open(plugin.encode(), C.c_uint32(threads), isa.encode(), C.byref(c),
                                flat.ctypes.data_as(C.c_void_p), self.error)
        if not self.b:
            raise SystemExit("cpu plugin: " + self.error.value.decode())
        self.b = C.c_void_p(self.b)

    def write(self, ids, offsets):
        ids, offsets = np.ascontiguousarray(ids, np.int32), np.ascontiguousarray(offsets, np.int32)
        if self.lib.bench_write(self.b, ids.ctypes.data_as(C.c_void_p), offsets.ctypes.data_as(C.c_void_p), self.error):
            raise SystemExit("cpu plugin: " + self.error.value.decode())

    def run(self, passes):
        ns = np.zeros(passes, np.uint64)
        if self.lib.bench_run(self.b, passes, ns.ctypes.data_as(C.c_void_p), self.error):
            raise SystemExit("cpu plugin: " + self.error.value.decode())
        return ns.astype(np.float64) * 1e-6

    def logits(self):
        out = np.zeros((self.batch, LABELS), np.float32)
        if self.lib.bench_logits(self.b, out.ctypes.data_as(C.c_void_p), self.error):
            raise SystemExit("cpu plugin: " + self.error.value.decode())
        return out

    def settings(self):
        text = C.create_string_buffer(512)
        self.lib.bench_settings(self.b, text)
        return text.value.decode()

    def profile(self):
        name, ns = ((C.c_char * 64) * 512)(), np.zeros(512, np.uint64)
        n = self.lib.bench_profile(self.b, name, ns.ctypes.data_as(C.c_void_p), 512)
        return [(name[i].value.decode(), float(ns[i]) * 1e-3) for i in range(n)]

    def close(self):
        self.lib.bench_close(self.b)


def warn_of_age(plugin):
    """A figure of yesterday's build would pass for today's."""
    engine = os.path.join(ROOT, "backends", "cpu")
    newest = max((os.path.join(engine, name) for name in os.listdir(engine)), key=os.path.getmtime)
    if os.path.exists(plugin) and os.path.getmtime(plugin) < os.path.getmtime(newest):
        print(f"# WARNING: {plugin} is older than {os.path.relpath(newest, ROOT)}: build it again")


class Bench:
    """What a script that compares passes has set up: its options `a`, the driver, weights, targets and peaks."""

    @staticmethod
    def options(doc, precision, rounds, threads=1):
        """A parser of the options that all of them have."""
        p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
        p.add_argument("--plugin", default=PLUGIN)
        p.add_argument("--model", default="mini", choices=sorted(MODELS))
        p.add_argument("--threads", type=int, default=threads)
        p.add_argument("--isa", default="")
        p.add_argument("--precision", default=precision, choices=sorted(PRECISION), help="of our side")
        p.add_argument("--attention", default="", choices=["", *sorted(PRECISION)], help="default: as the rest")
        p.add_argument("--rounds", type=int, default=rounds)
        Targets.add(p)
        return p

    @staticmethod
    def sequence_options(p, tokens):
        p.add_argument("--tokens", default=tokens)
        p.add_argument("--seconds", type=float, default=0.15, help="of each side in a round")

    def __init__(self, parser, argv):
        self.a = parser.parse_args(argv)
        warn_of_age(self.a.plugin)
        self.attention = self.a.attention or {"w4a8": "int8", "w4a16": "fp32"}.get(self.a.precision, self.a.precision)
        self.lib, self.targets, self.peaks = driver(), Targets(self.a), peaks()
        self.flat, self.parts = weights(self.a.model)
        self.random, self.seen, self.engines, self.settings = np.random.default_rng(1), [self.peaks()], [], ""

    def engine(self, tokens, batch=1, first_only=0, keep=()):
        """Our side for up to so many tokens; closed by `done`."""
        a = self.a
        self.engines.append(Engine(self.lib, a.plugin, a.model, self.flat, tokens, batch, a.threads, a.isa,
                                   PRECISION[a.precision], PRECISION[self.attention], first_only, keep))
        return self.engines[-1]

    def sequence(self, ids, first_only=0, keep=()):
        """Our side with one sequence written."""
        e = self.engine(len(ids), 1, first_only, keep)
        e.write(ids, [0, len(ids)])
        return e

    def done(self):
        """After a row: peaks once more, engines closed."""
        self.seen.append(self.peaks())
        self.settings = self.engines[0].settings()
        for e in self.engines:
            e.close()
        self.engines = []

    def end(self):
        print(f"# {self.settings}\n{ceilings(self.seen)}")
        self.targets.end()


def operations(model, tokens, keep, first_only=False):
    """Multiply-adds of linear layers and attention; layer l goes on with ceil(keep[l] n) rows after its softmax."""
    layers, d, _, f = MODELS[model]
    n, total = tokens, 0
    for l in range(layers):
        if first_only and l == layers - 1:
            return total + 2 * n * d * d + 2 * d * d + 2 * n * d + 2 * d * f
        m = max(min(2, n), math.ceil(np.float32(keep[l]) * np.float32(n))) if keep and keep[l] else n
        total += 3 * n * d * d + n * n * d + m * n * d + m * d * d + 2 * m * d * f
        n = m
    return total


def ladder(model, tokens, share):
    """The one ratio that every layer keeps so that `share` of the operations is left."""
    layers, low, high = MODELS[model][0], 0.01, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        if operations(model, tokens, [middle] * layers) > share * operations(model, tokens, []):
            high = middle
        else:
            low = middle
    return [low] * layers


def peaks():
    """A function that measures what one core can do, in GOP/s: fp32, bf16, int8 in vectors; bf16, int8 in AMX tiles;
    fp32, int8 in vectors of 256 bits. 0 where the processor lacks it."""
    source = os.path.join(ROOT, "scripts", "bench", "peak.c")
    out = os.path.join(ROOT, "build", "bench", "libpeak.so")
    if not os.path.exists(out) or os.path.getmtime(out) < os.path.getmtime(source):
        subprocess.check_call(["cc", "-O2", "-shared", "-fPIC", source, "-o", out])
    lib, rate = C.CDLL(out), (C.c_double * 7)()

    def measure():
        lib.bench_peak(rate)
        return list(rate)
    return measure


def ceilings(seen):
    """The lines of measured peaks that end a piece: lowest and highest of those seen."""
    names = ("fp32", "bf16", "int8", "bf16 AMX", "int8 AMX", "fp32 256-bit", "int8 256-bit")
    return "# peaks of a core, GOP/s: " + ", ".join(
        f"{n} {min(v):.0f} - {max(v):.0f}" for n, v in zip(names, zip(*seen)) if max(v) > 0)


def alternate(sides, rounds, seconds, once=False):
    """Rounds in which each side runs for about `seconds`, or once, in turn; the median time of each round of each side,
    in ms."""
    import time
    for s in sides:
        s.run(1)
    passes = [1 if once else max(3, int(seconds / max(1e-6, np.median(s.run(5)) * 1e-3))) for s in sides]
    medians = [[] for _ in sides]
    for _ in range(rounds):
        for i, s in enumerate(sides):
            if not once:
                s.run(max(2, passes[i] // 10))
            medians[i].append(float(np.median(s.run(passes[i]))))
            time.sleep(0.004)  # the peer's threads go on spinning for a while
    return [np.array(m) for m in medians]


def fastest(sides, rounds=3, seconds=0.05, once=False):
    """The side that is fastest in a short trial, and what was seen of each."""
    t = [np.median(m) for m in alternate(sides, rounds, seconds, once)]
    return sides[int(np.argmin(t))], ", ".join(f"{s.name} {v:.3f}" for s, v in zip(sides, t))


def ratio(peer, ours):
    """Median of the rounds' ratios with the lowest and highest."""
    r = np.sort(peer / ours)
    return float(np.median(r)), float(r[0]), float(r[-1])


def spread(r):
    return f"{r[0]:.2f} ({r[1]:.2f} - {r[2]:.2f})"


class Targets:
    """Bounds of a script's rows: --least and --aim, one for all rows or one a row; what was missed."""

    @staticmethod
    def add(parser):
        parser.add_argument("--least", default="", help="bounds of the rows (a,b,... or one for all); exit 1 if missed")
        parser.add_argument("--aim", default="", help="what is wished for beyond that")

    def __init__(self, args):
        self.least, self.aim = ([float(v) for v in t.split(",") if v] for t in (args.least, args.aim))
        self.row, self.missed = 0, 0

    def cell(self, value):
        """The next row's verdict."""
        least, aim = (b[min(self.row, len(b) - 1)] if b else None for b in (self.least, self.aim))
        self.row += 1
        if least is None:
            return "-"
        self.missed += value < least
        word = "MISSED" if value < least else "aim" if aim is not None and value >= aim else "holds"
        return f"{word} ({least:g}{f', aim {aim:g}' if aim is not None else ''})"

    def end(self):
        if self.missed:
            fail(f"{self.missed} of {self.row} rows miss their bound")


def fail(text):
    print(text, file=sys.stderr)
    raise SystemExit(1)
