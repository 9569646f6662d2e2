"""FFN neurons and heads removed for good: what nothing depends on scores zero and leaves without a trace; gates learn
which to keep for a wanted work."""
import pytest
import torch

from conftest import store_of_random_rows
from test_training import Killed, make, toy
from zeb_train import calibrate, flops, loop, prune, static, store, tasks
from zeb_train.bert import Bert, Config
from zeb_train.dataset import TaskData
from zeb_train.distill import Start, TaskLossWeights
from zeb_train.policy import LayerPolicy, Policy


def test_unused_neurons_and_heads_go_first_and_change_nothing(model, batch):
    with torch.no_grad():
        for i, layer in enumerate(model.layers):
            layer.output.dense.weight[:, i::3] = 0.0
            layer.attention.output.dense.weight[:, i * 8:(i + 1) * 8] = 0.0          # head i
    heads, neurons = static.fisher(model, store_of_random_rows(), batches=2, size=16)
    for i, (head, neuron) in enumerate(zip(heads, neurons)):
        assert not neuron[i::3].any() and (neuron > 0).sum() > 30
        assert head[i] == 0 and (head > 0).sum() == 3
    small = static.shrink(model, static.most(heads, 3), static.most(neurons, 43)).eval()
    assert small.layers[0].intermediate.dense.weight.shape == (43, 32)
    assert small.layers[0].attention.self.query.weight.shape == (24, 32) and small.config.dim_head == 8
    with torch.no_grad():
        torch.testing.assert_close(small(*batch).logits, model(*batch).logits, atol=1e-5, rtol=1e-4)


def test_impossible_sizes_are_refused(model, tiny):
    with pytest.raises(ValueError, match="cannot keep 0 of 64"):
        static.most([torch.zeros(64)], 0)
    with pytest.raises(ValueError, match="cannot keep 5 of 4 heads"):
        static.most([torch.zeros(4)], 5)
    with pytest.raises(ValueError, match="layer_heads"):
        Config(num_hidden_layers=2, layer_heads=[1, 5])
    with pytest.raises(ValueError, match="more than 0.01"):
        structure(model).chosen(0.01)


def structure(model, multiple=16) -> static.Structure:
    """Gates with some way between closed and open."""
    gates = static.Structure(model, torch.tensor([5, 9, 17]), multiple)
    torch.manual_seed(6)
    with torch.no_grad():
        gates.log_alpha.copy_(torch.randn(len(gates.log_alpha)) * 2.0)
    return gates


def test_expected_work_is_the_mean_of_the_samples(model):
    gates = structure(model)
    with torch.no_grad():
        u = torch.rand(4000, len(gates.log_alpha), generator=torch.Generator().manual_seed(1))
        drawn = gates.sample(u.clamp(1e-6, 1 - 1e-6))
        torch.testing.assert_close((drawn > 0).float().mean(0), gates.open(), atol=0.04, rtol=0)
        assert float(((drawn > 0) * gates.work).sum(1).mean()) == pytest.approx(float(gates.cost()), rel=5e-3)
        assert float(gates.work.sum()) == pytest.approx(1.0, abs=1e-6)


def test_gate_gradients_equal_finite_differences(model, batch):
    """Of the loss through the whole model with the noise held, and of Lagrange's penalty."""
    model.double()
    gates = structure(model).double()
    u = torch.rand(len(gates.log_alpha), dtype=torch.float64).clamp(0.05, 0.95)
    gates.multiplier.data.copy_(torch.tensor([0.7, -0.4]))
    hooks = static.attach(model, lambda i: gates.split(gates.sample(u))[i])
    reader = torch.randn(32, dtype=torch.float64)

    def task():                                     # logits are fp32, too coarse for differences
        return (model(*batch, hidden=True).hidden[-1] @ reader).square().sum()

    def loss():
        over = gates.cost() - 0.5
        return task() + 0.7 * over - 0.4 * over ** 2
    (task() + gates.penalty(0.5)).backward()
    seen = 0
    for i in range(0, len(gates.log_alpha), 7):
        with torch.no_grad():
            gates.log_alpha[i] += 1e-5
            up = float(loss())
            gates.log_alpha[i] -= 2e-5
            down = float(loss())
            gates.log_alpha[i] += 1e-5
        want = (up - down) / 2e-5
        assert float(gates.log_alpha.grad[i]) == pytest.approx(want, rel=1e-4, abs=1e-7)
        seen += abs(want) > 1e-3
    assert seen > 5
    over = float(gates.cost().detach()) - 0.5
    assert gates.multiplier.grad.tolist() == pytest.approx([-over, -over * over])
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("gated", [False, True])
def test_the_shrunk_model_is_the_masked_one(model, batch, gated):
    """With the gates' values, in blocks, and the work that was asked for; gated heads keep their own gates."""
    if gated:
        model.add_gates()
        for gate in model.zeb.gate.values():
            torch.nn.init.normal_(gate.weight, std=0.5)
    gates = structure(model)
    heads, neurons = gates.chosen(0.45)
    values = gates.split(gates.settled().detach())
    small = static.shrink(model, heads, neurons, values).eval()
    assert all(n % 16 == 0 for n in small.config.layer_ffn) and len(set(small.config.layer_ffn)) > 1
    n = torch.tensor([5.0, 9.0, 17.0])
    made = sum(flops.layer(small.config, i, n, n).sum() for i in range(3)) / flops.dense(small.config, n).sum()
    assert 0.4 < float(made) <= 0.45
    masks = [tuple(torch.zeros_like(v).index_copy(0, at, v[at]) for v, at in zip(pair, (h, f)))
             for pair, h, f in zip(values, heads, neurons)]
    hooks = static.attach(model, lambda i: masks[i])
    layers = [LayerPolicy("ratio", 0.6), LayerPolicy(None), LayerPolicy()]
    with torch.no_grad():
        torch.testing.assert_close(small(*batch).logits, model(*batch).logits, atol=1e-5, rtol=1e-5)
        if gated:                                  # a closed head is closed in both
            from zeb_train.sparsity import Hard
            assert small.zeb.gate["0"].weight.shape == (small.config.layer_heads[0], 32)
            out = [m(*batch, sparsity=Hard(m.config, Policy("p", [LayerPolicy(gated=True)] * 2 + [LayerPolicy()])))
                   for m in (small, model)]
            torch.testing.assert_close(out[0].logits, out[1].logits, atol=1e-5, rtol=1e-5)
    for hook in hooks:
        hook.remove()


