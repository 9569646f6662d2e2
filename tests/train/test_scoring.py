"""Students scored by zeb: command lines, a restarted recipe, and the program's answers against PyTorch's."""
import json
import shutil
import sqlite3
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from test_cli import common, run, world  # noqa: F401 (a fixture)
from test_harness import ROOT, program, removed  # noqa: F401

from zeb_train import cli, dataset, metrics, policy, recipe, scoring, store, table, tasks
from zeb_train.loop import TrainError
from zeb_train.readers import read_split
from zeb_train.sparsity import Hard

STEP = {"id": "dense-1", "do": "distill", "with": {"task": "glue/rte", "evaluate": "dev", "format": ["int8", "int4"],
                                                   "start": "x", "seed": 1}}


def test_command_lines():
    argv = scoring.step_command(STEP, Path("work"), ["--data", "d"], Path("bin/zeb"), "opencl")
    args = cli.parser().parse_args(argv[3:])
    assert (args.command, args.out, args.task, args.split, args.format, args.db, args.zeb_device) == (
        "scored", Path("work/dense-1"), "glue/rte", "dev", ["int8", "int4"], Path("work/results.db"), "opencl")
    kept = recipe.command(scoring.unscored(STEP), Path("work"), [])
    assert "--evaluate" not in kept and "--format" not in kept and "--start" in kept
    free = {**STEP, "with": {**STEP["with"], "target": [0.5]}}
    assert "--evaluate" in recipe.command(scoring.unscored(free), Path("work"), [])
    assert scoring.wanted(STEP) and not scoring.wanted({**STEP, "do": "label"})
    assert not scoring.wanted({**STEP, "with": {"task": "glue/rte"}})
    assert scoring.precisions("int8") == ["fp32", "w8a8"] and scoring.precisions(["int4"]) == ["fp32", "w4a8"]
    with pytest.raises(TrainError, match="int4-gptq"):
        scoring.precisions(["int4-gptq"])


def test_a_policy_is_named_where_there_is_one(tmp_path):
    def argv():
        return scoring.zeb_command(Path("zeb"), "cpu", tmp_path, "glue/rte", "dev", "w8a8", Path("d"), Path("r.db"),
                                   Path("p"), 64)
    assert "--policy" not in argv()
    (tmp_path / "policy.json").write_text("{}")
    assert argv()[argv().index("--policy") + 1] == str(tmp_path / "policy.json")


def test_zeb_scores_as_pytorch_does(removed, tmp_path, capsys):  # noqa: F811
    """Heads and neurons gone and a policy besides; a second call scores nothing again, other weights are."""
    zeb, data = program(), ROOT / "suites/data"
    if zeb is None or not (data / "glue/SST-2/dev.tsv").is_file():
        pytest.skip("no zeb program built (or named by $ZEB)")
    folder = tmp_path / "sst2-sparse-2"
    shutil.copytree(removed, folder, ignore=shutil.ignore_patterns("vocab.txt"))
    args = ["scored", "--zeb", str(zeb), "--out", str(folder), "--task", "glue/sst2", "--format", "int8", "--data",
            str(data), "--vocab", str(removed / "vocab.txt")]
    assert cli.main(args) == 0 and cli.main(args) == 0
    out = json.loads((folder / "evaluation.json").read_text())
    model = store.load_model(folder)
    split = dataset.open_split(data, removed / "vocab.txt", "glue/sst2", "dev", torch.device("cpu"))
    want = dataset.predict(model, split, sparsity=Hard(model.config, policy.read(folder / "policy.json", folder)),
                           precise=True)
    tie = np.abs(want[:, 0] - want[:, 1]) < 1e-3
    got = np.array(list(map(int, out["fp32"]["predictions"])))
    assert set(out) == {"fp32", "w8a8"} and ((got == want.argmax(1)) | tie).all()
    task_values = metrics.score(tasks.get("glue/sst2"), want, split.packed.label, split.packed.group)
    assert out["fp32"]["metrics"]["accuracy"] == pytest.approx(task_values["accuracy"], abs=tie.mean() + 1e-6)
    with sqlite3.connect(tmp_path / "results.db") as db:
        rows = db.execute("SELECT model, precision, policy, verdict, flops_executed, m.value FROM row JOIN metric m ON "
                          "m.row_id = row.id AND m.name = 'accuracy' ORDER BY row.id").fetchall()
    assert [r[:4] for r in rows] == [("sst2-sparse-2", p, "all", "ok") for p in ("fp32", "w8a8")]
    assert [out[r[1]]["metrics"]["accuracy"] for r in rows] == [round(r[5], 6) for r in rows]
    store.write_json(folder / "result.json", {"best": 0.5, "arguments": {"seed": "2"}, "seen": {"glue/sst2": []}})
    export = ["export", "--task", "glue/sst2", "--model", str(folder), "--out", str(tmp_path / "shipped"), "--weights", "int8",
              "--data", str(data), "--vocab", str(removed / "vocab.txt")]
    assert cli.main([*export, "--zeb", str(zeb)]) == 0
    card = json.loads((tmp_path / "shipped/card.json").read_text())
    assert card["dev"]["computed"].startswith("zeb cpu") and ", w8a8, " in card["dev"]["computed"]
    assert card["dev"]["scorings"] == 3 and card["seen"] == {"glue/sst2": []}        # two above, and the card's
    assert card["dev"]["metrics"]["accuracy"] == pytest.approx(out["w8a8"]["metrics"]["accuracy"], abs=2 / len(split))
    assert cli.main(export) == 0
    again = json.loads((tmp_path / "shipped/card.json").read_text())["dev"]
    assert (again["computed"], again["scorings"]) == ("PyTorch, w8a8, from the shipped files", 4)
    export[export.index("--out") + 1], export[export.index("--data") + 1] = str(tmp_path / "no"), str(tmp_path)
    assert cli.main(export) == 1 and not (tmp_path / "no").exists()                     # there is no dev to score
    assert out["fp32"]["zeb"]["flops_executed"] == rows[0][4] < 0.6 * out["fp32"]["zeb"]["flops_dense"]
    assert scoring.marker(folder).is_file()


