"""The readers against zeb's own, row by row, on every fixture; then what is done with rows."""
import json
import shutil
import subprocess
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest

from zeb_train import batches, metrics, tasks, tokens
from zeb_train.readers import DataError, Row, read_split

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = sorted(p for suite in ("glue", "superglue") for p in (ROOT / "suites" / suite / "fixtures").rglob("*.*")
                  if p.suffix in (".tsv", ".jsonl"))
PROGRAM = r"""
#include <jansson.h>
#include <stdio.h>
#include "suites/task.h"
static json_t *table(void) {
    json_t *all = json_object();
    for (size_t i = 0; i < zeb_task_count(); i++) {
        const zeb_task *t = zeb_task_at(i);
        json_t *split = json_object(), *label = json_array();
        for (size_t s = 0; s < ZEB_TASK_SPLITS_MAX && t->split[s].name != NULL; s++)
            json_object_set_new(split, t->split[s].name, json_pack("[sb]", t->split[s].file, t->split[s].labelled));
        for (int32_t l = 0; t->kind == ZEB_TASK_CLASSIFICATION && l < t->labels; l++)
            json_array_append_new(label, json_string(t->label_value[l]));
        json_object_set_new(all, t->name, json_pack("[ssoobff]", t->suite, t->folder, split, label, t->pair,
                                                    t->target_min, t->target_max));
    }
    return all;
}
static json_t *label_of(const zeb_dataset *data, const zeb_example *e) {
    if (!data->labelled) return json_null();
    return json_real(data->task->kind == ZEB_TASK_REGRESSION ? e->target : e->label);
}
int main(int argc, char **argv) {
    zeb_arena *arena;
    zeb_dataset data;
    zeb_error error;
    if (argc < 4) return json_dumpf(table(), stdout, 0);
    if (zeb_arena_create(&arena, &error) != ZEB_OK ||
        zeb_dataset_open(zeb_task_find(argv[2]), argv[1], argv[3], 0, arena, &data, &error) != ZEB_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    for (size_t i = 0; i < data.skips; i++) fprintf(stderr, "%s\n", data.skip[i]);
    for (size_t i = 0; i < data.count; i++) {
        const zeb_example *e = &data.example[i];
        json_dumpf(json_pack("[Iss?oI]", (json_int_t)e->index, e->a, e->b, label_of(&data, e), (json_int_t)e->group),
                   stdout, JSON_COMPACT | JSON_REAL_PRECISION(17));
        putchar('\n');
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def zeb(tmp_path_factory):
    """What zeb's readers make of its table, or of a split: the answer, and what was said of rows left out."""
    compiler, config = shutil.which("cc"), shutil.which("pkg-config")
    packages = ["jansson", "libutf8proc", "nettle"]
    if not compiler or not config or subprocess.run([config, "--exists", *packages]).returncode:
        pytest.skip("no C compiler, or not what zeb is built with")
    flags = subprocess.run([config, "--cflags", "--libs", *packages], capture_output=True, text=True, check=True)
    folder = tmp_path_factory.mktemp("rows")
    (folder / "rows.c").write_text(PROGRAM)
    sources = [*(ROOT / "suites").glob("*.c"), *(ROOT / "suites").glob("*/*.c"),
               *(ROOT / "harness/base" / f"{n}.c" for n in ("arena", "file", "text"))]
    subprocess.run([compiler, "-std=c17", "-D_GNU_SOURCE", "-I", ROOT / "harness/include", "-I", ROOT / "harness",
                    "-I", ROOT, folder / "rows.c", *sources, *flags.stdout.split(), "-lm", "-o", folder / "rows"],
                   check=True)

    def ask(*args):
        done = subprocess.run([folder / "rows", *args], capture_output=True, text=True)
        return [json.loads(line) for line in done.stdout.split("\n") if line], done.stderr
    return ask


def rows_of(root: Path, task: tasks.Task, split: str) -> list[list]:
    return [list(astuple(row)) for row in read_split(root, task, split)]


