"""Whose texts a checkpoint has seen, and that it goes on to no task that holds some of them out."""
import json
from pathlib import Path

import pytest
import torch

from zeb_train import cli, corpus, dataset, export, lineage, recipe, store
from zeb_train.batches import holdout
from zeb_train.bert import Bert, Config
from zeb_train.intermediate import _TASKS
from zeb_train.loop import TrainError
from zeb_train.readers import Row
from zeb_train.tasks import TASKS

SHARED = "the quick brown fox jumps over it"


def text(i: int) -> str:
    return f"row {i} says w{i % 7} and w{i % 11}"


@pytest.fixture
def world(tmp_path):
    """STS-B and MRPC, made up; a text of STS-B's train is in MRPC's dev, as real ones are."""
    stsb, mrpc = tmp_path / "data/glue/STS-B", tmp_path / "data/glue/MRPC"
    for folder in (stsb, mrpc):
        folder.mkdir(parents=True)
    rows = [(text(i), text(i + 50)) for i in range(200)] + [(SHARED.upper() + ".", text(7))]
    (stsb / "train.tsv").write_text("index\tsentence1\tsentence2\tscore\n" + "".join(
        f"{i}\t{a}\t{b}\t{i % 6}.0\n" for i, (a, b) in enumerate(rows)))
    for split, pairs in (("train", [(text(i + 1000), text(i + 2000)) for i in range(200)]), ("dev", [(text(3000), SHARED)])):
        (mrpc / f"{split}.tsv").write_text("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n" + "".join(
            f"{i % 2}\t{i}\t{i}\t{a}\t{b}\n" for i, (a, b) in enumerate(pairs)))
    words = ["[PAD]", *(f"[unused{i}]" for i in range(99)), "[UNK]", "[CLS]", "[SEP]", "[MASK]",
             "row", "says", "and", *(f"w{i}" for i in range(11))]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    config = Config(vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                    intermediate_size=32, max_position_embeddings=64)
    torch.manual_seed(0)
    store.save_model(tmp_path / "public", Bert(config))
    return tmp_path


def run(world, command: str, out: str, *args: str) -> int:
    return cli.main([command, "--out", str(world / out), "--data", str(world / "data"), "--vocab", str(world / "vocab.txt"),
                     "--device", "cpu", "--no-energy", *(str(a) for a in args)])


def tuned(world, out: str, task: str, start: str, *args: str) -> int:
    return run(world, "finetune", out, "--task", task, "--start", world / start, "--set", "steps=2", "--set", "evals=1", *args)


def test_what_another_task_holds_out_is_left_out(world):
    cpu = torch.device("cpu")
    whole = dataset.open_task(world / "data", world / "vocab.txt", "glue/stsb", cpu)
    less = dataset.open_task(world / "data", world / "vocab.txt", "glue/stsb", cpu, without=["glue/mrpc"])
    assert len(whole.train) - len(less.train) == 1 and len(whole.calib) == len(less.calib)
    assert (whole.seen, less.seen) == ({"glue/stsb": []}, {"glue/stsb": ["glue/mrpc"]})
    with pytest.raises(KeyError, match="unknown task 'mrpc'"):
        dataset.open_task(world / "data", world / "vocab.txt", "glue/stsb", cpu, without=["mrpc"])


def test_train_keeps_apart_from_calib_when_it_is_told_to(tmp_path):
    """Neither a row that holds a calib text nor one that stands in it trains, its own (SST-2's phrases) or transferred."""
    cpu, folder = torch.device("cpu"), tmp_path / "glue/SST-2"
    folder.mkdir(parents=True)
    base = [f"row {i} says w{i} and w{i + 1} and w{i + 2}" for i in range(0, 900, 3)]
    held = [t for t, h in zip(base, holdout([Row(0, t, None, 0.0) for t in base])) if h]
    short = [t.split(" ", 2)[2] for t in held]
    kin = [t for t in (*(f"Well, {t} ..." for t in held), *(t + " !" for t in held), *short)
           if not holdout([Row(0, t, None, 0.0)])[0]]
    (folder / "train.tsv").write_text("sentence\tlabel\n" + "".join(f"{t}\t0\n" for t in base + kin))
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz0123456789!.,",
                                *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz0123456789")]))
    whole, apart = (dataset.open_task(tmp_path, vocab, "glue/sst2", cpu, apart=a) for a in (False, True))
    assert len(held) > 5 and len(whole.calib) == len(apart.calib) == len(held)
    assert len(whole.train) == len(base) - len(held) + len(kin) and len(apart.train) == len(base) - len(held)
    more = dataset.open_task(tmp_path, vocab, "glue/sst2", cpu, apart=True, transfer=1000)
    assert len(more.train) == 2 * len(apart.train)
    rows = [Row(0, "one two three four", "so be it then", 0.0), Row(0, "it is", None, 0.0)]
    assert corpus.overlap(rows, [Row(0, "And so, be it then!", "x", 0.0), Row(0, "it is", None, 0.0)]).tolist() == [True, False]
    assert not corpus.overlap(rows, [Row(0, "four so be it", "two three fo", 0.0)]).any()       # not across two texts


def test_a_checkpoint_that_saw_dev_is_refused(world, capsys):
    assert tuned(world, "stsb", "glue/stsb", "public") == 0
    capsys.readouterr()
    assert tuned(world, "mrpc", "glue/mrpc", "stsb") == 1
    said = capsys.readouterr().err
    assert "1 have a text that glue/mrpc holds out" in said and "--without glue/mrpc" in said and "stsb" in said
    assert not (world / "mrpc").exists()
    assert tuned(world, "stsb2", "glue/stsb", "stsb") == 0                  # its own dev is its own affair


