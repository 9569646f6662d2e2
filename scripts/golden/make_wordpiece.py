#!/usr/bin/env python3
"""Writes the WordPiece fixtures of tests/unit/tokenizers from Hugging Face `tokenizers`:

  nasty.txt      texts that break tokenizers, one a line, invisible characters as \\u{HEX}, a backslash as \\\\
  vocab/         a small vocabulary in which most of their characters are tokens
  nasty.golden   "lower strip ideographs" (strip 2: as lower), then for each line of nasty.txt its ids, then those of it
                 and the next line as a pair of at most 12 ids, "id:type" where the type is not 0
  glue.golden    for each GLUE file below --data: name, texts, ids, and the sha256 of all ids as little-endian int32:
                 every field of every line alone, then the first and last field of every line as a pair of at most 64

Usage: make_wordpiece.py --data ../shared/data [--out tests/unit/tokenizers]
Needs: pip install tokenizers transformers (the latter only to see that both agree).
"""
import argparse
import array
import hashlib
import json
import pathlib
import sys
import unicodedata

from wordpiece_reference import SPECIAL, read_vocab, reference

NASTY = [
    "", " ", "\t \r \x0b \x0c ", "plain words, twice: plain words", "Don't!!! (Really?) [sic] {x} <y> `z` ~ ^ | \\ / @ # $ % & * _ + = -",
    "UPPER lower MiXeD", "1,234.56 7e-9 0x1F", "...---...", "a" * 100, "a" * 101, "a" * 99 + "\u0301\u0301", "\u00e9" * 100,
    "\u00e9" * 101, "e\u0301" * 100, "word " + "b" * 5000 + " word", "x\u0000y\u0001z\u007f\u0080\u009f!", "bad \ufffd replacement",
    "\ufeffbyte order mark", "soft\u00adhyphen zero\u200bwidth\u200cnon\u200djoiner", "left\u200eright\u200f\u202aembed\u202c",
    "nbsp\u00a0thin\u2009ideographic\u3000narrow\u202fogham\u1680line\u2028para\u2029nel\u0085mongolian\u180eend",
    "\U0001F600 \U0001F469\u200d\U0001F469\u200d\U0001F467 \U0001F44D\U0001F3FD \U0001F1E9\U0001F1EA \u2764\ufe0f 1\ufe0f\u20e3",
    "caf\u00e9 cafe\u0301 CAF\u00c9 nai\u0308ve \u00c5ngstr\u00f6m \u212b", "a\u0323\u0302 a\u0302\u0323 \u1ead q\u0307\u0323",
    "\u0130stanbul I\u0131\u0307 i\u0307 \u0131", "Stra\u00dfe STRASSE \u1e9e", "\u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3 \u03a3 \u03b1\u03a3 \u03b1\u03a3\u03b2 \u03c2",
    "\u01c5 \u01f1 \u01c4 \ufb01 \ufb03 \u0149 \u1e96", "\u2126 \u212a \u00b5 \u03bc \u1f71 \u03ac", "\u037e ; \u0387 \u00b7 \u1fef `",
    "\u4e2d\u6587\u5b57\u7b26 mixed\u4e2dwords \u3042\u3044 \u30ab\u30bf \uff21\uff22\uff23\uff01", "\U00020000\U0002a6df \U0002a700 \U0002b740 \U0002b820 \U0002ceb0 \uf900 \U0002f800 \u3400",
    "\ud55c\uad6d\uc5b4 \ud55c \u1112\u1161\u11ab \uac00 \u3131 \u302e\u302f", "\u0645\u0631\u062d\u0628\u0627 \u0627\u0644\u0633\u0651\u064e\u0644\u0627\u0645 \u06c1 \u0640 \u061f \u060c \u08d4\u064b",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0915\u093c \u0958 \u0964", "\u0e44\u0e17\u0e22 \u0e19\u0e49\u0e33", "\u05e9\u05c1\u05dc\u05d5\u05b9\u05dd \ufb2a \u05be",
    "\u09cb \u0bca \u0dde \u0cca \u0ccb", "\ue000 private \U000f0000 use \U0010fffd", "unassigned \u0378 \U0003fffe \ufdd0 \uffff \U0010ffff",
    "\U0001d15e \U0001d160 x\U0001d16d\U0001d165 x\U0001d16d\u0301\U0001d165 x\U0001d16d\u034f\U0001d165", "\u302e\u1dfb\u302f \ua953\u08d4\U0001e94a",
    "\u1c89 \ua7cb \ua7dc \U00010d50 \U00016ea0 \U00010400 \u13a0 \u10a0 \u1c90", "\u2018q\u2019 \u201cq\u201d \u00abq\u00bb \u2013 \u2014 \u2026 \u20ac \u00a3 \u00a7 \u00b6 \u2022",
    "[CLS] a [SEP] b [MASK] [PAD] [UNK]", "a[SEP]b[MASK][MASK]c", "[sep] [ SEP ] [SEP", "[[SEP]] [CLS[SEP]]", "\u00e9[SEP]\u0301x",
    "un##related ##ing # ## ###", "\u2460 \u00b2 \u00bd \u2167 \u33a1", "\u0e33 \u0eb3 \u0f0b \u1039", "A\u030a\u0327 \u00c5\u0327 \u1e08",
    "\u1734x\u1734 \u1e2a \u166d \U000111c9", "tab\tseparated\tfields", "trailing space ", " leading", "\U0001F1FA\U0001F1F8", "\u200d\u200d\u200d", "\u0301", "\u0301a",
]