def test_tasks_equal_the_harness(zeb):
    (table,), _ = zeb()
    assert {t.name: [*t.folder.split("/"), {s: [f, s not in t.optional] for s, f in t.files.items()},
                     list(t.labels or ()), t.is_pair] for t in tasks.TASKS.values()} == {
        name: row[:5] for name, row in table.items()}
    assert [table[t.name][5:] for t in tasks.TASKS.values() if t.labels is None] == [[0.0, 5.0]] == [
        [t.least, t.most] for t in tasks.TASKS.values() if t.labels is None]


@pytest.mark.parametrize("path", FIXTURES, ids=lambda p: "/".join(p.parts[-3:]))
def test_fixtures_equal_the_harness(zeb, path):
    folder = "/".join(path.parts[-3:-1])
    ((task, split),) = [(t, s) for t in tasks.TASKS.values() if t.folder == folder
                        for s, f in t.files.items() if f == path.name]
    want, said = zeb(path.parents[2], task.name, split)
    assert want and not said
    assert rows_of(path.parents[2], task, split) == want
    assert all((row[3] is None) == (split in task.optional) for row in want)


def test_every_task_has_a_fixture():
    assert {"/".join(p.parts[-3:-1]) for p in FIXTURES} == {t.folder for t in tasks.TASKS.values()}


def write(root: Path, task: tasks.Task, split: str, text: str) -> None:
    path = root / task.folder / task.files[split]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def jsonl(*records) -> str:
    return "".join(json.dumps(r) + "\n" for r in records)


_NEWS = {"text": "The Öre met Ann\U0001f600, İzmir and ann.", "entities": [
    {"start": start, "end": end} for start, end in ((12, 14), (0, 6), (12, 15), (28, 30), (12, 14), (18, 22))]}
_PRONOUN = {"text": "It fits  as Item, it is IT.", "target": {"span1_text": "x", "span2_text": "it", "span2_index": 0}}
_PLACES = [{**_PRONOUN, "label": i % 2 == 0, "target": {**_PRONOUN["target"], "span2_index": i}} for i in range(9)]
_ANSWERS = [{"question": "Q1", "answers": [{"text": "a", "label": 1}, {"text": "", "label": "0"}]},
            {"question": "none", "answers": []}, {"question": "Q3", "answers": [{"text": "c", "label": 0}]}]
_COPA = {"premise": "It rained.", "choice1": "wet", "choice2": "dry", "question": "effect", "label": 0}
_CB = {"premise": "p", "hypothesis": "h", "label": "neutral"}


@pytest.mark.parametrize("name, split, text, count", [
    ("superglue/copa", "dev", jsonl(_COPA) + "\n" + jsonl({**_COPA, "question": "cause", "label": "1"}), 4),
    ("superglue/copa", "test", jsonl({k: v for k, v in _COPA.items() if k != "label"}), 2),
    ("superglue/copa", "test", jsonl(_COPA), 2),                              # labels that nobody asked for
    ("superglue/multirc", "dev", jsonl(*2 * [{"passage": {"text": "P", "questions": _ANSWERS}}]), 6),
    ("superglue/wsc", "dev", jsonl(*_PLACES), 9),
    ("superglue/wic", "dev", jsonl({"word": "w", "sentence1": "s", "sentence2": "t", "label": "true"}), 1),
    ("superglue/cb", "dev", "\ufeff" + jsonl(_CB, {**_CB, "premise": ""}) + "\n"
     + jsonl({**_CB, "label": "contradiction"}), 3),
    ("superglue/ax-g", "diagnostic", jsonl(*5 * [{**_CB, "label": "entailment"}]), 5),
    ("superglue/record", "dev", jsonl({"passage": _NEWS, "qas": [
        {"query": "@placeholder met @placeholder", "answers": [{"text": "an ANN"}, {"text": " öre"}, {"text": "nobody"}]},
        {"query": "In @placeholder", "answers": [{"text": "izmir"}]}]}), 10),
    ("superglue/record", "test", jsonl({"passage": _NEWS, "qas": [{"query": "In @placeholder"}]}), 5),
    ("glue/qqp", "dev", "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t2\t3\ta\tb\t1\nrest\t0\n"
                        "1\t2\t3\ta\tb\t1\tmore\n1\t2\t3\t\t\t1\n1\t2\t3\t\td \t0", 2),
    ("glue/stsb", "dev", "sentence1\tsentence2\tscore\r\na\tb\r\t0.1\r\n\r\nc\td\t5\r\ne\tf\t.333333333\r\n", 3),
    ("glue/cola", "dev", "label\tsentence\n1\tgood\n", 1),
    ("glue/cola", "test", "s\t1\t\tgood\ns\t0\t*\tbad\n", 2),
    ("glue/sst2", "test", "sentence\tlabel\ngood\t1\n", 1),
    ("glue/sst2", "test", "index\tsentence\r\n0\tgood\r\r\n", 1)])
