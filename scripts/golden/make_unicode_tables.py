#!/usr/bin/env python3
"""Writes harness/tokenizers/unicode_tables.c: what Hugging Face `tokenizers` does with each code point.

BERT's text clean-up mixes several versions of Unicode (categories of one library, decompositions of another, lower
case of a third), so the tables are not taken from a Unicode release: every code point is put through the real
normaliser and pre-tokeniser, and what comes out is written down.

Usage: make_unicode_tables.py > harness/tokenizers/unicode_tables.c      (needs: pip install tokenizers)
"""
import sys
import unicodedata

import tokenizers
from tokenizers.normalizers import NFD, BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

DROP, SPACE, CJK, STRIP, BARRIER, LOWER, WHITE, PUNCT = (1 << i for i in range(8))
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
clean = BertNormalizer(True, False, False, False)
cjk = BertNormalizer(False, True, False, False)
strip = BertNormalizer(False, False, True, False)
lower = BertNormalizer(False, False, False, True)
split = BertPreTokenizer()
nfd = NFD()


def hangul(c):
    return 0xAC00 <= c <= 0xD7A3


def flags_of(c, strips, lowers):
    ch, flags = chr(c), 0
    cleaned = clean.normalize_str(f"a{ch}b")
    assert cleaned in ("ab", "a b", f"a{ch}b"), hex(c)
    flags |= DROP if cleaned == "ab" else SPACE if cleaned == "a b" else 0
    spaced = cjk.normalize_str(ch)
    assert spaced in (ch, f" {ch} "), hex(c)
    flags |= CJK if spaced != ch else 0
    stripped, lowered = strip.normalize_str(ch), lower.normalize_str(ch)
    if stripped != ch:
        flags |= STRIP
        if not hangul(c):
            strips[c] = stripped
    if lowered != ch:
        flags |= LOWER
        lowers[c] = lowered
    parts = [p for p, _ in split.pre_tokenize_str(f"a{ch}b")]
    assert parts in (["a", "b"], ["a", ch, "b"], [f"a{ch}b"]), hex(c)
    flags |= WHITE if parts == ["a", "b"] else PUNCT if len(parts) == 3 else 0
    return flags


def representatives():
    """One mark for each combining class, as known to Python, that neither decomposes nor is unknown to NFD here."""
    low, high = chr(0x334), chr(0x345)  # classes 1 and 240, since Unicode 1

    def moves(ch):
        return ch in (low, high) or nfd.normalize_str(ch + low) == low + ch or nfd.normalize_str(high + ch) == ch + high

    found = {}
    for c in CODE_POINTS:
        v = unicodedata.combining(chr(c))
        if v and v not in found and nfd.normalize_str(chr(c)) == chr(c) and moves(chr(c)):
            found[v] = c
    return dict(sorted(found.items()))


def combining(c, reps):
    """The class of a code point, seen in how NFD sorts it among the representatives; 0 for a starter."""
    ch = chr(c)
    below = [v for v, r in reps.items() if nfd.normalize_str("a" + ch + chr(r)) == "a" + chr(r) + ch and r != c]
    above = [v for v, r in reps.items() if nfd.normalize_str("a" + chr(r) + ch) == "a" + ch + chr(r) and r != c]
    if not below and not above:
        return 0
    same = [v for v in reps if v not in below and v not in above]
    assert len(same) == 1, (hex(c), same)
    return same[0]


def ranges(values):
    """(first, last, value) of equal neighbours; value 0 is left out."""
    out = []
    for c, v in sorted(values.items()):
        if not v:
            continue
        if out and out[-1][2] == v and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c, v])
    return out


def shifts(single):
    """(first, last, step, delta) for code points that move by the same distance."""
    out = []
    for c, to in sorted(single.items()):
        if out:
            first, last, step, delta = out[-1]
            if to - c == delta and ((step in (0, 1) and c == last + 1) or (step in (0, 2) and c == last + 2)):
                out[-1] = [first, c, c - last, delta]
                continue
        out.append([c, c, 0, to - c])
    return [[f, l, s or 1, d] for f, l, s, d in out]


def sequences(several):
    return [f"{{0x{c:X},{{{','.join(hex(ord(ch)) for ch in s)}}}}}," for c, s in sorted(several.items()) if len(s) > 1]


def emit(kind, name, rows):
    print(f"const {kind} {name}[] = {{")
    line = "   "
    for row in rows:
        if len(line) + len(row) + 1 > 120:
            print(line)
            line = "   "
        line += " " + row
    print(line + "\n};")
    print(f"const size_t {name}_count = sizeof {name} / sizeof {name}[0];\n")


def main():
    strips, lowers = {}, {}
    flags = {c: flags_of(c, strips, lowers) for c in CODE_POINTS}
    reps = representatives()
    probe_high, probe_low = chr(0x1D16D), chr(0x1D165)  # survive stripping; classes 226 and 216
    assert strip.normalize_str(probe_high + probe_low) == probe_low + probe_high
    order = {}
    for c in CODE_POINTS:
        if flags[c] & DROP or hangul(c):
            continue
        left = strips.get(c, chr(c))
        if not left:  # dropped: does it keep what stands around it from being sorted?
            if strip.normalize_str(probe_high + chr(c) + probe_low) == probe_high + probe_low:
                flags[c] |= BARRIER
            continue
        for ch in left:
            order.setdefault(ord(ch), None)
        assert len(left) <= len(chr(c).encode()), hex(c)  # never more tokens than bytes of text
    for c in order:
        # most code points are starters in every version: only marks can be anything else
        order[c] = combining(c, reps) if unicodedata.category(chr(c))[0] in "MC" or unicodedata.combining(chr(c)) else 0
    for c in strips:
        if any(order.get(ord(ch)) for ch in strips[c]):  # a dropped starter inside would need a barrier of its own
            assert nfd.normalize_str(chr(c)) == strips[c], hex(c)
    assert all(not order.get(c) for c in lowers)
    assert all(len(v) <= 3 for v in lowers.values()) and all(len(v) <= 3 for v in strips.values())

    print(f"/* Written by scripts/golden/make_unicode_tables.py from what Hugging Face tokenizers {tokenizers.__version__} "
          "does\n * with each code point: do not edit. */")
    print('#include "tokenizers/unicode.h"\n\n/* clang-format off */')
    emit("zeb_unicode_range", "zeb_unicode_flags",
         [f"{{0x{f:X},0x{l:X},{v}}}," for f, l, v in ranges(flags)])
    emit("zeb_unicode_range", "zeb_unicode_order", [f"{{0x{f:X},0x{l:X},{v}}}," for f, l, v in ranges(order)])
    single = {c: ord(s) for c, s in strips.items() if len(s) == 1}
    emit("zeb_unicode_shift", "zeb_unicode_strips",
         [f"{{0x{f:X},0x{l:X},{s},{d}}}," for f, l, s, d in shifts(single)])
    emit("zeb_unicode_sequence", "zeb_unicode_strip_sequences", sequences(strips))
    single = {c: ord(s) for c, s in lowers.items() if len(s) == 1}
    emit("zeb_unicode_shift", "zeb_unicode_lowers",
         [f"{{0x{f:X},0x{l:X},{s},{d}}}," for f, l, s, d in shifts(single)])
    emit("zeb_unicode_sequence", "zeb_unicode_lower_sequences", sequences(lowers))
    print("/* clang-format on */")
    print(f"flags {len(ranges(flags))} order {len(ranges(order))} strips {len(strips)} lowers {len(lowers)}",
          file=sys.stderr)


if __name__ == "__main__":
    main()
