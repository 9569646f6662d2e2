"""Unlabelled text for task-agnostic distillation: train files only, without what any task holds out (dev, test, calib).

WikiText-2 (its valid and test parts, words only) is cut into sentence windows; WordNet's examples of use are
sentences and phrases; every other row is a text or text pair as its task encodes it.
"""
from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from . import tokens
from .batches import holdout
from .loop import log
from .readers import Row, read_split
from .tasks import TASKS, Task, get

_TRAIN = ("glue/cola", "glue/sst2", "glue/mrpc", "glue/stsb", "glue/rte", "glue/wnli",
          "superglue/cb", "superglue/copa", "superglue/multirc", "superglue/wic", "superglue/wsc")


def texts(root: Path, taken: set[str] = frozenset()) -> list[Row]:
    """`taken`: what is held out, which a passage is asked for before it is cut into windows."""
    root, out = Path(root), []
    for name in _TRAIN:
        if not (root / TASKS[name].folder / TASKS[name].files["train"]).is_file():
            log(f"corpus: {name} has no train file here, left out")
            continue
        rows = read_split(root, TASKS[name], "train")
        if name == "superglue/multirc":        # the passages repeat with every answer
            rows = free_of(rows, taken)
            seen = {r.a: None for r in rows}
            out += [Row(0, part, None, None) for a in seen for part in _windows(a)]
            out += [Row(0, b, None, None) for b in {r.b: None for r in rows}]
        else:
            out += rows
    out += questions(root)
    out += examples(root)
    for name in ("wiki.valid.tokens", "wiki.test.raw"):
        path = root / "wikitext2" / name
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                text = line.strip().replace(" @-@ ", "-").replace(" @,@ ", ",").replace(" @.@ ", ".")
                if len(text) > 30 and not text.startswith("="):
                    out += [Row(0, part, None, None) for part in _windows(text)]
    return out


def local(root: Path, task: Task) -> Task:
    """The task as its files are at hand: where QQP's train file is not, a part of it may be."""
    part, folder = "train_subset.tsv", Path(root) / task.folder
    if task.name == "glue/qqp" and not (folder / task.files["train"]).is_file() and (folder / part).is_file():
        return replace(task, files={**task.files, "train": part})
    return task


def questions(root: Path) -> list[Row]:
    """Labelled rows of QQP's train file, as much of it as is at hand, or none."""
    return [r for t in at_hand(root, ["glue/qqp"]) if "train" in t.files for r in read_split(root, t, "train")]


def examples(root: Path) -> list[Row]:
    """What WordNet's data files (wordnet/data.*, as Debian's wordnet-base has them) quote in their glosses."""
    found: dict[str, None] = {}
    for path in sorted((Path(root) / "wordnet").glob("data.*")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            found.update((text, None) for text in re.findall(r'"([^"]+)"', line.partition(" | ")[2])
                         if len(text.split()) > 3)
    return [Row(0, text, None, None) for text in found]


def plain(text: str) -> str:
    """Letters and digits alone, to find a text again in another task's spelling."""
    return "".join(c for c in text.lower() if c.isalnum())


def at_hand(root: Path, names: Sequence[str] = tuple(TASKS)) -> list[Task]:
    """Those of the tasks that have files here, with these files alone."""
    tasks = [local(root, get(n)) for n in names]
    tasks = [replace(t, files={s: f for s, f in t.files.items() if (Path(root) / t.folder / f).is_file()}) for t in tasks]
    return [t for t in tasks if t.files]


def held_out(root: Path, names: Sequence[str] = tuple(TASKS), calib: float = 0.05) -> set[str]:
    """Texts (plain, from four words on) of these tasks' dev and test files at hand and of their calib rows, which no other
    task and no plain text may hold: STS-B and MRPC, for one, draw on the same pairs and split them differently."""
    out: set[str] = set()
    for task in at_hand(root, names):
        for split in task.files:
            rows = read_split(root, task, split)
            if split == "train":
                rows = [r for r, held in zip(rows, holdout(rows, calib)) if held]
            out |= {plain(t) for r in rows for t in (r.a, r.b) if t and len(t.split()) > 3}
    return out


def is_free(row: Row, texts: set[str]) -> bool:
    return not texts or plain(row.a) not in texts and plain(row.b or "") not in texts


def free_of(rows: list[Row], texts: set[str]) -> list[Row]:
    return [r for r in rows if is_free(r, texts)]


def overlap(rows: list[Row], others: list[Row]) -> np.ndarray:
    """True where a text of a row stands in a text of `others`, or one of those in it (plain, from four words on)."""
    def long(rows):
        return [[plain(t) for t in (r.a, r.b) if t and len(t.split()) > 3] for r in rows]
    mine, theirs = long(rows), {t for texts in long(others) for t in texts}
    whole = "\n".join(theirs)
    out = np.array([any(t in whole for t in texts) for texts in mine], bool)
    joined = ["\t".join(texts) for texts in mine]
    ends, everything = np.cumsum([len(t) + 1 for t in joined]), "\n".join(joined)
    for t in theirs:
        at = everything.find(t)
        while at >= 0:
            out[np.searchsorted(ends, at, "right")] = True
            at = everything.find(t, at + 1)
    return out


def _windows(text: str, words: int = 60) -> list[str]:
    """Pieces of whole sentences, about `words` long."""
    out, now = [], []
    for word in text.split():
        now.append(word)
        if len(now) >= words and word[-1] in ".!?;" or len(now) >= 2 * words:
            out.append(" ".join(now))
            now = []
    if len(now) > 5 or not out:
        out.append(" ".join(now))
    return out


def distinct(root: Path) -> list[Row]:
    """Without what any task holds out."""
    seen: dict[tuple, Row] = {}
    taken = held_out(root)
    for r in texts(root, taken):
        seen.setdefault((r.a, r.b), Row(0, r.a, r.b, None))
    return free_of(list(seen.values()), taken)


def packed(root: Path, vocab: Path, max_length: int = 128) -> tokens.Packed:
    return tokens.encode(tokens.load(vocab), distinct(root), max_length)


def join(p: tokens.Packed, rng: np.random.Generator, fraction: float = 0.5) -> tokens.Packed:
    """Joins random single texts end to end, so that long inputs are seen where train rows are short."""
    single = np.array([p.types[s:s + n].max() == 0 for s, n in zip(p.start, p.length)])
    rows = rng.permutation(np.flatnonzero(single & (p.length < 40)))
    rows = rows[:int(len(rows) * fraction) // 2 * 2].reshape(-1, 2)
    ids = []
    for one, two in rows:
        a = p.ids[p.start[one]:p.start[one] + p.length[one] - 1]
        b = p.ids[p.start[two] + 1:p.start[two] + p.length[two]]
        ids.append(np.concatenate([a, b]))
    return tokens.unlabelled(ids, [np.zeros(len(x), np.int8) for x in ids], [len(x) for x in ids])