def test_a_clean_one_goes_on_and_tells_what_it_saw(world):
    assert tuned(world, "stsb", "glue/stsb", "public", "--without", "glue/mrpc") == 0
    assert tuned(world, "mrpc", "glue/mrpc", "stsb") == 0
    assert lineage.read(world / "mrpc") == {"glue/stsb": ["glue/mrpc"], "glue/mrpc": []}
    assert lineage.read(world / "public") == {}


def test_teachers_and_pools_hand_on_what_they_saw(world, capsys):
    """A pool's teacher had seen MRPC's dev: its students would have too."""
    assert tuned(world, "stsb", "glue/stsb", "public") == 0
    assert tuned(world, "mrpc", "glue/mrpc", "public") == 0
    result = world / "mrpc/result.json"
    store.write_json(result, {**json.loads(result.read_text()), "seen": lineage.read(world / "stsb")})
    label = ("--task", "glue/mrpc", "--teacher", world / "mrpc", "--copies", "1")
    assert run(world, "label", "pool", *label) == 1
    assert "holds out" in capsys.readouterr().err
    store.write_json(result, {**json.loads(result.read_text()), "seen": {"glue/mrpc": []}})
    assert run(world, "label", "pool", *label, "--mates", "2") == 0
    pool = world / "pool/result.json"
    made = json.loads(pool.read_text())
    assert made["seen"] == {"glue/mrpc": []}
    student = ("--task", "glue/mrpc", "--start", world / "public", "--pool", world / "pool", "--set", "steps=2", "--set", "evals=1")
    assert run(world, "distill", "student", *student) == 0
    assert lineage.read(world / "student") == {"glue/mrpc": []}
    store.write_json(pool, {**made, "seen": lineage.read(world / "stsb")})
    assert run(world, "distill", "other", *student) == 1


def test_left_out_is_what_every_list_leaves_out(world):
    both = [{"glue/stsb": ["glue/mrpc", "glue/rte"], "glue/sst2": []}, {"glue/stsb": ["glue/rte"]}]
    assert lineage.merged(both) == {"glue/stsb": ["glue/rte"], "glue/sst2": []}
    store.write_json(world / "public/card.json", {"seen": {"glue/stsb": []}})
    with pytest.raises(TrainError, match="--without glue/mrpc"):
        lineage.check([world / "public"], "glue/mrpc", world / "data")


def test_lessons_before_any_task_are_seen(world):
    """With all that has files here left out of them; what goes on from the encoder hands it on."""
    assert run(world, "intermediate", "inter", "--start", world / "public", "--set", "epochs=0.01", "--set", "evals=0") == 0
    both = ["glue/mrpc", "glue/stsb"]
    assert lineage.read(world / "inter") == {"glue/mrpc": both, "glue/stsb": both}
    assert tuned(world, "mrpc", "glue/mrpc", "inter") == 0
    assert lineage.read(world / "mrpc") == {"glue/mrpc": [], "glue/stsb": both}


def test_no_step_of_the_family_is_refused(tmp_path, monkeypatch):
    """Even if every task's train rows had texts of every other's dev: what goes on from another task was told to do without."""
    made = recipe.read(Path(recipe.__file__).parent.parent / "recipes/family.yaml", {"work": str(tmp_path)})
    monkeypatch.setattr(lineage, "read_split", lambda *_: [None])
    monkeypatch.setattr(corpus, "held_out", lambda *_: {"a text"})
    monkeypatch.setattr(corpus, "free_of", lambda *_: [])
    done, steps = set(), {s["id"]: s for s in made["steps"] if s["do"] != "export"}
    while late := [s for i, s in steps.items() if i not in done and set(s.get("needs", [])) <= done]:
        for step in late:
            w = step["with"]
            before = [Path(f) for f in (w.get("start"), w.get("pool"), *w.get("teacher", [])) if f]
            if step["do"] == "intermediate":
                seen = {k: sorted(TASKS) for k in (*_TASKS, "glue/qqp")}
            elif "task" in w:
                own = {} if "pool" in w else {w["task"]: sorted(w.get("without", []))}
                seen = lineage.merged([lineage.check(before, w["task"], tmp_path), own])
            else:
                seen = lineage.read(before[0])
            store.write_json(tmp_path / step["id"] / "result.json", {"seen": seen})
            done.add(step["id"])
    assert done == set(steps)
    assert lineage.read(tmp_path / "bert-mini-sst2") == {} and len(lineage.read(tmp_path / "sst2-long-dense-1")) == 10
    with pytest.raises(TrainError, match="--without glue/rte"):
        lineage.check([tmp_path / "mrpc-dense-1"], "glue/rte", tmp_path)


def test_shipped_cards_tell_what_was_seen():
    """BERT-mini's models come from the intermediate encoder, MiniLM on SST-2 from public weights; card.md says what card.json does."""
    cards = sorted((Path(recipe.__file__).parents[3] / "baselines").glob("*/card.json"))
    assert len(cards) == 11
    for path in cards:
        card, name = json.loads(path.read_text()), path.parent.name
        want = {"glue/sst2"} if name == "minilm-sst2-int4" else {*_TASKS, "glue/qqp"}
        assert set(card["seen"]) == want and card["seen"][card["task"]] == ([] if card["task"] != "glue/stsb" else [
            "glue/mrpc", "glue/rte"])
        assert export.markdown(card) == path.with_name("card.md").read_text()
        assert store.model_sha256(path.parent) == card["sha256"]