@pytest.fixture(scope="module")
def data() -> TaskData:
    return TaskData(tasks.get("glue/sst2"), toy(600, 1), toy(200, 2))


@pytest.fixture(scope="module")
def teacher(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    tiny = Config(vocab_size=200, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64,
                  max_position_embeddings=40)
    model, run = make(tiny, data, folder)
    run.run()
    store.save_model(folder, model, ("0", "1"))
    (folder / "vocab.txt").write_text("\n".join(f"w{i}" for i in range(200)))
    return folder


def pruned(teacher, data, out, mode="ratio", **kw):
    return prune.dynamic("toy", teacher, [teacher], data, teacher / "vocab.txt", out,
                         loop.Settings(seed=1, epochs=8, batch=32, lr=1e-3, evals=3, **kw),
                         TaskLossWeights(augmented=0), prune.PruneSettings(target=0.45, mode=mode),
                         Start(freeze_words=True), static.StructureSettings(target=0.6, multiple=16))


@pytest.mark.parametrize("mode", ["ratio", "dense"])
def test_structure_and_ladder_meet_their_cost(teacher, data, tmp_path, mode):
    result = pruned(teacher, data, tmp_path, mode)
    small = store.load_model(tmp_path)
    assert result["structure"]["ffn"] == small.config.layer_ffn and 0.5 < result["structure"]["cost"] <= 0.6
    assert small.config.intermediate_size == 64 and max(small.config.layer_ffn) <= 64
    assert small.layers[1].intermediate.dense.weight.shape[0] == small.config.layer_ffn[1]
    assert result["calib"]["accuracy"] > 0.85
    if mode == "ratio":
        from zeb_train import policy
        how = policy.read(tmp_path / "policy.json", tmp_path)
        assert 0.35 < calibrate.cost(small, how, data.calib)["ratio"] == result["policy_cost"]["ratio"] <= 0.45
    words = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(store.load_tensors(tmp_path)[words], store.load_tensors(teacher)[words])


def test_a_search_that_was_killed_ends_alike(teacher, data, tmp_path, monkeypatch):
    """Killed within the search and once more behind it: gates, multipliers and what is left are the same."""
    whole = pruned(teacher, data, tmp_path / "a")
    plain = loop.Loop._update
    for where in ("structure", "b"):
        def update(self, rows, progress):
            if self.folder.name == where and self.step == 20:
                self.save()
            if self.folder.name == where and self.step == 25:
                raise Killed
            return plain(self, rows, progress)
        monkeypatch.setattr(loop.Loop, "_update", update)
        with pytest.raises(Killed):
            pruned(teacher, data, tmp_path / "b")
        saved = store.load_training(next(tmp_path.glob("b/**/training.pt")), "cpu")
        assert saved["step"] == 20 and ("structure.multiplier" in saved["module"]) == (where == "structure")
    monkeypatch.setattr(loop.Loop, "_update", plain)
    again = pruned(teacher, data, tmp_path / "b")
    for result in (again, whole):
        assert result["structure"].pop("seconds") > 0
    assert again["structure"] == whole["structure"] and again["structure"]["steps"] > 40
    assert again["history"] == whole["history"]
    for name, value in store.load_tensors(tmp_path / "a").items():
        assert torch.equal(value, store.load_tensors(tmp_path / "b")[name]), name
