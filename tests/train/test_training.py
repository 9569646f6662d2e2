"""The loop: learns a toy task, resumes exactly, stops on a loss that is not finite."""
import errno
import json
import os
import signal
import subprocess

import numpy as np
import pytest
import torch

from zeb_train import loop, policy, prune, ptq, store, tasks
from zeb_train.batches import Store, plan
from zeb_train.bert import Bert
from zeb_train.dataset import TaskData, measure
from zeb_train.distill import Lesson, TaskLoss, TaskLossWeights
from zeb_train.losses import task_loss
from zeb_train.sparsity import Hard
from zeb_train.tokens import Packed


def toy(rows: int, seed: int) -> Store:
    """Class 1 iff the token 150 occurs: what attention is good at."""
    rng = np.random.default_rng(seed)
    ids, length, label = [], [], []
    for _ in range(rows):
        n = int(rng.integers(4, 12))
        row = rng.integers(104, 140, n)
        y = int(rng.integers(0, 2))
        if y:
            row[rng.integers(0, n)] = 150
        ids.append(np.concatenate([[101], row, [102]]))
        length.append(n + 2)
        label.append(y)
    length = np.asarray(length)
    flat = np.concatenate(ids).astype(np.int32)
    start = np.concatenate([[0], np.cumsum(length)[:-1]])
    return Store(Packed(flat, np.zeros(len(flat), np.int8), start, length,
                        np.asarray(label, np.float32), np.full(rows, -1)), torch.device("cpu"))


@pytest.fixture(scope="module")
def data() -> TaskData:
    return TaskData(tasks.get("glue/sst2"), toy(600, 1), toy(200, 2))


def make(config, data, folder, epochs=6.0, evaluate=True, **kw):
    torch.manual_seed(7)
    model = Bert(config)
    s = loop.Settings(seed=7, epochs=epochs, batch=32, lr=2e-3, evals=3 if evaluate else 0, **kw)

    def loss(rows, step, progress):
        b = data.train.batch(rows)
        return task_loss(model(b.ids, b.types, b.live).logits, b.label)
    run = loop.Loop("toy", folder, model, s, torch.device("cpu"),
                    lambda epoch: plan(data.train.packed.length, s.batch, s.seed, epoch), loss,
                    (lambda: measure(data.task, model, data.calib)["accuracy"]) if evaluate else None)
    return model, run


@pytest.fixture(params=["fp32", "bf16", "fp16"])
def half(request):
    """What a CPU computes in while the test runs."""
    loop.compute_in(request.param == "bf16", request.param == "fp16")
    yield request.param
    loop.compute_in(False, False)


