#!/usr/bin/env python3
"""Compares zeb's WordPiece with Hugging Face `tokenizers`, id by id, on every sentence of a folder of data sets, on every
code point, and on random text.

Usage: check_wordpiece.py --program build/release/tests/unit/tokenizers/tokenize_records --data ../shared/data
Needs: pip install tokenizers. Exit status 1 when anything differs.
"""
import argparse
import json
import pathlib
import random
import sys
import tempfile

from wordpiece_reference import SPECIAL, compare, read_vocab, reference


def sentences(folder):
    """(file, texts of its lines' fields) of every TSV, text and JSONL file below."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".tsv", ".txt") and "vocab" not in path.parts and "weights" not in path.parts:
            lines = path.read_bytes().decode("utf-8", errors="ignore").split("\n")
            yield path, [[field for field in line.rstrip("\r").split("\t")] for line in lines if line]
        elif path.suffix in (".raw", ".tokens"):
            yield path, [[line] for line in path.read_text(encoding="utf-8").split("\n")]
        elif path.suffix == ".jsonl":
            rows = [json.loads(line) for line in path.open(encoding="utf-8")]
            yield path, [list(strings(row)) for row in rows]


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings(part)


def from_data(args, vocab, folder, draw):
    bad = total = 0
    tokenizer = reference(vocab)
    for path, rows in sentences(args.data):
        texts = [t for row in rows for t in row]
        records = [(t, None, 1 << 20) for t in texts]
        for row in rows:  # every neighbouring pair of fields, cut at a length that often bites
            if len(row) > 1:
                at = draw.randrange(len(row) - 1)
                records.append((row[at], row[at + 1], draw.choice([3, 4, 5, 8, 16, 31, 32, 64, 127, 128, 512])))
            records.append((draw.choice(row), None, draw.choice([2, 3, 7, 16, 32, 128])))
        bad += compare(args.program, folder, tokenizer, records, str(path.relative_to(args.data)))
        total += len(records)
    print(f"all data: {total} encoded, {bad} differ")
    return bad


def write_folder(folder, vocab, **options):
    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(options))
    return folder


def letters(draw, count):
    """A vocabulary of single characters, so that nothing hides behind [UNK]."""
    points = [c for c in range(0x21, 0x110000) if not 0xD800 <= c <= 0xDFFF and chr(c) not in "\x85\u2028\u2029"]
    low = [c for c in points if c < 0x3400 or 0xA000 <= c < 0xAC00 or 0xF900 <= c < 0x12000 or 0x1D000 <= c < 0x1F000]
    chosen = sorted(set(low) | set(draw.sample(points, count)) - set(range(0x80, 0xA1)))
    tokens = SPECIAL + [chr(c) for c in chosen]
    return tokens + ["##" + chr(c) for c in chosen]


def from_points(args, draw, temporary):
    """Every code point, alone and between letters and marks, under every combination of options."""
    tokens = letters(draw, 60000)
    vocab = {t: i for i, t in enumerate(tokens)}
    bad = 0
    points = [chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
    marks = [chr(c) for c in range(0x300, 0x370)] + list("\u08d4\u302e\u302f\u1dfb\ua953\U0001d165\U0001d16d\U0001e94a\u034f")
    for number, (lower, strip, ideographs) in enumerate(
            [(True, None, True), (True, False, True), (False, None, True), (False, True, False), (True, True, False)]):
        folder = write_folder(temporary / f"points{number}", tokens, do_lower_case=lower, strip_accents=strip,
                              tokenize_chinese_chars=ideographs)
        tokenizer = reference(vocab, lower, strip, ideographs)
        records = [("x".join(points[i:i + 40]), None, 1 << 20) for i in range(0, len(points), 40)]
        for _ in range(args.random):
            pool = draw.choice([SPECIAL + [" ", "[", "]", "SEP", "(", "\u3000"], points[:0x250], points[:0x3000], marks, points[0xAC00:0xD7A4], points])
            word = "".join(draw.choice(draw.choice([pool, marks, points[0x41:0x7b]])) for _ in range(draw.randrange(40)))
            records.append((word, draw.choice([None, word[::-1]]), draw.choice([3, 8, 9, 16, 1 << 20])))
        bad += compare(args.program, folder, tokenizer, records,
                       f"code points, lower {lower}, strip {strip}, ideographs {ideographs}")
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--data", type=pathlib.Path, help="folder with glue/ and vocab/; left out: code points only")
    parser.add_argument("--vocab", type=pathlib.Path, help="vocab.txt; default: that of bert-base-uncased below --data")
    parser.add_argument("--random", type=int, default=20000, help="random texts under each combination of options")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    draw = random.Random(args.seed)
    bad = 0
    with tempfile.TemporaryDirectory() as temporary:
        bad += from_points(args, draw, pathlib.Path(temporary))
        if args.data:
            path = args.vocab or args.data / "vocab/bert-base-uncased/vocab.txt"
            bad += from_data(args, read_vocab(path), path.parent, draw)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
