"""Reads a task's split into rows, in file order, one row a scored text (or text pair).

Every fault names the file and the line.  Blank lines are the only thing skipped silently; a row with
too few columns, or a label outside the task's set, is an error: training on it would hide it.
"""
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from .tasks import Task


class DataError(ValueError):
    """A data file that does not say what its task needs; the sentence names file and line."""


@dataclass(frozen=True)
class Row:
    index: int                # position among the split's rows
    a: str
    b: str | None
    label: float | None       # class id, or the score of a regression; None where withheld
    group: int = -1           # rows of one question (COPA, MultiRC, ReCoRD) share a group


def read_split(root: Path, task: Task, split: str) -> list[Row]:
    if split not in task.files:
        raise DataError(f"{task.name} has no split {split!r}")
    path = Path(root) / task.folder / task.files[split]
    if not path.is_file():
        raise DataError(f"{path}: no such file (split {split} of {task.name})")
    labelled = split not in task.optional
    return list(_LAYOUTS[task.layout](path, task, labelled))


def label_id(task: Task, text, where: str) -> float:
    if task.labels is None:
        try:
            value = float(text)
        except (TypeError, ValueError):
            raise DataError(f"{where}: score {text!r} is not a number") from None
        if not task.least <= value <= task.most:                    # nor is NaN, which stands for no label
            raise DataError(f"{where}: score {text} is outside {task.least:g} to {task.most:g}")
        return value
    key = str(text).lower() if isinstance(text, bool) else str(text)
    if key not in task.labels:
        raise DataError(f"{where}: label {key!r} is not one of {', '.join(task.labels)}")
    return float(task.labels.index(key))


def _lines(path: Path):
    with open(path, "rb") as f:
        for number, line in enumerate(f, 1):
            try:
                line = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as e:
                raise DataError(f"{path}:{number}: byte {e.object[e.start]:#x} at column {e.start + 1} is not UTF-8") from None
            if line:
                yield f"{path}:{number}", line


def _tsv(path: Path, task: Task, labelled: bool):
    columns: list[str] | None = None
    count = 0
    for where, line in _lines(path):
        cells = line.split("\t")
        if columns is None:
            columns = [c.strip() for c in cells]
            if task.name == "glue/ax":
                columns = [_AX_COLUMNS.get(c, c) for c in columns]
            wanted = [c for c in (task.a, task.b, task.label if labelled else "") if c]
            missing = [c for c in wanted if c not in columns]
            if missing:
                raise DataError(f"{where}: missing column {', '.join(missing)}")
            at = {c: i for i, c in enumerate(columns)}
            need = max(at[c] for c in wanted)
            continue
        if len(cells) <= need:
            if task.name == "glue/qqp":                             # known broken rows of QQP
                continue
            raise DataError(f"{where}: {len(cells)} columns, {need + 1} needed")
        value = label_id(task, cells[at[task.label]], where) if labelled else None
        yield Row(count, cells[at[task.a]], cells[at[task.b]] if task.b else None, value)
        count += 1
    if columns is None:
        raise DataError(f"{path}: empty file")


_AX_COLUMNS = {"Premise": "sentence1", "Hypothesis": "sentence2", "Label": "label"}


def _cola(path: Path, task: Task, labelled: bool):
    if not labelled:                       # the test file does have a header
        yield from _tsv(path, task, labelled)
        return
    for count, (where, line) in enumerate(_lines(path)):
        cells = line.split("\t")
        if len(cells) < 4:
            raise DataError(f"{where}: {len(cells)} columns, 4 needed")
        yield Row(count, cells[3], None, label_id(task, cells[1], where))


def _records(path: Path):
    for where, line in _lines(path):
        try:
            yield where, json.loads(line)
        except json.JSONDecodeError as e:
            raise DataError(f"{where}: not JSON ({e.msg})") from None


