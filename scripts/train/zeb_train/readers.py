"""Reads a task's split into rows, in file order, one row a scored text (or text pair).

The rows are zeb's own (suites/reader_tsv.c, suites/shapes.c, suites/shape_record.c): the same texts, labels, groups and
numbers, for a model is scored on what it was trained on.  What zeb leaves out as malformed is an error here that names
file and line, as training without it would hide it; blank lines and the broken rows of QQP alone are left out.  Bounds
that zeb has against hostile files are not repeated.
"""
from __future__ import annotations

import json
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from .tasks import Task


class DataError(ValueError):
    """A data file that does not say what its task needs; the sentence names file and line."""


@dataclass(frozen=True)
class Row:
    index: int                # data row of the file, left-out ones counted; of COPA, MultiRC, ReCoRD the number of the Row
    a: str
    b: str | None
    label: float | None       # class id, or the score of a regression; None where withheld
    group: int = -1           # rows of one question (COPA, MultiRC, ReCoRD) or pair (AX-g) share a group


def read_split(root: Path, task: Task, split: str) -> list[Row]:
    if split not in task.files:
        raise DataError(f"{task.name} has no split {split!r}; it has {', '.join(task.files)}")
    path = Path(root) / task.folder / task.files[split]
    if not path.is_file():
        raise DataError(f"{path}: no such file (split {split} of {task.name})")
    if split in task.columns:
        task = replace(task, **dict(zip(("a", "b", "label"), task.columns[split])))
    read = _tsv if task.layout in ("tsv", "cola") else _jsonl
    rows = list(read(path, task, split not in task.optional))
    if not rows:
        raise DataError(f"{path}: no rows")
    return rows


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)    # float() also takes "1_0" and " 1"


def label_id(task: Task, value, where: str) -> float:
    if task.labels is None:
        if not _NUMBER.fullmatch(str(value)):
            raise DataError(f"{where}: score {value!r} is not a number")
        if not task.least <= float(value) <= task.most:
            raise DataError(f"{where}: score {value} is outside {task.least:g} to {task.most:g}")
        return float(value)
    key = str(value).lower() if isinstance(value, bool) else str(value)
    if not isinstance(value, (str, int)) or key not in task.labels:
        raise DataError(f"{where}: label {key!r} is not one of {', '.join(task.labels)}")
    return float(task.labels.index(key))


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    with open(path, "rb") as f:
        for number, line in enumerate(f, 1):
            where = f"{path}:{number}"
            try:
                line = line.decode("utf-8-sig" if number == 1 else "utf-8").removesuffix("\n").removesuffix("\r")
            except UnicodeDecodeError as e:
                raise DataError(f"{where}: byte {e.object[e.start]:#x} at column {e.start + 1} is not UTF-8") from None
            if "\0" in line:
                raise DataError(f"{where}: NUL byte")
            yield where, line


# ---- GLUE: tab-separated ----

def _places(task: Task, cells: list[str], labelled: bool, where: str) -> list[int | None]:
    """Where a, b and the label stand, None for what is not there, by the header."""
    wanted = [c for c in (task.a, task.b, task.label if labelled else "") if c]
    if missing := [c for c in wanted if c not in cells]:
        raise DataError(f"{where}: missing column {', '.join(missing)}")
    return [cells.index(c) if c in cells else None for c in (task.a, task.b or None, task.label)]


def _tsv(path: Path, task: Task, labelled: bool) -> Iterator[Row]:
    at, columns, index = None, 0, -1
    for where, line in _lines(path):
        cells = line.split("\t")
        if at is None:
            header = task.layout != "cola" or task.a in cells      # CoLA's train and dev have none
            at, columns = (_places(task, cells, labelled, where), len(cells)) if header else ([3, None, 1], 4)
            if header:
                continue
        index += 1
        problem = (f"{len(cells)} columns, {columns} needed" if len(cells) != columns else
                   "" if any(cells[i] for i in at[:2] if i is not None) else "no text")
        if problem:
            if not line or task.name == "glue/qqp":
                continue
            raise DataError(f"{where}: {problem}")
        a, b, label = (None if i is None else cells[i] for i in at)
        yield Row(index, a, b, None if label is None else label_id(task, label, where))


# ---- SuperGLUE: a JSON record a line ----

def _unique(pairs: list[tuple]) -> dict:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a key twice")
    return out


def _constant(name: str):
    raise ValueError(name)


def _record_of(line: str, where: str) -> dict:
    try:
        record = json.loads(line, object_pairs_hook=_unique, parse_constant=_constant)
    except ValueError as e:
        raise DataError(f"{where}: not JSON ({e})") from None
    if not isinstance(record, dict):
        raise DataError(f"{where}: not a JSON object")
    return record


def _field(record: dict, key: str, where: str):
    if not isinstance(record, dict) or key not in record:
        raise DataError(f"{where}: missing key {key!r}")
    return record[key]


_NO_TEXT = re.compile("[\0\ud800-\udfff]")


def _text(record: dict, key: str, where: str) -> str:
    value = _field(record, key, where)
    if not isinstance(value, str) or _NO_TEXT.search(value):
        raise DataError(f"{where}: {key!r} is {value!r}, not a text")
    return value


def _list(record: dict, key: str, where: str) -> list:
    value = _field(record, key, where)
    if not isinstance(value, list):
        raise DataError(f"{where}: {key!r} is no list")
    return value