@pytest.mark.parametrize("name", ["copa", "multirc", "record", "wsc", "ax-g"])
def test_examples_of_records(name, removed, tmp_path):  # noqa: F811
    """Tasks whose records are several examples or stand in groups are kept whole, and not when a line lacks; zeb's
    metrics are this package's of the same scores."""
    zeb, data, task = program(), ROOT / "suites/superglue/fixtures", tasks.get("superglue/" + name)
    if zeb is None:
        pytest.skip("no zeb program built (or named by $ZEB)")
    folder, given, split = tmp_path / "m", tmp_path / "p", "diagnostic" if "diagnostic" in task.files else "dev"
    store.save_model(folder, store.load_model(removed), task.labels)
    (folder / "vocab.txt").symlink_to(removed / "vocab.txt")
    argv = scoring.zeb_command(zeb, "cpu", folder, task.name, split, "fp32", data, tmp_path / "r.db", given, 32)
    done = subprocess.run(argv, capture_output=True, text=True)
    kept, rows = scoring._kept(done, given), read_split(data, task, split)
    lines = given.read_text().splitlines()
    assert len(kept["predictions"]) == len(lines) == len(rows)
    (row,) = json.loads(done.stdout)
    assert (len(lines) > row["rows_read"]) == (name in ("copa", "multirc", "record"))
    scores = np.array([json.loads(line)["scores"] for line in lines])
    want = metrics.score(task, scores, np.array([r.label for r in rows]), np.array([r.group for r in rows]))
    assert {k: kept["metrics"][k] for k in want} == pytest.approx(want, abs=1e-6)
    assert set(kept["metrics"]) - set(want) == ({"f1"} if name == "record" else set())
    for broken in (lines[:-1], lines[1:], [*lines, lines[0]], [lines[0], *lines[:-1]]):
        given.write_text("\n".join(broken))
        with pytest.raises(ValueError, match="examples answered"):
            scoring._kept(done, given)
    given.write_text("\n".join(lines))
    for change in ({"rows_skipped": 1}, {"rows_read": len(lines) + 1}, {"verdict": "interrupted"}):
        done.stdout = json.dumps([{**row, **change}])
        with pytest.raises(ValueError, match="examples answered"):
            scoring._kept(done, given)
    if name != "wsc":                                            # no independent answers: not tested as such
        assert table._pair(kept, kept, None) == "- | - | - | - | 1.000"


def test_every_export_is_a_scoring(world, tmp_path, capsys):  # noqa: F811
    """Of the model that it is made from, also behind a quantisation, and at the length of its training."""
    store.save_model(tmp_path / "a", store.load_model(world / "base"), ("0", "1"))
    store.write_json(tmp_path / "a/evaluation.json", {k: {"metrics": {"accuracy": 0.5}, "predictions": ""} for k in ("fp32", "w8a8")})
    store.write_json(tmp_path / "a/result.json", {"arguments": {"seed": "1", "max_length": "7"}})

    def scorings(model: str, out: str) -> tuple[int, int]:
        run(world, "export", "--task", "glue/sst2", "--model", tmp_path / model, "--out", tmp_path / out)
        dev = json.loads((tmp_path / out / "card.json").read_text())["dev"]
        return dev["scorings"], dev["max_length"]
    assert [scorings("a", out) for out in ("x", "y", "x")] == [(3, 7), (4, 7), (5, 7)]
    run(world, "quantize", "--model", tmp_path / "a", "--out", tmp_path / "q")
    assert scorings("q", "z") == (6, 7) and scorings("a", "y") == (6, 7)
    assert [(s["model"], s["as"]) for s in scoring.history(tmp_path / "q")] == [
        ("x", "PyTorch, fp32"), ("y", "PyTorch, fp32"), ("x", "PyTorch, fp32"), ("a", "fp32"), ("a", "w8a8"), ("z", "PyTorch, w8a8")]
    assert {"fp32", "w8a8"} == set(json.loads((tmp_path / "a/evaluation.json").read_text()))