def _field(record: dict, key: str, where: str):
    if not isinstance(record, dict) or key not in record:
        raise DataError(f"{where}: missing key {key!r}")
    return record[key]


def _text(record: dict, key: str, where: str) -> str:
    value = _field(record, key, where)
    if not isinstance(value, str):
        raise DataError(f"{where}: {key!r} is {value!r}, not a text")
    return value


def _list(record: dict, key: str, where: str) -> list:
    value = _field(record, key, where)
    if not isinstance(value, list):
        raise DataError(f"{where}: {key!r} is no list")
    return value


def _jsonl(path: Path, task: Task, labelled: bool):
    for count, (where, r) in enumerate(_records(path)):
        value = label_id(task, _field(r, "label", where), where) if labelled else None
        yield Row(count, _text(r, task.a, where), _text(r, task.b, where), value)


def _wic(path: Path, task: Task, labelled: bool):
    """The word leads the first sentence: a [CLS] classifier sees no spans."""
    for count, (where, r) in enumerate(_records(path)):
        value = label_id(task, _field(r, "label", where), where) if labelled else None
        yield Row(count, f"{_text(r, 'word', where)}: {_text(r, 'sentence1', where)}",
                  _text(r, "sentence2", where), value)


def _wsc(path: Path, task: Task, labelled: bool):
    for count, (where, r) in enumerate(_records(path)):
        t = _field(r, "target", where)
        value = label_id(task, _field(r, "label", where), where) if labelled else None
        spans = f"{_text(t, 'span2_text', where)}: {_text(t, 'span1_text', where)}"
        yield Row(count, _text(r, "text", where), spans, value)


def _copa(path: Path, task: Task, labelled: bool):
    """Two rows a question; the higher score of class 1 wins."""
    count = 0
    for group, (where, r) in enumerate(_records(path)):
        gold = _field(r, "label", where) if labelled else None
        if labelled and gold not in (0, 1):
            raise DataError(f"{where}: label {gold!r} is not one of 0, 1")
        ask = "because" if _field(r, "question", where) == "cause" else "so"
        for i in (0, 1):
            value = float(gold == i) if labelled else None
            yield Row(count, f"{_text(r, 'premise', where)} {ask}",
                      _text(r, f"choice{i + 1}", where), value, group)
            count += 1


def _multirc(path: Path, task: Task, labelled: bool):
    count = group = 0
    for where, r in _records(path):
        passage = _field(r, "passage", where)
        text = _text(passage, "text", where)
        for question in _list(passage, "questions", where):
            for answer in _list(question, "answers", where):
                value = label_id(task, _field(answer, "label", where), where) if labelled else None
                said = f"{_text(question, 'question', where)} {_text(answer, 'text', where)}"
                yield Row(count, text, said, value, group)
                count += 1
            group += 1


def _record(path: Path, task: Task, labelled: bool):
    """Accepts the official nesting (passage.text, qas) and the flat one of small subsets."""
    count = group = 0
    for where, r in _records(path):
        passage = _field(r, "passage", where)
        flat = isinstance(passage, str)
        text = passage if flat else _text(passage, "text", where)
        if flat:
            names = r.get("entities", [])
        else:
            names = [text[_field(e, "start", where):_field(e, "end", where) + 1]
                     for e in _list(passage, "entities", where)]
        queries = r.get("qas") or [{"query": _field(r, "query", where),
                                    "answers": r.get("answers", [])}]
        for q in queries:
            golds = {a["text"] if isinstance(a, dict) else a for a in q.get("answers", [])}
            for name in sorted(set(names)):
                value = float(name in golds) if labelled else None
                yield Row(count, text, _text(q, "query", where).replace("@placeholder", name), value, group)
                count += 1
            group += 1


_LAYOUTS = {"tsv": _tsv, "cola": _cola, "jsonl": _jsonl, "wic": _wic, "wsc": _wsc, "copa": _copa,
            "multirc": _multirc, "record": _record}
