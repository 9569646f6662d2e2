"""The commands end to end on a tiny model, tiny vocabulary and made-up SST-2 and WNLI."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from zeb_train import calibrate, cli, loop, policy, process, recipe, store
from zeb_train.bert import Bert, Config
from zeb_train.loop import TrainError

HERE = Path(__file__).resolve().parents[2] / "scripts" / "train"
WORDS = [f"w{chr(97 + i // 10)}{chr(97 + i % 10)}" for i in range(60)]


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """data/ with two tasks, vocab.txt and base/, a random two-layer checkpoint."""
    root = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(1)
    vocab = (["[PAD]"] + [f"[unused{i}]" for i in range(99)]
             + ["[UNK]", "[CLS]", "[SEP]", "[MASK]"] + WORDS)
    (root / "vocab.txt").write_text("\n".join(vocab) + "\n")

    def text():
        return " ".join(rng.choice(WORDS, rng.integers(3, 9)))
    for split, n in (("train", 240), ("dev", 40)):
        folder = root / "data/glue/SST-2"
        folder.mkdir(parents=True, exist_ok=True)
        rows = [text() for _ in range(n)]
        (folder / f"{split}.tsv").write_text("sentence\tlabel\n" + "".join(
            f"{r} \t{int('waa' in r.split())}\n" for r in rows))
        folder = root / "data/glue/WNLI"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{split}.tsv").write_text("index\tsentence1\tsentence2\tlabel\n" + "".join(
            f"{i}\t{text()}\t{text()}\t{i % 2}\n" for i in range(n // 4)))
    torch.manual_seed(1)
    c = Config(vocab_size=len(vocab), hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
               intermediate_size=64, max_position_embeddings=64)
    store.save_model(root / "base", Bert(c), ("0", "1"))
    small = Config(vocab_size=len(vocab), hidden_size=16, num_hidden_layers=2,
                   num_attention_heads=2, intermediate_size=32, max_position_embeddings=64)
    store.write_json(root / "small.json", small.hugging_face(("0", "1")))
    return root


def common(world: Path) -> list[str]:
    return ["--data", str(world / "data"), "--vocab", str(world / "vocab.txt"), "--device", "cpu",
            "--no-energy"]


def run(world: Path, *args) -> None:
    assert cli.main([*map(str, args), *common(world)]) == 0


RECIPE = """
name: tiny
steps:
  - {id: general, do: distill, with: {teacher: ["{here}/base"], config: "{here}/small.json",
     set: {epochs: 1, tokens: 512, batch: 32, lr: 1.0e-3, evals: 0}}}
  - {id: teacher, do: finetune, with: {task: glue/sst2, start: "{here}/base", set: {epochs: 1, lr: 1.0e-3}}}
  - id: dense
    needs: [general, teacher]
    do: distill
    with: &with {task: glue/sst2, start: "{work}/general", teacher: ["{work}/teacher"], evaluate: dev,
       transfer: 20, format: [int8], target: [0.7], set: {epochs: 1, lr: 1.0e-3, evals: 2}}
  - {id: sparse, needs: [general, teacher], do: prune, with: {<<: *with, ffn: 16, keep_heads: 1, prune: {mode: ratio,
     target: 0.7, search: true, heads: true}}}
  - {id: pool, needs: [teacher], do: label, with: {task: glue/sst2, teacher: ["{work}/teacher"], copies: 1,
     join: 0.5, transfer: 20}}
  - {id: "pooled-{seed}", each: {seed: [2], t: [sst2]}, needs: [pool, dense], do: prune, with: {
     task: "glue/{t}", seed: "{seed}", start: "{work}/dense", pool: "{work}/pool", round_words: true,
     weight: {hidden: 0.3}, prune: {mode: relative, target: 0.7}, set: {epochs: 1, lr: 1.0e-3, evals: 2}}}
  - {id: shipped, needs: [dense, sparse, pooled-2], do: export, with: {task: glue/sst2, model: ["{work}/sparse"]}}
  - {id: small, needs: [pooled-2, shipped], do: export, with: {task: glue/sst2, model: ["{work}/pooled-2"], weights: int8,
     embeddings: int8, words: "{work}/words/words.safetensors", pooler: int8, positions: 40,
     vocabulary: "{work}/shipped/vocab.txt"}}