def test_odd_files_equal_the_harness(zeb, tmp_path, name, split, text, count):
    write(tmp_path, tasks.get(name), split, text)
    want, _ = zeb(tmp_path, name, split)
    assert len(want) == count
    assert rows_of(tmp_path, tasks.get(name), split) == want


_QUERY = {"passage": _NEWS, "qas": [{"query": "In @placeholder", "answers": [{"text": "x"}]}]}


@pytest.mark.parametrize("name, good, bad", [
    ("superglue/cb", _CB, {**_CB, "premise": 7}), ("superglue/cb", _CB, {**_CB, "premise": "", "hypothesis": ""}),
    ("superglue/cb", _CB, {**_CB, "premise": "\0"}), ("superglue/cb", _CB, {**_CB, "premise": "\ud800"}),
    ("superglue/cb", _CB, {**_CB, "label": "Neutral"}), ("superglue/cb", _CB, {**_CB, "x": float("nan")}),
    ("superglue/cb", _CB, [_CB]), ("superglue/cb", _CB, '{"premise": "p", "premise": "q", ' + json.dumps(_CB)[1:]),
    ("superglue/copa", _COPA, {**_COPA, "label": True}), ("superglue/copa", _COPA, {**_COPA, "label": 1.0}),
    ("superglue/copa", _COPA, {**_COPA, "question": "why"}),
    ("superglue/wsc", _PLACES[0], {**_PLACES[0], "text": "none here"}),
    ("superglue/wsc", _PLACES[0], {**_PLACES[0], "target": {**_PRONOUN["target"], "span2_index": True}}),
    ("superglue/wsc", _PLACES[0], {**_PLACES[0], "target": {**_PRONOUN["target"], "span2_text": ""}}),
    ("superglue/multirc", {"passage": {"text": "P", "questions": _ANSWERS}},
     {"passage": {"text": "P", "questions": _ANSWERS[1:2]}}),
    ("superglue/record", _QUERY, {**_QUERY, "qas": []}), ("superglue/record", _QUERY, {**_QUERY, "passage": "flat"}),
    ("superglue/record", _QUERY, {**_QUERY, "qas": [{"query": "no hole", "answers": []}]}),
    ("superglue/record", _QUERY, {**_QUERY, "passage": {**_NEWS, "entities": [{"start": 30, "end": 99}]}}),
    ("superglue/record", _QUERY, {**_QUERY, "passage": {**_NEWS, "entities": [{"start": 3, "end": 2}]}}),
    ("glue/stsb", "a\tb\t1", "a\tb\t1_0"), ("glue/stsb", "a\tb\t1", "a\tb\t 1"), ("glue/stsb", "a\tb\t1", "a\tb\tnan"),
    ("glue/stsb", "a\tb\t1", "a\tb\t5.5"), ("glue/stsb", "a\tb\t1", "a\tb\t1\t1"), ("glue/stsb", "a\tb\t1", "a\tb"),
    ("glue/stsb", "a\tb\t1", "\t\t1"), ("glue/stsb", "a\tb\t1", "a\0\tb\t1")])
def test_refused_rows_are_those_of_the_harness(zeb, tmp_path, name, good, bad):
    """What zeb leaves out and says so, training refuses; what stands before it both read."""
    task = tasks.get(name)
    head = "sentence1\tsentence2\tscore\n" if name == "glue/stsb" else ""
    lines = [x if isinstance(x, str) else json.dumps(x) for x in (good, bad)]
    write(tmp_path, task, "dev", head + lines[0])
    want, said = zeb(tmp_path, name, "dev")
    assert want and not said and rows_of(tmp_path, task, "dev") == want
    write(tmp_path, task, "dev", head + "\n".join(lines))
    again, said = zeb(tmp_path, name, "dev")
    assert again == want and said
    with pytest.raises(DataError, match=f"{task.files['dev']}:{3 if head else 2}: "):
        read_split(tmp_path, task, "dev")