def _position(record: dict, key: str, where: str) -> int:
    value = _field(record, key, where)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise DataError(f"{where}: {key!r} is {value!r}, not a position")
    return value


def _label(record: dict, task: Task, labelled: bool, where: str) -> float | None:
    return label_id(task, _field(record, task.label, where), where) if labelled else None


def _has_label(task: Task, record) -> bool:
    """Whether the first record of a split that needs no labels has one."""
    way = {"multirc": ("passage", "questions", 0, "answers", 0), "record": ("qas", 0)}.get(task.layout, ())
    try:
        for key in way:
            record = record[key]
        return task.label in record.keys()
    except (AttributeError, KeyError, IndexError, TypeError):
        return False


def _jsonl(path: Path, task: Task, labelled: bool) -> Iterator[Row]:
    shape = _SHAPES[task.layout]
    count, group, first = 0, -1, True
    for index, (where, line) in enumerate(_lines(path)):
        if not line:
            continue
        record = _record_of(line, where)
        labelled, first, before = labelled or first and _has_label(task, record), False, count
        for question in shape(record, task, labelled, where):
            if not task.is_question:
                group = index // 2 if task.pairs else -1
            elif question:
                group = index if task.layout == "copa" else group + 1
            for a, b, label in question:
                if not a and not b:
                    raise DataError(f"{where}: no text")
                yield Row(count if task.is_question else index, a, b, label, group)
                count += 1
        if count == before:
            raise DataError(f"{where}: no examples in it")


# A shape gives a record's questions, each a list of (a, b, label).

def _pair(r: dict, task: Task, labelled: bool, where: str):
    yield [(_text(r, task.a, where), _text(r, task.b, where), _label(r, task, labelled, where))]


def _wic(r: dict, task: Task, labelled: bool, where: str):
    """The word leads the first sentence: a [CLS] classifier sees no spans."""
    yield [(f"{_text(r, 'word', where)}: {_text(r, 'sentence1', where)}", _text(r, "sentence2", where),
            _label(r, task, labelled, where))]


def _wsc(r: dict, task: Task, labelled: bool, where: str):
    """*The pronoun* marked where it stands: at its word, else (the official files miscount in places) at the nearest
    word that begins like it."""
    t = _field(r, "target", where)
    text, pronoun = _text(r, "text", where).encode(), _text(t, "span2_text", where).encode()
    noun, index = _text(t, "span1_text", where), _position(t, "span2_index", where)
    lower, starts = text.lower(), [0, *(m.end() for m in re.finditer(b" ", text))]      # of bytes: ASCII alone
    like = [(abs(at - index), s) for at, s in enumerate(starts) if lower.startswith(pronoun.lower(), s)]
    if not pronoun or not like:
        raise DataError(f"{where}: {pronoun.decode()!r} does not stand in the text")
    start = min(like)[1]
    end = start + len(pronoun)
    marked = b"%b*%b*%b" % (text[:start], text[start:end], text[end:])
    yield [(marked.decode(), noun, _label(r, task, labelled, where))]


def _copa(r: dict, task: Task, labelled: bool, where: str):
    """Two rows a question; the higher score of class 1 wins."""
    question, gold = _text(r, "question", where), _label(r, task, labelled, where)
    if question not in ("cause", "effect"):
        raise DataError(f"{where}: question {question!r} is neither cause nor effect")
    asked = f"{_text(r, 'premise', where)} {'What was the cause?' if question == 'cause' else 'What happened?'}"
    yield [(asked, _text(r, f"choice{i + 1}", where), float(gold == i) if labelled else None) for i in (0, 1)]


def _multirc(r: dict, task: Task, labelled: bool, where: str):
    passage = _field(r, "passage", where)
    text = _text(passage, "text", where)
    for question in _list(passage, "questions", where):
        asked = _text(question, "question", where)
        yield [(text, f"{asked} {_text(answer, 'text', where)}", _label(answer, task, labelled, where))
               for answer in _list(question, "answers", where)]


def _normal(text: str) -> str:
    """suites/answer.c: lower case a character at a time, without ASCII punctuation, articles and odd space."""
    kept = "".join(c.lower()[0] for c in text if c not in string.punctuation)
    return " ".join(w for w in kept.split() if w not in ("a", "an", "the"))


def _entities(passage: dict, text: str, where: str) -> list[str]:
    """Distinct, in the passage's order of spans."""
    out: dict[str, None] = {}
    for span in _list(passage, "entities", where):
        start, end = _position(span, "start", where), _position(span, "end", where)
        if not start <= end < len(text):
            raise DataError(f"{where}: an entity at {start} to {end} is outside the passage")
        out[text[start:end + 1]] = None
    return list(out)


def _record(r: dict, task: Task, labelled: bool, where: str):
    """Right is an entity that equals an answer when both are normalised."""
    passage = _field(r, "passage", where)
    text = _text(passage, "text", where)
    names = _entities(passage, text, where)
    for q in _list(r, "qas", where):
        query = _text(q, "query", where)
        if "@placeholder" not in query:
            raise DataError(f"{where}: a query without @placeholder")
        golds = {_normal(_text(a, "text", where)) for a in _list(q, task.label, where)} if labelled else ()
        yield [(text, query.replace("@placeholder", name, 1), float(_normal(name) in golds) if labelled else None)
               for name in names]


_SHAPES = {"jsonl": _pair, "wic": _wic, "wsc": _wsc, "copa": _copa, "multirc": _multirc, "record": _record}
