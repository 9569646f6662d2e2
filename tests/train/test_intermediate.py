"""The intermediate stage's lessons, the running mean of weights, heads that travel with an encoder."""
import json

import numpy as np
import pytest
import torch
from conftest import store_of_random_rows

from zeb_train import corpus, finetune, intermediate, loop, pool, store, tasks
from zeb_train.batches import Batch, Store, holdout
from zeb_train.bert import Bert
from zeb_train.dataset import TaskData
from zeb_train.losses import agreement
from zeb_train.readers import Row, read_split


def single(rows: list[list[int]], width: int = 12) -> Batch:
    length = torch.tensor([len(r) for r in rows])
    ids = torch.tensor([r + [0] * (width - len(r)) for r in rows])
    live = torch.arange(width) < length[:, None]
    return Batch(ids, torch.zeros_like(ids), live, torch.zeros(len(rows)), torch.arange(len(rows)))


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_pairs_are_joined_as_a_task_encodes_them():
    got = intermediate.join(single([[101, 5, 6, 102], [101, 7, 102]]), single([[101, 8, 102], [101, 9, 9, 102]]))
    assert got.ids.tolist() == [[101, 5, 6, 102, 8, 102], [101, 7, 102, 9, 9, 102]]
    assert got.types.tolist() == [[0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1]]
    assert bool(got.live.all())


def test_slips_change_what_they_say_and_no_more():
    """Half or more of the rows are spoilt, in four ways; ends stay, and a row said to be sound is untouched."""
    row = [101, 110, 111, 112, 113, 114, 102]
    b = single([row] * 400)
    kin = torch.arange(200)
    kin[110:115] = torch.arange(150, 155)
    got, bad = intermediate.spoil(b, kin, generator())
    assert 0.3 < float(bad.mean()) < 0.7
    seen = set()
    for ids, live, flag in zip(got.ids, got.live, bad):
        text = ids[live].tolist()
        assert text[0] == 101 and text[-1] == 102 and text.count(101) == text.count(102) == 1
        assert (text != row) == bool(flag)
        assert ids[~live].eq(0).all()
        words, old = text[1:-1], row[1:-1]
        if len(words) < len(old):
            seen.add("dropped")
        elif len(words) > len(old):
            seen.add("repeated")
        elif sorted(words) == sorted(old) and flag:
            seen.add("swapped")
        elif flag:
            seen.add("inflected")
    assert seen == {"dropped", "repeated", "swapped", "inflected"}


def test_inflections_stay_in_the_family():
    vocab = ["[PAD]", "walk", "walks", "walked", "is", "are", "tree", "##s", "of"]
    out = intermediate.inflections(vocab, np.random.default_rng(1))
    assert all(vocab[out[i]].startswith("walk") and out[i] != i for i in (1, 2, 3))
    assert vocab[out[4]] == "are" and vocab[out[5]] == "is"
    assert out[6] == 6 and out[7] == 7


def material(tiny) -> tuple[intermediate.Material, torch.Tensor]:
    rows = store_of_random_rows(60)
    rng = np.random.default_rng(2)
    rows.packed.label[:] = rng.integers(0, 2, 60)
    rows = Store(rows.packed, rows.device)
    mates = torch.from_numpy(rng.integers(0, 60, (60, 4)))
    m = intermediate.Material(rows, rows, np.arange(0, 60, 2), mates, {"glue/mrpc": rows, "glue/rte": rows})
    return m, torch.arange(tiny.vocab_size)[:, None].repeat(1, 3)


def course(tiny, epochs: float, seed: int = 1):
    tiny.max_position_embeddings = 60
    m, near = material(tiny)
    torch.manual_seed(seed)
    encoder = Bert(tiny).eval().requires_grad_(False)
    lessons = intermediate.Lessons(Bert(tiny), {"glue/mrpc": 2, "glue/rte": 2, "similar": 1, "grammar": 2})
    settings = loop.Settings(seed=seed, epochs=epochs, lr=1e-3, evals=0, average=0.9)
    kin = torch.arange(tiny.vocab_size).roll(1)
    return intermediate.Course(lessons, encoder, m, near, kin, settings), settings