@pytest.mark.parametrize("text, says", [
    ("sentence\tlable\ngood\t1\n", "missing column label"),
    ("sentence\tlabel\ngood\t1\nbad\t2\n", "train.tsv:3: label '2'"),
    ("sentence\tlabel\ngood\n", "train.tsv:2: 1 columns"),
    ("sentence\tlabel\ngood\t1\nb\udcff\t1\n", "train.tsv:3: byte 0xff at column 2"),
    ("sentence1\tsentence2\tscore\na\tb\t5.5\n", "train.tsv:2: score 5.5 is outside"),
    ("sentence1\tsentence2\tscore\na\tb\tnan\n", "train.tsv:2: score 'nan' is not a number"),
    ('{"premise": "p", "hypothesis": 7, "label": "neutral"}\n', "train.jsonl:1: 'hypothesis' is 7, not a text"),
    ("7\n", "train.jsonl:1: not a JSON object"),
    ("", "no rows")])
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


GOLDEN = json.loads((ROOT / "tests/unit/suites/golden_metrics.json").read_text())["cases"]


def test_golden_metrics():
    """Those that zeb's own are held to; what zeb calls undefined is 0."""
    names = {"matthews": "mcc"}
    of = {"pearson": "glue/stsb", "accuracy": "glue/sst2", "matthews": "glue/cola"}
    assert len(GOLDEN) > 100
    for case in GOLDEN:
        kinds = tuple(names.get(k, k) for k in case["kinds"])
        task = replace(tasks.get(of[case["kinds"][0]] if case["labels"] < 3 else "glue/mnli"), metrics=kinds)
        truth, guess = np.array(case["truth"]), np.array(case["predicted"])
        scores = guess[:, None] if task.labels is None else np.eye(task.num_labels)[guess.astype(int)]
        want = {names.get(m["name"], m["name"]): m["value"] or 0.0 for m in case["metrics"]}
        got = metrics.score(task, scores, truth, np.full(len(truth), -1))
        assert got == pytest.approx({k: want[k] for k in kinds}, abs=1e-9), case["name"]


def test_metrics_of_groups():
    """tests/unit/suites' own cases: test_questions, test_gender_parity, test_choice_scores."""
    def score(name, guess, gold, group):
        return metrics.score(tasks.get("superglue/" + name), np.eye(2)[guess], np.array(gold), np.array(group))
    assert score("multirc", [1, 0, 1, 0, 1, 1, 0, 0], [1, 0, 1, 0, 0, 1, 1, 0], [0, 0, 0, 1, 1, 2, 3, 3]) == {
        "em": 0.5, "f1a": 0.75}
    pairs = score("ax-g", [1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 1, 1, 2, 2])
    assert pairs == pytest.approx({"accuracy": 1 / 2, "gender_parity": 2 / 3})
    assert metrics.headline(tasks.get("superglue/ax-g"), pairs) == 0.5                 # zeb's is no mean there
    assert score("ax-g", [1, 0], [1, 1], [-1, -1])["gender_parity"] == 1.0             # rows alone
    record, group = tasks.get("superglue/record"), np.array([0] * 5 + [1] * 3)
    gold = np.array([1, 0, 0, 0, 0, 0, 0, 1])
    prefer = np.array([[0, 2], [0, 1], [0, 0], [0, 0], [2, 0], [1, 0], [3, 0], [4, 0]], np.float32)
    assert metrics.score(record, prefer, gold, group) == {"em": 0.5}
    prefer[7] = 0
    assert metrics.score(record, prefer, gold, group) == {"em": 1.0}
    copa = np.array([0, 0, 1, 1, 2, 2])
    assert score("copa", [0] * 6, [1, 0, 0, 1, 0, 1], copa)["accuracy"] == pytest.approx(1 / 3)  # equal: the first
    near = np.array([[1.0, 1e-9], [1.0, 2e-9]], np.float32)                            # equal in float, not in double
    assert metrics.score(tasks.get("superglue/copa"), near, np.array([0, 1]), np.array([0, 0])) == {"accuracy": 1.0}