def escape(text):
    shown = []
    for ch in text:
        if ch == "\\":
            shown.append("\\\\")
        elif ch == " " or (ch.isascii() and ch.isprintable()) or unicodedata.category(ch)[0] in "LNPS":
            shown.append(ch)
        else:
            shown.append(f"\\u{{{ord(ch):X}}}")
    return "".join(shown)


CONFIGS = [(1, 2, 1), (0, 2, 1), (1, 0, 1), (0, 1, 0)]


def small_vocab():
    """Every character that any configuration leaves of the texts, alone and continuing, and pieces of their words."""
    singles, pieces = set(), set()
    for lower, strip, ideographs in CONFIGS:
        blank = reference({t: i for i, t in enumerate(SPECIAL)}, bool(lower), None if strip == 2 else bool(strip),
                          bool(ideographs))
        for text in NASTY:
            for word, _ in blank.pre_tokenizer.pre_tokenize_str(blank.normalizer.normalize_str(text)):
                singles.update(word)
                if len(word) < 40:
                    pieces.update({word[:3], "##" + word[-3:], word[:len(word) // 2 + 1]})
    singles -= set("\u1c89\u20ac")  # some stay unknown
    tokens = SPECIAL + sorted(singles) + ["##" + ch for ch in sorted(singles - set("\u00df"))]
    return tokens + sorted(p for p in pieces if len(p) > 1 and p not in tokens and not (p[:2] == "##" and len(p) == 3))


def line_of(got):
    return " ".join(f"{i}:{t}" if t else str(i) for i, t in zip(got.ids, got.type_ids))


def nasty_golden(vocab):
    lines = []
    for lower, strip, ideographs in CONFIGS:
        tokenizer = reference(vocab, bool(lower), None if strip == 2 else bool(strip), bool(ideographs))
        lines.append(f"{lower} {strip} {ideographs}")
        for i, text in enumerate(NASTY):
            tokenizer.no_truncation()
            lines.append(line_of(tokenizer.encode(text)))
            tokenizer.enable_truncation(12, strategy="longest_first")
            lines.append(line_of(tokenizer.encode(text, NASTY[(i + 1) % len(NASTY)])))
    return lines


def glue_golden(data):
    vocab = read_vocab(data / "vocab/bert-base-uncased/vocab.txt")
    tokenizer = reference(vocab)
    lines = []
    for path in sorted((data / "glue").rglob("*.tsv")):
        digest, texts, ids = hashlib.sha256(), 0, 0
        for line in path.read_bytes().decode("utf-8").split("\n"):
            fields = line.removesuffix("\r").split("\t")
            tokenizer.no_truncation()
            encoded = tokenizer.encode_batch(fields)
            tokenizer.enable_truncation(64, strategy="longest_first")
            encoded.append(tokenizer.encode(fields[0], fields[-1]))
            for got in encoded:
                stream = array.array("i", got.ids)
                if sys.byteorder == "big":
                    stream.byteswap()
                digest.update(stream.tobytes())
                texts += 1
                ids += len(got.ids)
        lines.append(f"{path.relative_to(data)}\t{texts}\t{ids}\t{digest.hexdigest()}")
    return lines


def agree_with_transformers(vocab):
    """transformers' own BertTokenizer gives the same ids."""
    from transformers import BertTokenizer

    ours, theirs = reference(vocab), BertTokenizer(vocab=dict(vocab))
    for i, text in enumerate(NASTY):
        other = NASTY[(i + 1) % len(NASTY)] or "x"  # a single call takes an empty second text for none
        assert ours.encode(text).ids == theirs(text)["input_ids"], text
        ours.enable_truncation(12, strategy="longest_first")
        got = theirs(text, other, truncation="longest_first", max_length=12)
        want = ours.encode(text, other)
        assert (want.ids, want.type_ids) == (got["input_ids"], got["token_type_ids"]), text
        ours.no_truncation()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, help="folder with glue/ and vocab/; left out: no glue.golden")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("tests/unit/tokenizers"))
    args = parser.parse_args()
    tokens = small_vocab()
    vocab = {t: i for i, t in enumerate(tokens)}
    assert len(vocab) == len(tokens)
    agree_with_transformers(vocab)
    (args.out / "vocab").mkdir(exist_ok=True)
    (args.out / "vocab/vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    (args.out / "vocab/tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True}) + "\n")
    (args.out / "nasty.txt").write_text("\n".join(map(escape, NASTY)) + "\n", encoding="utf-8")
    (args.out / "nasty.golden").write_text("\n".join(nasty_golden(vocab)) + "\n")
    if args.data:
        (args.out / "glue.golden").write_text("\n".join(glue_golden(args.data)) + "\n")


if __name__ == "__main__":
    main()