def test_every_lesson_is_given_and_learned_from(tiny):
    c, _ = course(tiny, 1.0)
    plan = c.batches(0)
    kinds = {k for k, _ in plan}
    assert kinds == {"words", "grammar", "similar", "glue/mrpc", "glue/rte"}
    assert [(k, r.tolist()) for k, r in plan] == [(k, r.tolist()) for k, r in c.batches(0)]
    for kind in kinds:
        part = next(x for x in plan if x[0] == kind)
        value = c.loss(part, 3, 0.0)
        assert torch.isfinite(value)
        value.backward()
        grad = c.lessons.model.layers[0].attention.self.query.weight.grad
        assert grad is not None and float(grad.abs().sum()) > 0, kind
        c.lessons.zero_grad()


def test_a_short_stage_lowers_its_loss(tiny, tmp_path):
    c, settings = course(tiny, 0.025)
    c.lessons.eval()
    part = next(x for x in c.batches(0) if x[0] == "similar")
    before = c.loss(part, 0, 0.0).item()
    loop.Loop("inter", tmp_path, c.lessons, settings, torch.device("cpu"), c.batches, c.loss, None).run()
    assert c.loss(part, 0, 0.0).item() < before


def test_reserved_texts_keep_out_of_other_tasks(tmp_path):
    folder = tmp_path / "glue/RTE"
    folder.mkdir(parents=True)
    head = "index\tsentence1\tsentence2\tlabel\n"
    (folder / "train.tsv").write_text(head + "0\tA b c d.\tE f g h.\tentailment\n")
    (folder / "dev.tsv").write_text(head + "0\tOne two three four.\tShort one.\tentailment\n")
    taken = corpus.held_out(tmp_path)
    rows = [Row(0, "one two, three FOUR", "x", 1.0), Row(1, "another text", "Short one.", 0.0)]
    assert [r.index for r in corpus.free_of(rows, taken)] == [1]


def test_calib_is_in_no_plain_text_and_no_lesson(tmp_path, monkeypatch):
    """Of single texts, of passages that are cut into windows, and of what is at hand of QQP."""
    def sentence(i: int, words: int = 6) -> str:
        return " ".join(f"w{i}x{j}" for j in range(words)) + "."
    folders = {n: tmp_path / tasks.get(n).folder for n in ("glue/sst2", "superglue/multirc", "glue/qqp")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    (folders["glue/sst2"] / "train.tsv").write_text("sentence\tlabel\n" + "".join(
        f"{sentence(i)}\t{i % 2}\n" for i in range(100)))
    passages = [" ".join(sentence(1000 * n + i, 30) for i in range(6)) for n in range(60)]
    (folders["superglue/multirc"] / "train.jsonl").write_text("".join(json.dumps({"passage": {"text": text, "questions": [
        {"question": f"what says {n} then?", "answers": [{"text": f"this is {n}", "label": 1}]}]}}) + "\n"
        for n, text in enumerate(passages)))
    (folders["glue/qqp"] / "train_subset.tsv").write_text("question1\tquestion2\tis_duplicate\n" + "".join(
        f"{sentence(i + 500)}\t{sentence(i + 700)}\t{i % 2}\n" for i in range(100)))
    there = {t for r in corpus.distinct(tmp_path) for t in (r.a, r.b) if t}
    monkeypatch.setattr(intermediate, "shorten", lambda rows, *_: rows)
    monkeypatch.setattr(intermediate, "_singles", lambda rows, *_: (rows, [], None))
    monkeypatch.setattr(intermediate, "Store", lambda rows, _: rows)
    monkeypatch.setattr(corpus, "join", lambda *_: None)
    monkeypatch.setattr(intermediate.tokens, "load", lambda _: None)
    monkeypatch.setattr(intermediate.tokens, "concat", lambda parts: parts[0])
    monkeypatch.setattr(intermediate.tokens, "encode", lambda _, rows, *__: rows)
    lessons = intermediate.gather(tmp_path, None, None, None, 1).tasks
    for name in folders:
        rows = read_split(tmp_path, corpus.local(tmp_path, tasks.get(name)), "train")
        held = holdout(rows)
        assert 0 < held.sum() < 20
        for r, h in zip(rows, held):
            texts = corpus._windows(r.a) if "multirc" in name else [t for t in (r.a, r.b) if t]
            assert all((t in there) != h for t in texts)
        taught = {r.index for r in lessons[name]}
        assert taught == {r.index for r, h in zip(rows, held) if not h}


def test_the_mean_of_weights_is_kept_and_survives_a_kill(tiny, tmp_path):
    """With a running mean the result is neither the start nor the last step, and a resumed run ends alike."""
    rows = store_of_random_rows()
    rows.label[::2] = 1.0
    data = TaskData(tasks.get("glue/sst2"), rows, rows)

    def made(folder, stop=None):
        torch.manual_seed(3)
        model = Bert(tiny)
        store.save_model(tmp_path / "start", model, ("0", "1"))
        settings = loop.Settings(seed=2, epochs=4, batch=8, lr=1e-3, evals=0, average=0.9)

        def loss(at, step, progress):
            b = rows.batch(at)
            return model(b.ids, b.types, b.live).logits.square().mean()
        run = loop.Loop("mean", folder, model, settings, torch.device("cpu"),
                        lambda e: np.array_split(np.arange(40), 5),
                        loss, None)
        if stop:
            plain = run._update

            def update(*a):
                if run.step == stop:
                    run.save()
                    raise KeyboardInterrupt
                return plain(*a)
            run._update = update
            with pytest.raises(KeyboardInterrupt):
                run.run()
            return None
        run.run()
        return model, {k: v.detach().clone() for k, v in run.mean.items()}
    whole, mean = made(tmp_path / "a")
    assert all(torch.equal(v, mean[k]) for k, v in whole.state_dict().items())
    made(tmp_path / "b", stop=12)
    again, _ = made(tmp_path / "b")
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values()))
    result = finetune.finetune("agree", tmp_path / "start", data, tmp_path / "c",
                               loop.Settings(epochs=1, batch=8, evals=1, average=0.9, layer_decay=0.8), agree=1.0)
    assert result["steps"] == 5