"""



def test_an_intermediate_encoder_teaches_its_heads_on(world):
    run(world, "intermediate", "--start", world / "base", "--out", world / "inter", "--set", "epochs=0.01",
        "--set", "evals=0")
    heads = store.load_heads(world / "inter")
    assert set(heads) == {"glue/sst2", "similar", "grammar"}
    pairs, _ = store.load_packed(world / "inter" / "pairs.npz")
    assert len(pairs) and pairs.types.max() == 1
    run(world, "distill", "--teacher", world / "inter", "--config", world / "small.json", "--out",
        world / "heir", "--set", "epochs=0.2", "--set", "tokens=512", "--set", "batch=32", "--set", "evals=0")
    assert set(store.load_heads(world / "heir")) == set(heads)

def test_recipe_makes_a_checkpoint_and_repeats_nothing(world, capsys):
    (world / "tiny.yaml").write_text(RECIPE)
    args = ("recipe", world / "tiny.yaml", "--work", world / "work", "--jobs", 2)
    run(world, *args)
    out = world / "work" / "shipped"
    card = json.loads((out / "card.json").read_text())
    assert card["files"]["model.safetensors"]["sha256"] == store.sha256(out / "model.safetensors")
    assert 0.0 <= card["dev"]["metrics"]["accuracy"] <= 1.0 and card["dev"]["rows"] == 40
    assert card["architecture"]["ffn"] == [16, 16] and 0 < card["dev"]["cost"]["ratio"] <= 1
    how = policy.read(out / "policy.json", out / "model.safetensors")
    assert [x.mode for x in how.layers] == ["ratio", None] and how.layers[0].gated
    small = world / "work" / "small"
    card = json.loads((small / "card.json").read_text())
    assert card["sha256"] == store.model_sha256(small) == json.loads(
        (small / "policy.json").read_text())["model_sha256"]
    assert {"../words/words.safetensors", "encoder.safetensors", store.INDEX} <= set(card["files"])
    stored, model = store.load_tensors(small), store.load_model(small)
    assert stored["bert.embeddings.position_embeddings.weight"].shape == (40, 16)
    assert card["dev"]["max_length"] == model.config.max_position_embeddings == 40
    assert stored["bert.pooler.dense.weight"].dtype == torch.int8 and model.bert.pooler.dense.fixed
    assert os.readlink(small / "vocab.txt") == "../shipped/vocab.txt"
    assert (small / "vocab.txt").read_bytes() == (world / "vocab.txt").read_bytes()
    scores = json.loads((world / "work/dense/evaluation.json").read_text())
    assert set(scores) == {"fp32", "int8", "free-0.7"} and "cost" in scores["free-0.7"]
    made = json.loads((world / "work/pool/result.json").read_text())
    assert made["texts"] > 2 * made["own"] > 2 * made["labelled"] > 400            # joined ones too
    how = policy.read(world / "work/pooled-2/policy.json",
                      world / "work/pooled-2/model.safetensors")
    assert [x.mode for x in how.layers] == ["relative", None]
    before = (out / "model.safetensors").stat().st_mtime_ns
    run(world, *args)
    assert (out / "model.safetensors").stat().st_mtime_ns == before
    capsys.readouterr()
    run(world, "table", world / "work")
    assert "| dense | int8 | 1 | accuracy" in capsys.readouterr().out


def test_quantize_calibrate_score(world, tmp_path, capsys):
    for name in ("int8", "int4", "mixed"):
        extra = ["--method", "gptq"] if name == "int4" else []
        run(world, "quantize", "--task", "glue/sst2", "--model", world / "base", "--out",
            tmp_path / name, "--format", name, *extra)
        store.load_model(tmp_path / name)
    run(world, "calibrate", "--task", "glue/sst2", "--model", tmp_path / "int8", "--target", 0.7,
        "--score-budget", 0.5)
    assert policy.read(tmp_path / "int8" / "policy.json").layers[0].mode == "ratio"
    capsys.readouterr()
    run(world, "score", "--task", "glue/wnli", tmp_path / "int4", world / "base")
    assert len(json.loads(capsys.readouterr().out)) == 2


def test_a_policy_is_not_written_over_another(world, tmp_path, capsys):
    """A learned one stays unless its file is named; exits of two policies of one checkpoint lie beside each other."""
    store.save_model(tmp_path, store.load_model(world / "base"), ("0", "1"))
    learned = tmp_path / "policy.json"
    policy.Policy("learned", [policy.LayerPolicy("relative", 0.5), *policy.dense("", 2).layers]).write(tmp_path)
    before = learned.read_bytes()
    args = ("calibrate", "--task", "glue/sst2", "--model", tmp_path, "--mode", "dense")
    assert cli.main([*map(str, args), *common(world)]) == 1
    assert f"{learned}: a policy is there already" in capsys.readouterr().err and learned.read_bytes() == before
    for name, agreement in (("a.json", 0.5), ("b.json", 0.9)):
        run(world, *args, "--out", tmp_path / name, "--exits", "0", "--agreement", agreement)
    run(world, *args, "--out", tmp_path / "plain.json")
    assert json.loads(capsys.readouterr().out.split("\n}\n")[-2] + "}")["policy"] == str(tmp_path / "plain.json")
    assert [list(policy.read(tmp_path / n, tmp_path).exits) for n in ("a.json", "b.json", "plain.json")] == [[0], [0], []]
    assert learned.read_bytes() == before
    run(world, *args, "--out", learned)
    assert policy.read(learned, tmp_path).layers[0].mode is None


def test_errors_are_sentences(world, tmp_path, capsys):
    args = ["finetune", "--task", "glue/rte", "--start", world / "base", "--out", tmp_path / "x"]
    assert cli.main([*map(str, args), *common(world)]) == 1
    assert "no such file" in capsys.readouterr().err
    args = ["finetune", "--task", "glue/sst2", "--start", world, "--out", tmp_path / "x"]
    assert cli.main([*map(str, args), *common(world)]) == 1
    assert "no complete checkpoint" in capsys.readouterr().err
    (tmp_path / "glue/STS-B").mkdir(parents=True)
    (tmp_path / "glue/STS-B/dev.tsv").write_text("sentence1\tsentence2\tscore\nwaa\twab\t5\n")
    start = ("--task", "glue/sst2", "--start", world / "base", "--out", tmp_path / "x")
    for says, args in (
            ("nowhere.txt: no WordPiece vocabulary", ("finetune", *start, "--vocab", tmp_path / "nowhere.txt")),
            ("--max-length 2 leaves no room", ("finetune", *start, "--max-length", 2)),
            ("/proc/x", ("finetune", *start[:-1], "/proc/x")),
            ("no such device", ("finetune", *start, "--device", "cuda:77")),
            ("--start, the checkpoint", ("distill", "--task", "glue/sst2", "--teacher", world / "base", "--out", tmp_path / "x")),
            ("--weight has no bogus", ("distill", *start, "--teacher", world / "base", "--weight", "bogus=1")),
            ("target 0.0001 is out of reach", ("prune", *start, "--teacher", world / "base", "--prune", "target=0.0001")),
            ("base: gives 2 outputs, glue/stsb has 1", ("score", "--task", "glue/stsb", "--data", tmp_path, world / "base")),
            ("Is a directory", ("recipe", world, "--work", tmp_path / "work"))):
        assert cli.main([*map(str, [args[0], *common(world), *args[1:]])]) == 1
        assert says in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def short(world, command, out, *args) -> list[str]:
    return [command, "--task", "glue/sst2", "--out", str(out), "--set", "steps=2", "--set", "evals=1", *map(str, args),
            *common(world)]


def test_a_result_of_other_settings_is_refused(world, tmp_path, capsys):
    args = short(world, "finetune", tmp_path / "a", "--start", world / "base")
    assert cli.main(args) == 0
    first = json.loads(capsys.readouterr().out)
    assert cli.main([*args, "--country", "FRA", "--evaluate", "dev"]) == 0          # nothing that the weights depend on
    assert json.loads(capsys.readouterr().out) == first
    assert cli.main([*args, "--seed", "2", "--agree", "0.5"]) == 1
    assert "result.json: was trained with agree 0.0 (now 0.5), seed 1 (now 2); go on with that" in capsys.readouterr().err
    (tmp_path / "a/result.json").write_text('{"steps": 7}')
    assert cli.main(args) == 0                                                      # of before they were kept
    said = capsys.readouterr()
    assert json.loads(said.out)["steps"] == 7 and "does not say what it was made with" in said.err


@pytest.mark.parametrize("key, more", [
    ("without", ["--without", "glue/mrpc"]), ("agree", ["--agree", "0.5"]),
    ("start", ["--start", "other"]), ("teacher", ["--teacher", "other"]), ("pool", ["--pool", "pool"]),
    ("weight", ["--weight", "hidden=0"]), ("prune", ["--prune", "target=0.8"]),
    ("structure", ["--structure", "target=0.9"]), ("quant", ["--quant", "int8"]), ("dropout", ["--dropout", "0.1"]),
    ("max_length", ["--max-length", "64"]), ("train_min_length", ["--train-min-length", "4"]), ("bf16", ["--bf16"]),
    ("seed", ["--seed", "2"]), ("evals", ["--set", "evals=2"]), ("max_minutes", ["--max-minutes", "1"]),
    ("vocab", ["--vocab", "vocab.txt"]), ("data", ["--data", "data"]),
    (None, ["--device", "cuda", "--country", "FRA", "--format", "int8", "--set", "save_seconds=1", "--set", "lr=5e-5"])])
def test_what_a_result_depends_on_is_told_apart(world, tmp_path, monkeypatch, key, more):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(world / "base", "other")
    store.save_tensors("other", {k: v + 1 for k, v in store.load_tensors("other").items()})
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool/pool.safetensors").write_bytes(b"rows")
    (tmp_path / "data/glue/SST-2").mkdir(parents=True)
    (tmp_path / "vocab.txt").write_text("[UNK]")

    def made(command, *more):
        args = short(world, command, "out", "--start", world / "base")
        return cli._settings(cli.parser().parse_args(args + list(more))).made_by()
    command = "finetune" if key in ("without", "agree") else "prune"
    one, other = made(command), made(command, *more)
    assert {k for k in one if one[k] != other[k]} == {key} - {None} and one["command"] == command


def test_a_killed_run_goes_on_from_its_structure_as_it_was_told_alone(world, tmp_path, monkeypatch, capsys):
    args = short(world, "prune", tmp_path / "a", "--start", world / "base", "--teacher", world / "base", "--prune",
                 "target=0.6", "--structure", "target=0.8", "--set", "steps=6")

    def killed(*_):
        raise TrainError("killed")
    with monkeypatch.context() as m:                                 # behind the search
        m.setattr(calibrate, "check_target", killed)
        assert cli.main(args) == 1
    capsys.readouterr()
    assert cli.main([*args, "--dropout", "0.1"]) == 1
    assert "a/structure/result.json: was trained with dropout 0.05 (now 0.1)" in capsys.readouterr().err
    assert not (tmp_path / "a/training.pt").exists()
    made = (tmp_path / "a/structure/model.safetensors").stat().st_mtime_ns
    assert cli.main(args) == 0 and (tmp_path / "a/structure/model.safetensors").stat().st_mtime_ns == made
    assert "settings" not in json.loads(capsys.readouterr().out)["structure"]


def test_a_slip_in_a_recipe_is_found_before_anything_runs(tmp_path, capsys):
    for text, says in (("steps: [", "r.yaml"), ("steps: [{id: a, do: table}, {id: b, do: finetune, with: {epoch: 1}}]", "step a is no"),
                       ("steps: [{id: b, do: export, with: {task: glue/sst2, model: [m], wieghts: int8}}]", "step b is no")):
        (tmp_path / "r.yaml").write_text(text)
        assert cli.main(["recipe", str(tmp_path / "r.yaml"), "--work", str(tmp_path / "work"), "--no-energy"]) == 1
        assert says in capsys.readouterr().err
    assert cli.main(["table", str(tmp_path / "work")]) == 1
    assert "no such work folder" in capsys.readouterr().err and not (tmp_path / "work").exists()


def test_a_recipes_steps_compute_in_what_it_is_told(world, tmp_path):
    (tmp_path / "one.yaml").write_text(
        f"steps: [{{id: a, do: finetune, with: {{task: glue/sst2, start: {world}/base, set: {{steps: 2, evals: 1}}}}}}]")
    run(world, "recipe", tmp_path / "one.yaml", "--work", tmp_path / "w", "--fp16")
    assert json.loads((tmp_path / "w/a/result.json").read_text())["arguments"]["fp16"] == "True"


def test_steps_are_spread_over_gpus(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.setattr(recipe, "command", lambda *_: [
        sys.executable, "-c", "import os, time; print(os.environ['CUDA_VISIBLE_DEVICES']); time.sleep(1)"])
    steps = [{"id": i, "do": "finetune", "with": {}} for i in "abcd"]
    assert recipe.run({"steps": steps}, tmp_path, [], jobs=4, track=False) == []
    assert sorted((tmp_path / f"{i}.log").read_text().strip() for i in "abcd") == ["3", "3", "5", "5"]


def test_a_device_that_is_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert loop.device_of("cuda:1").index == 1 and loop.device_of("cuda").index is None
    steps = {"steps": [{"id": "a", "do": "table", "with": {}}]}
    for start in (loop.device_of, lambda name: recipe.run(steps, tmp_path / "w", ["--device", name])):
        with pytest.raises(TrainError, match=r"--device cuda:2: there is no such device here, .* \(it sees 2\)"):
            start("cuda:2")
    assert not (tmp_path / "w").exists()


def test_steps_on_one_gpu_of_several_find_it(tmp_path, monkeypatch):
    """They see it alone, so it is their first."""
    for name, value in (("is_available", True), ("device_count", 2)):
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.setattr(recipe, "command", lambda step, work, common: [
        sys.executable, "-c", f"import os; print(os.environ['CUDA_VISIBLE_DEVICES'], {common})"])
    steps = [{"id": i, "do": "finetune", "with": {}} for i in "ab"]
    assert recipe.run({"steps": steps}, tmp_path, ["--data", "d", "--device", "cuda:1", "--fp16"], jobs=2, track=False) == []
    assert [(tmp_path / f"{i}.log").read_text() for i in "ab"] == ["5 ['--data', 'd', '--device', 'cuda', '--fp16']\n"] * 2


def test_a_recipe_that_was_changed_is_refused(tmp_path, monkeypatch, capsys):
    """Nothing that is done is taken for what the recipe says now, or comes of it."""
    monkeypatch.setattr(recipe, "command", lambda step, *_: [sys.executable, "-c", f"print('{step['id']}')"])
    text = ("steps: [{id: a, do: finetune, with: {task: glue/sst2, start: '{minilm}', set: {lr: 0.1}}}, "
            "{id: b, do: distill, needs: [a], with: {task: glue/sst2, teacher: ['{work}/a']}}, "
            "{id: c, do: export, needs: [b], with: {model: ['{work}/b'], facts: '{here}/f.yaml'}}, {id: d, do: table}]")

    def start(text, work="w", common=(), minilm="minilm", **kw):
        (tmp_path / "r.yaml").write_text(text)
        places = {"work": str(tmp_path / work), "minilm": minilm, "here": str(tmp_path)}
        return recipe.run(recipe.read(tmp_path / "r.yaml", places), tmp_path / work, list(common), track=False, **kw)

    def ran():
        return [i for i in "abcd" if (tmp_path / f"w/{i}.log").read_text() != f"{i}\n"]
    assert start(text) == [] and start(text, common=["--device", "cpu"]) == [] and ran() == []
    (tmp_path / "w").rename(tmp_path / "moved")
    assert start(text, "moved", minilm=os.path.abspath("minilm")) == []
    (tmp_path / "moved").rename(tmp_path / "w")
    changed = text.replace("lr: 0.1", "lr: 0.2")
    with pytest.raises(TrainError, match=r"a \(set lr=0.1, now set lr=0.2\), b \(came of one that has changed\), c \(came .*"
                       f"anew, remove {tmp_path}/w/a {tmp_path}/w/a.done {tmp_path}/w/b "):
        start(changed)
    with pytest.raises(TrainError, match=r"a \(\(nothing\), now fp16\), b "):
        start(text, common=["--fp16"])
    with pytest.raises(TrainError, match=r"a \(.*/minilm, now .*/other\), b "):
        start(text, minilm="other")
    assert start(changed, only=["d"]) == []
    (tmp_path / "w/a.done").unlink()
    with pytest.raises(TrainError, match="done by another recipe: b .came"):
        start(changed)
    for i in "bc":
        (tmp_path / f"w/{i}.done").unlink()
    assert ran() == [] and start(changed) == [] and ran() == ["a", "b", "c"]
    (tmp_path / "w/a.done").write_text("")                           # of before
    capsys.readouterr()
    assert start(changed) == [] and "a done before their commands were kept" in capsys.readouterr().err


def test_an_export_under_a_foreign_policy_writes_nothing(world, tmp_path, capsys):
    store.save_model(tmp_path / "a", store.load_model(world / "base"), ("0", "1"))
    policy.dense("d", 3).write(tmp_path / "a")
    store.save_tensors(tmp_path / "a", {k: v + 1 for k, v in store.load_tensors(tmp_path / "a").items()})
    args = ("export", "--task", "glue/sst2", "--model", tmp_path / "a", "--out", tmp_path / "out")
    assert cli.main([*map(str, args), *common(world)]) == 1
    assert "made for another model" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_an_export_over_another_leaves_nothing_of_it(world, tmp_path):
    """In another layout, of a model without a policy: what was there is gone, and what is loaded is what was exported."""
    args = ("export", "--task", "glue/sst2", "--dtype", "f32", "--out", tmp_path / "out", "--model")
    model = store.load_model(world / "base")
    store.save_model(tmp_path / "a", model, ("0", "1"))
    how = policy.dense("d", 3)
    how.layers[0].confidence, how.exits = 0.9, {0: torch.nn.Linear(32, 2)}
    how.write(tmp_path / "a")
    (tmp_path / "e.csv").write_text("duration,energy_consumed,emissions,codecarbon_version,gpu_model\n1,1,1,3,x\n")
    run(world, *args, tmp_path / "a", "--emissions", tmp_path / "e.csv")
    assert {"policy.json", "emissions.csv", "policy" + policy.EXITS} < {p.name for p in (tmp_path / "out").iterdir()}
    with torch.no_grad():
        model.classifier.bias.fill_(7.0)
    store.save_model(tmp_path / "b", model, ("0", "1"))
    run(world, *args, tmp_path / "b", "--words", tmp_path / "words/w.safetensors")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "encoder.safetensors", store.INDEX, "config.json", "vocab.txt", "tokenizer_config.json", "card.json", "card.md"}
    assert store.load_model(tmp_path / "out").classifier.bias.tolist() == [7.0, 7.0]
    run(world, *args, tmp_path / "a")
    assert store.load_model(tmp_path / "out").classifier.bias.tolist() != [7.0, 7.0]
    assert policy.read(tmp_path / "out/policy.json", tmp_path / "out").exits


@pytest.mark.parametrize("text, says", [
    ("- 1", "`steps`"), ("steps: [{do: distill}]", "unique ids"), ("steps: [{id: a}]", "what to `do`"),
    ("steps: [{id: a, do: distill, needs: [b]}, {id: b, do: distill, needs: [a]}]", "a, b need each other"),
    ("steps: [{id: a, do: export}, {id: b, do: prune, needs: [a]}]", "exports come last")])
def test_recipes_that_could_not_end_are_refused(tmp_path, text, says):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(TrainError, match=says):
        recipe.read(tmp_path / "r.yaml", {})


@pytest.mark.parametrize("step, says", [
    ("id: a, do: table, need: [b]", "step a has an unknown key `need`; there are id, do, with, needs, each"),
    ("id: a, do: table, needs: b", "step a: `needs` has to be a list of ids, not 'b'"),
    ("id: a, do: table, needs: ", "step a: `needs`"), ("id: a, do: table, needs: [1]", "step a: `needs`"),
    ("id: a, do: table, with: [1]", r"step a: `with` has to be an object, not \[1\]"),
    ("id: a, do: table, with: {1: 2}", "step a: `with`"), ("id: a, do: table, with: ", "step a: `with`"),
    ("id: a, do: table, each: [1, 2]", "step a: `each` has to be an object of lists"),
    ("id: a, do: table, each: {seed: 1}", "step a: `each`"), ("id: a, do: table, each: {seed: []}", "step a: `each`"),
    ("id: a, do: table, each: {seed: [[1]]}", "step a: `each`"), ("do: table, each: {1: [1]}", "step number 2: `each`"),
    ("id: 1, do: table", "step 1: `id` has to be text"), ("id: a, do: [table]", "step a: `do` has to be text")])
def test_a_steps_keys_are_known_and_of_their_type(tmp_path, step, says):
    (tmp_path / "r.yaml").write_text("steps: [{id: b, do: table}, {" + step + "}]")
    with pytest.raises(TrainError, match=f"^{tmp_path}/r.yaml: {says}"):
        recipe.read(tmp_path / "r.yaml", {})


def test_the_shipped_recipes_are_read():
    for path in Path(recipe.__file__).parent.parent.glob("recipes/*.yaml"):
        if not path.name.endswith(".facts.yaml"):
            assert recipe.read(path, {})["steps"]


def test_a_folder_is_written_by_one_process(world, tmp_path, capsys):
    args = short(world, "finetune", tmp_path / "a", "--start", world / "base")
    with process.alone(tmp_path / "a"):
        assert cli.main(args) == 1
        assert f"zeb-train: {tmp_path}/a: another process is at work there" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
    with process.alone(tmp_path / "w"), pytest.raises(BlockingIOError, match="w: another process"):
        recipe.run({"steps": [{"id": "a", "do": "table"}]}, tmp_path / "w", [], track=False)
    assert cli.main(args) == 0


def test_a_recipe_that_is_killed_takes_its_steps_along(world, tmp_path):
    """Each saves its state and leaves."""
    (tmp_path / "one.yaml").write_text(f"steps: [{{id: a, do: finetune, with: {{task: glue/sst2, start: {world}/base, "
                                       "set: {epochs: 200, evals: 0, save_seconds: 1000, log_seconds: 0}}}]")
    command = [sys.executable, "-m", "zeb_train", "recipe", str(tmp_path / "one.yaml"), "--work", str(tmp_path / "w"),
               *common(world)]
    first = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def wait(until):
        deadline = time.monotonic() + 60
        while not until():
            assert time.monotonic() < deadline
            time.sleep(0.1)
    text = tmp_path / "w/a.log"
    wait(lambda: text.is_file() and "loss" in text.read_text())
    first.send_signal(signal.SIGKILL)
    first.wait()
    wait((tmp_path / "w/a/training.pt").is_file)
    with process.alone(tmp_path / "w"):
        wait(lambda: free(tmp_path / "w/a"))


def free(folder) -> bool:
    try:
        with process.alone(folder):
            return True
    except BlockingIOError:
        return False


def test_killed_and_started_again_ends_alike(world, tmp_path):
    """SIGKILL in the middle: the second start goes on and the weights are those of one that lived."""
    def command(out):
        return [sys.executable, "-m", "zeb_train", "finetune", "--task", "glue/sst2", "--start",
                str(world / "base"), "--out", str(out), "--set", "epochs=12", "--set", "evals=2",
                "--set", "save_seconds=0", "--set", "batch=8", *common(world)]
    env = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
    quiet = {"env": env, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    whole = subprocess.Popen(command(tmp_path / "a"), **quiet)
    victim = subprocess.Popen(command(tmp_path / "b"), **quiet)
    deadline = time.monotonic() + 60
    while not (tmp_path / "b" / "training.pt").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert not (tmp_path / "b" / "result.json").is_file()
    subprocess.run(command(tmp_path / "b"), check=True, **quiet)
    assert whole.wait() == 0
    assert (store.sha256(tmp_path / "a" / "model.safetensors")
            == store.sha256(tmp_path / "b" / "model.safetensors"))