def test_a_recipe_scores_what_was_not_scored(world, tmp_path, capfd, monkeypatch):  # noqa: F811
    """A program that fails loses no checkpoint; the next start trains nothing and scores."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "scripts/train"))
    (tmp_path / "r.yaml").write_text("""
name: r
steps:
  - {id: dense-1, do: distill, with: {task: glue/sst2, start: "{minilm}", teacher: ["{minilm}"], evaluate: dev,
     format: [int8], set: {epochs: 0.2, evals: 0}}}
""")
    broken = tmp_path / "zeb"
    broken.write_text("#!/bin/sh\necho nothing works >&2\nexit 3\n")
    broken.chmod(0o755)

    def start(zeb):
        return cli.main(["recipe", str(tmp_path / "r.yaml"), "--work", str(tmp_path / "w"), "--minilm",
                         str(world / "base"), "--zeb", str(zeb), *common(world)])
    assert start(tmp_path / "absent") == 1 and not (tmp_path / "w").exists()
    assert start(broken) == 1
    said = capfd.readouterr()
    assert json.loads(said.out)["failed"] == ["dense-1 (scoring)"] and "dense-1: NOT SCORED" in said.err
    assert "nothing works" in (tmp_path / "w/dense-1.log").read_text()
    weights, done = tmp_path / "w/dense-1/model.safetensors", tmp_path / "w/dense-1.done"
    before = weights.stat().st_mtime_ns
    assert done.is_file() and not (tmp_path / "w/dense-1.scored").exists()
    assert not (tmp_path / "w/dense-1/evaluation.json").exists()
    zeb = program()
    if zeb is None:
        pytest.skip("no zeb program built (or named by $ZEB)")
    assert start(zeb) == 0 and (tmp_path / "w/dense-1.scored").is_file()
    out = json.loads((tmp_path / "w/dense-1/evaluation.json").read_text())
    assert set(out) == {"fp32", "w8a8"} and len(out["w8a8"]["predictions"]) == 40
    assert weights.stat().st_mtime_ns == before


def test_a_table_holds_students_against_their_dense_twins(tmp_path):
    """Two seeds, one without a twin; what one alone has right, and the work beside the twin's."""
    (tmp_path / "glue/SST-2").mkdir(parents=True)
    gold = "1" * 60 + "0" * 60
    (tmp_path / "glue/SST-2/dev.tsv").write_text("sentence\tlabel\n" + "".join(f"a word\t{g}\n" for g in gold))

    def put(name, guesses, work):
        right = sum(a == b for a, b in zip(guesses, gold)) / len(gold)
        store.write_json(tmp_path / "w" / name / "evaluation.json", {"w8a8": {
            "metrics": {"accuracy": right}, "predictions": guesses, "zeb": {
                "task": "glue/sst2", "split": "dev", "flops_executed": work, "flops_dense": 100}}})
    put("sst2-dense-1", gold, 80)
    put("sst2-lean-cpu-1", "0" * 10 + gold[10:], 40)
    put("sst2-lean-cpu-2", "0" * 20 + gold[20:], 36)
    put("rte-lean-1", gold, 40)
    text = table.markdown(tmp_path / "w", tmp_path)
    assert "| sst2-dense | w8a8 | 1 | accuracy 100.0 | 1.000 |" in text
    assert "| sst2-lean-cpu | w8a8 | 2 | accuracy 87.5 (83.3-91.7) | 0.475 |" in text
    assert "| rte-lean | w8a8 | 1 | accuracy 100.0 | - |" in text
    pairs = [line for line in text.splitlines() if line.startswith("| sst2-lean-cpu-")]
    assert len(pairs) == 1 and pairs[0].startswith("| sst2-lean-cpu-1 | w8a8 | accuracy -8.3 (-")
    assert pairs[0].endswith("| 10 | 0 | 0.002 | 0.500 |")
    assert table.twin("sst2-mini-lean", {"sst2-dense", "sst2-mini-dense"}) == "sst2-mini-dense"
    assert table.twin("sst2-mini-dense", {"sst2-dense", "sst2-mini-dense"}) is None


def test_the_interval_of_a_difference():
    """Nothing where both are alike; near the normal one of a difference of shares; ranks for a regression."""
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 2, 400).astype(float)
    b = np.where(rng.random(400) < 0.1, 1 - gold, gold).astype(int)
    task = tasks.get("glue/sst2")
    assert table.difference(task, b, b, gold) == (0.0, 0.0, 0.0)
    value, low, high = table.difference(task, gold, b, gold)
    p = -value
    half = 1.96 * np.sqrt(p * (1 - p) / 400)
    assert low == pytest.approx(value - half, abs=0.006) and high == pytest.approx(value + half, abs=0.006)
    scores = rng.random(200) * 5
    value, low, high = table.difference(tasks.get("glue/stsb"), scores, scores ** 3, scores, 50)
    assert abs(value) < 1e-12 and abs(low) < 1e-12                 # the same ranks
    assert table.judged(tasks.get("glue/cola")) == "mcc" and table.judged(tasks.get("glue/mrpc")) == "accuracy"