def test_rates_fall_with_the_distance_from_the_head(tiny):
    model = Bert(tiny)
    groups = loop._optimiser(model, loop.Settings(layer_decay=0.5)).param_groups
    factor = {id(p): g["factor"] for g in groups for p in g["params"]}
    assert factor[id(model.classifier.weight)] == 1.0
    assert [factor[id(x.output.dense.weight)] for x in model.layers] == [0.25, 0.5, 1.0]
    assert factor[id(model.bert.embeddings.word_embeddings.weight)] == 0.125


def test_agreement_is_nothing_between_equals():
    x = torch.randn(6, 3)
    assert float(agreement(x, x)) == 0.0 and float(agreement(x, x.flip(1))) > 0.0
    p, q = torch.log_softmax(x, 1), torch.log_softmax(x.flip(1), 1)
    both = sum(torch.nn.functional.kl_div(a, b, reduction="batchmean", log_target=True)
               for a, b in ((p, q), (q, p))) / 2
    assert float(agreement(x, x.flip(1))) == pytest.approx(float(both), rel=1e-5)


def test_a_task_starts_from_its_own_head(tiny, tmp_path):
    heads = torch.nn.ModuleDict({"glue/rte": torch.nn.Linear(tiny.hidden_size, 2)})
    store.save_model(tmp_path, Bert(tiny))
    store.save_heads(tmp_path, heads)
    assert torch.equal(store.start(tmp_path, tasks.get("glue/rte")).classifier.weight, heads["glue/rte"].weight)
    assert not torch.equal(store.start(tmp_path, tasks.get("glue/mrpc")).classifier.weight,
                           heads["glue/rte"].weight)


def test_packed_rows_come_back(tmp_path):
    p = store_of_random_rows().packed
    store.save_packed(tmp_path / "p.npz", p, logits=np.ones((40, 2), np.float16))
    back, more = store.load_packed(tmp_path / "p.npz")
    for name in ("ids", "types", "start", "length", "label"):
        np.testing.assert_array_equal(getattr(back, name), getattr(p, name))
    assert more["logits"].shape == (40, 2)


def test_an_ensemble_is_scored_as_its_mean(tiny, tmp_path):
    rows = store_of_random_rows()
    rows.packed.label[::2] = 1.0
    data = TaskData(tasks.get("glue/sst2"), rows, rows)
    for i in (1, 2):
        torch.manual_seed(i)
        store.save_model(tmp_path / str(i), Bert(tiny), ("0", "1"))
    one, guesses = pool.score([tmp_path / "1"], data, rows)
    twice, same = pool.score([tmp_path / "1", tmp_path / "1"], data, rows)
    assert one == twice and guesses == same and len(guesses) == 40