def test_learns_a_toy_task(tiny, data, tmp_path, half):
    model, run = make(tiny, data, tmp_path)
    with loop.autocast(torch.device("cpu")):
        b = data.train.batch(np.arange(4))
        assert model.bert.pooler.dense(torch.ones(1, 32)).dtype == {
            "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[half]
        assert torch.isfinite(model(b.ids, b.types, b.live).logits).all()
    result = run.run()
    assert result["best"] > 0.9
    assert len(result["history"]) == 3


def test_an_overflowing_gradient_costs_a_step_not_the_weights(tiny, data, tmp_path):
    """fp16's scale falls until gradients fit; a state of such a run is no state of another."""
    loop.compute_in(False, True)
    try:
        model, run = make(tiny, data, tmp_path, epochs=1, evaluate=False)
        run.scaler = torch.amp.GradScaler("cpu", init_scale=2.0 ** 40)
        before = {k: v.clone() for k, v in model.state_dict().items()}
        run._update(np.arange(32), 0.5)
        assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
        assert run.scaler.get_scale() < 2.0 ** 40
        for _ in range(40):
            run._update(np.arange(32), 0.5)
        assert all(torch.isfinite(v).all() for v in model.state_dict().values())
        assert any(not torch.equal(v, before[k]) for k, v in model.state_dict().items())
        run.save()
    finally:
        loop.compute_in(False, False)
    with pytest.raises(loop.TrainError, match="with --fp16"):
        make(tiny, data, tmp_path, epochs=1, evaluate=False)[1].run()


class Killed(Exception):
    pass


def test_resumed_equals_uninterrupted(tiny, data, tmp_path, half):
    """Killed after step 29, its last state of step 20: the second run repeats 21-29 and ends alike."""
    whole, run = make(tiny, data, tmp_path / "a", epochs=3, evaluate=False)
    run.run()
    model, run = make(tiny, data, tmp_path / "b", epochs=3, evaluate=False)
    plain = run._update

    def update(rows, progress):
        if run.step == 20:
            run.save()
        if run.step == 29:
            raise Killed
        return plain(rows, progress)
    run._update = update
    with pytest.raises(Killed):
        run.run()
    again, run = make(tiny, data, tmp_path / "b", epochs=3, evaluate=False)
    run.run()
    for (name, a), b in zip(whole.state_dict().items(), again.state_dict().values()):
        assert torch.equal(a, b), name


def test_stops_on_nan_and_keeps_the_state(tiny, data, tmp_path):
    model, run = make(tiny, data, tmp_path, log_seconds=0.0)
    plain = run.loss

    def loss(rows, step, progress):
        if step == 3:
            run.save()
        return plain(rows, step, progress) * (float("nan") if step == 5 else 1.0)
    run.loss = loss
    with pytest.raises(loop.TrainError, match="loss is nan"):
        run.run()
    saved = store.load_training(tmp_path / "training.pt", "cpu")
    assert saved["step"] == 3
    assert all(torch.isfinite(v).all() for v in saved["module"].values())


def test_a_best_state_outlives_a_later_nan(tiny, data, tmp_path):
    """Saved as soon as it is measured, long before the next periodic save, and gone on from as if nothing had been."""
    whole, run = make(tiny, data, tmp_path / "a")
    result = run.run()
    first = result["history"][0]
    model, run = make(tiny, data, tmp_path / "b")
    plain = run.loss
    run.loss = lambda rows, step, progress: plain(rows, step, progress) * (float("nan") if step == first["step"] + 1 else 1)
    with pytest.raises(loop.TrainError, match=f"loss is nan .* kept in {tmp_path / 'b'}"):
        run.run()
    saved = store.load_training(tmp_path / "b/training.pt", "cpu")
    assert (saved["step"], saved["best"], saved["history"]) == (first["step"], first["value"], [first])
    assert all(torch.isfinite(v).all() for v in saved["best_state"].values())
    again, run = make(tiny, data, tmp_path / "b")
    assert run.run()["history"] == result["history"]
    for (name, a), b in zip(whole.state_dict().items(), again.state_dict().values()):
        assert torch.equal(a, b), name


def test_what_a_nan_left_is_not_measured(tiny, data, tmp_path):
    model, run = make(tiny, data, tmp_path)
    plain = run.loss
    run.loss = lambda rows, step, progress: plain(rows, step, progress) * (float("nan") if step == 30 else 1)
    run.evaluate = lambda: pytest.fail("measured")
    with pytest.raises(loop.TrainError, match="loss is nan .* no state had been saved yet"):
        run.run()


def test_weights_that_are_not_finite_are_never_saved(tiny, data, tmp_path, monkeypatch):
    """Whether a step left them, or a signal comes before the loss was looked at."""
    model, run = make(tiny, data, tmp_path)
    run.save()
    model.classifier.bias.data[0] = float("nan")
    with pytest.raises(loop.TrainError, match="step 0 left weights that are not finite; the last good state is kept"):
        run.save()
    model, run = make(tiny, data, tmp_path / "new")
    plain = run.loss

    def loss(rows, step, progress):
        monkeypatch.setattr(loop, "_stop", True)
        return plain(rows, step, progress) * float("nan")
    run.loss = loss
    with pytest.raises(loop.TrainError, match="loss is nan between steps 0 and 1; no state had been saved yet"):
        run.run()
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("evaluate", [False, True])
def test_weights_that_the_last_step_spoilt_are_no_result(tiny, data, tmp_path, evaluate):
    """Its own loss was finite, and no step comes after it."""
    model, run = make(tiny, data, tmp_path, epochs=0, steps=6, evaluate=evaluate)
    plain = run._update

    def update(rows, progress):
        if run.step == 4:
            run.save()
        value = plain(rows, progress)
        if run.step == 5:
            model.classifier.bias.data[0] = float("nan")
        return value
    run._update = update
    with pytest.raises(loop.TrainError, match="step 6 left weights that are not finite; the last good state is kept"):
        run.run()
    assert store.load_training(tmp_path / "training.pt", "cpu")["step"] == 4


def test_a_full_disk_names_the_file_and_is_left_as_it_was(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device: '.*/a.json'"):
        store.write_json(tmp_path / "a.json", {})
    assert not list(tmp_path.iterdir())


def test_a_second_signal_does_not_cost_the_state(monkeypatch):
    monkeypatch.setattr(loop, "_stop", 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTERM):      # Ctrl-C, and what a recipe sends on
        loop.stop_at_next_step(number, None)
    assert loop._stop
    monkeypatch.setattr(loop, "_stop", signal.SIGINT)
    with pytest.raises(SystemExit):
        loop.stop_at_next_step(signal.SIGINT, None)


def test_a_state_is_gone_on_from_as_it_was_made(tiny, data, tmp_path):
    _, run = make(tiny, data, tmp_path, given={"start": "a@1", "quant": ""})
    run.save()
    killed = subprocess.Popen(["true"])
    killed.wait()
    for number in (killed.pid, os.getpid(), os.getppid()):               # of a process of before, and of one that writes now
        (tmp_path / f".training.pt.{number}.tmp").write_bytes(b"half of one")
    _, run = make(tiny, data, tmp_path, epochs=5.0, save_seconds=1.0, max_minutes=1.0,
                  given={"start": "a@2", "quant": "int8"})
    with pytest.raises(loop.TrainError, match=r"training.pt: was trained with start a@1 \(now a@2\), quant \(nothing\) "
                       r"\(now int8\), epochs 6.0 \(now 5.0\), max_minutes 0.0 \(now 1.0\); go on"):
        run.resume()
    assert {p.name for p in tmp_path.iterdir()} == {"training.pt", f".training.pt.{os.getppid()}.tmp"}
    (tmp_path / "training.pt").write_bytes((tmp_path / "training.pt").read_bytes()[:5000])
    with pytest.raises(ValueError, match="training.pt: cannot be read"):
        run.resume()


def test_a_state_of_before_its_settings_were_kept_is_gone_on_from(tiny, data, tmp_path, capsys):
    _, run = make(tiny, data, tmp_path)
    run.save()
    state = store.load_training(run.state_path, "cpu")
    store.save_training(run.state_path, {**state, "settings": {"lr": 2e-3}})
    assert run.resume() and "does not say what it was made with (accumulate, average" in capsys.readouterr().err
    store.save_training(run.state_path, {**state, "seed": 8, "settings": {}})
    with pytest.raises(loop.TrainError, match="was trained with seed 8"):
        run.resume()


@pytest.mark.parametrize("wrong", [{"given": {}}, {"lr": "much"}, {"batch": 0}, {"epochs": -1}, {"lr": float("nan")},
                                   {"bogus": 1}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(loop.TrainError, match=next(iter(wrong))):
        loop.Settings.of(wrong)


def test_gradient_accumulation_is_the_same_step(tiny, data, tmp_path):
    for p in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        setattr(tiny, p, 0.0)
    a, one = make(tiny, data, tmp_path / "a", epochs=0.1, evaluate=False)
    b, two = make(tiny, data, tmp_path / "b", epochs=0.1, evaluate=False, accumulate=4)
    one.run()
    two.run()
    for x, y in zip(a.state_dict().values(), b.state_dict().values()):
        torch.testing.assert_close(x, y, atol=3e-4, rtol=1e-3)


@pytest.mark.parametrize("mode, learn", [("relative", False), ("relative", True), ("ratio", False)])
def test_pruning_meets_its_cost(tiny, data, tmp_path, mode, learn):
    """A sparse student of a trained teacher: near its accuracy at half its work, by its own policy."""
    teacher, run = make(tiny, data, tmp_path / "t")
    run.run()
    student = Bert(tiny)
    student.load_state_dict(teacher.state_dict())
    near = torch.arange(tiny.vocab_size)[:, None]
    weights = TaskLossWeights(augmented=0)
    lesson = Lesson(student, TaskLoss(student, [teacher.eval()], data, near, weights, 1, None),
                    {"student": student})
    s = prune.PruneSettings(target=0.6, mode=mode, learn=learn)
    pruner = prune.Pruner("toy", lesson, data, s)
    module = torch.nn.ModuleDict({**lesson.parts, "pruner": pruner})
    settings = loop.Settings(seed=1, epochs=5, batch=32, lr=1e-3, evals=5,
                             groups={"pruner.soft": 60.0})
    result = loop.Loop("toy", tmp_path / "s", module, settings, torch.device("cpu"),
                       lambda e: plan(data.train.packed.length, 32, 1, e), pruner.steps(),
                       pruner.evaluate, keep=student).run()
    how = pruner.fit(pruner.frozen())
    got = measure(data.task, student, data.calib, sparsity=Hard(tiny, how))["accuracy"]
    assert result["best"] == pytest.approx(max(h["value"] or 0 for h in result["history"]))
    assert got > 0.8
    from zeb_train import calibrate
    made = calibrate.cost(student, how, data.calib)
    assert 0.5 < made["ratio"] <= 0.6 and all(a / b > 0.35 for a, b in zip(made["kept"][:2], [1, *made["kept"]]))
    how.write(tmp_path)
    back = policy.read(tmp_path / "policy.json")
    assert [x.mode for x in back.layers] == [mode, mode, None]


def test_policy_of_another_model_is_refused(tmp_path, model):
    store.save_model(tmp_path, model)
    policy.dense("d", 3).write(tmp_path)
    policy.read(tmp_path / "policy.json", tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").write_bytes(b"another")
    with pytest.raises(policy.PolicyError, match="another model"):
        policy.read(tmp_path / "policy.json", tmp_path / "model.safetensors")


def test_a_policy_hands_on_what_is_the_harness_s(tmp_path, model):
    """Precisions and where it came from outlive reading, quantisation and writing."""
    store.save_model(tmp_path, model)
    policy.Policy("p", policy.dense("", 3).layers, precisions=["w8a8"], provenance={"by": "zeb calibrate"}).write(tmp_path)
    ptq.quantize(tmp_path, tmp_path / "int8", "int8", "rtn", None, ("0", "1"))
    raw = json.loads((tmp_path / "int8/policy.json").read_text())
    assert (raw["precisions"], raw["provenance"]) == (["w8a8"], {"by": "zeb calibrate"})
    policy.dense("d", 3).write(tmp_path)
    assert not {"precisions", "provenance"} & json.loads((tmp_path / "policy.json").read_text()).keys()


def test_a_policy_of_the_wrong_shape_is_named(tmp_path, model):
    policy.dense("d", 3).write(tmp_path)
    good = (tmp_path / "policy.json").read_text()
    for text in ("[]", "{", good.replace('"tokens": null', '"tokens": 5'), good.replace('"floor": 2', '"floor": []')):
        (tmp_path / "policy.json").write_text(text)
        with pytest.raises(policy.PolicyError, match="policy.json"):
            policy.read(tmp_path / "policy.json")


def test_half_written_checkpoint_is_not_one(tmp_path, model):
    store.save_model(tmp_path, model)
    with open(tmp_path / "model.safetensors", "r+b") as f:
        f.truncate(3000)
    with pytest.raises(ValueError, match="model.safetensors: not whole"):
        store.load_model(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match="no complete checkpoint"):
        store.load_model(tmp_path)
