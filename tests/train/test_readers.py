"""Every layout, on the fixtures that the C readers are tested with where there are some."""
import json
from pathlib import Path

import numpy as np
import pytest

from zeb_train import batches, metrics, tasks, tokens
from zeb_train.readers import DataError, Row, read_split

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "suites" / "glue" / "fixtures"


def lines(path: Path) -> int:
    return sum(1 for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip())


@pytest.mark.parametrize("name", [n for n in tasks.TASKS if n.startswith("glue/")])
def test_glue_fixtures(name):
    task, seen = tasks.get(name), 0
    for split, file in task.files.items():
        path = FIXTURES / task.folder / file
        if not path.is_file():
            continue
        rows = read_split(FIXTURES, task, split)
        header = 0 if task.layout == "cola" and split != "test" else 1
        assert len(rows) == lines(path) - header
        assert all((r.b is not None) == task.is_pair and r.a for r in rows)
        assert all((r.label is None) == (split in task.optional) for r in rows)
        seen += 1
    if not seen:
        pytest.skip("no fixture of this task")


def write(root: Path, task: tasks.Task, split: str, text: str) -> None:
    path = root / task.folder / task.files[split]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def jsonl(*records) -> str:
    return "".join(json.dumps(r) + "\n" for r in records)


def test_superglue_layouts(tmp_path):
    def rows(name, *records):
        task = tasks.get(name)
        write(tmp_path, task, "dev", jsonl(*records))
        return read_split(tmp_path, task, "dev")

    got = rows("superglue/copa", {"premise": "It rained.", "choice1": "wet", "choice2": "dry",
                                  "question": "effect", "label": 0})
    assert [(r.a, r.b, r.label, r.group) for r in got] == [
        ("It rained. so", "wet", 1.0, 0), ("It rained. so", "dry", 0.0, 0)]
    got = rows("superglue/multirc", {"passage": {"text": "P", "questions": [
        {"question": "Q1", "answers": [{"text": "a", "label": 1}, {"text": "b", "label": 0}]},
        {"question": "Q2", "answers": [{"text": "c", "label": 1}]}]}})
    assert [(r.b, r.label, r.group) for r in got] == [("Q1 a", 1, 0), ("Q1 b", 0, 0), ("Q2 c", 1, 1)]
    got = rows("superglue/wsc", {"text": "T", "target": {"span1_text": "x", "span2_text": "it"},
                                 "label": True})
    assert (got[0].b, got[0].label) == ("it: x", 1.0)
    got = rows("superglue/wic", {"word": "w", "sentence1": "s", "sentence2": "t", "label": False})
    assert (got[0].a, got[0].label) == ("w: s", 0.0)
    got = rows("superglue/cb", {"premise": "p", "hypothesis": "h", "label": "contradiction"})
    assert got[0].label == 2.0
    got = rows("superglue/record", {"passage": {"text": "Ann met Bob.", "entities": [
        {"start": 0, "end": 2}, {"start": 8, "end": 10}]},
        "qas": [{"query": "@placeholder met Bob", "answers": [{"text": "Ann"}]}]})
    assert [(r.b, r.label) for r in got] == [("Ann met Bob", 1.0), ("Bob met Bob", 0.0)]


@pytest.mark.parametrize("text, says", [
    ("sentence\tlable\ngood\t1\n", "missing column label"),
    ("sentence\tlabel\ngood\t1\nbad\t2\n", "train.tsv:3: label '2'"),
    ("sentence\tlabel\ngood\n", "train.tsv:2: 1 columns"),
    ("sentence\tlabel\ngood\t1\nb\udcff\t1\n", "train.tsv:3: byte 0xff at column 2"),
    ("sentence1\tsentence2\tscore\na\tb\t5.5\n", "train.tsv:2: score 5.5 is outside"),
    ("sentence1\tsentence2\tscore\na\tb\tnan\n", "train.tsv:2: score nan is outside"),
    ('{"premise": "p", "hypothesis": 7, "label": "neutral"}\n', "train.jsonl:1: 'hypothesis' is 7, not a text"),
    ("7\n", "train.jsonl:1: missing key 'label'"),
    ("", "empty file")])
def test_bad_rows_are_named(tmp_path, text, says):
    task = tasks.get("glue/stsb" if "score" in text else "superglue/cb" if "train.jsonl" in says else "glue/sst2")
    path = tmp_path / task.folder / task.files["train"]
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=says):
        read_split(tmp_path, task, "train")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_split(tmp_path, tasks.get("glue/rte"), "dev")


def test_holdout_keeps_duplicates_together():
    rows = [Row(i, f"text {i % 300}", None, 1.0) for i in range(900)]
    held = batches.holdout(rows, 0.2, "salt")
    assert all(held[i] == held[i + 300] == held[i + 600] for i in range(300))
    assert 0.1 < held.mean() < 0.3
    assert (held == batches.holdout(rows, 0.2, "salt")).all()


def test_plan_covers_every_row_once():
    length = np.random.default_rng(1).integers(3, 60, 1000)
    for how in ({}, {"tokens": 400}):
        got = batches.plan(length, 16, seed=2, epoch=3, **how)
        assert sorted(np.concatenate(got).tolist()) == list(range(1000))
        waste = sum(length[b].max() * len(b) for b in got) / length.sum()
        assert waste < 1.1
        if how:
            assert max(length[b].max() * len(b) for b in got) <= 400


def test_encoding_cuts_the_longer_text_first(tmp_path):
    vocab = tmp_path / "vocab.txt"
    words = ["[PAD]"] + [f"[unused{i}]" for i in range(99)] + ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocab.write_text("\n".join(words + ["a", "b", "c", "d", "e"]) + "\n")
    tok = tokens.load(vocab)
    p = tokens.encode(tok, [Row(0, "a b c d e", "a b", 1.0), Row(1, "C", None, None)], 8)
    assert p.ids[:8].tolist() == [101, 104, 105, 106, 102, 104, 105, 102]
    assert p.types[:8].tolist() == [0] * 5 + [1] * 3
    assert p.ids[8:].tolist() == [101, 106, 102] and np.isnan(p.label[1])
    again = p.take(np.array([1, 0]))
    assert again.ids.tolist() == [101, 106, 102] + p.ids[:8].tolist()


def test_metrics_of_known_cases():
    sst2, stsb, cola = (tasks.get("glue/" + n) for n in ("sst2", "stsb", "cola"))
    one = np.full(4, -1)
    s = np.array([[1, 0], [0, 1], [0, 1], [1, 0]], float)
    assert metrics.score(sst2, s, np.array([0, 1, 0, 0]), one) == {"accuracy": 0.75}
    got = metrics.score(cola, s, np.array([0, 1, 0, 0]), one)
    assert got["mcc"] == pytest.approx(1 / np.sqrt(3))
    assert metrics.score(cola, s, np.zeros(4), one)["mcc"] == 0.0
    x = np.array([[1.0], [2.0], [2.0], [5.0]])
    got = metrics.score(stsb, x, np.array([1.0, 2.0, 3.0, 4.0]), one)
    assert got["spearman"] == pytest.approx(0.9486833) and 0.8 < got["pearson"] < 1.0
    assert metrics.score(stsb, np.ones((4, 1)), np.arange(4.0), one)["pearson"] == 0.0
