"""Soft mask -> hard mask -> physically removed rows: three ways to the same logits."""
from dataclasses import replace

import pytest
import torch

from zeb_train import compact, flops
from zeb_train.bert import Bert
from zeb_train.policy import LayerPolicy, Policy, PolicyError, read
from zeb_train.sparsity import Hard, Soft, select


def each(model, policy, ids, types, live):
    return torch.stack([compact.forward(model, policy, i[a], t[a])[0]
                        for i, t, a in zip(ids, types, live)])


POLICIES = {
    "dense": [LayerPolicy(), LayerPolicy(), LayerPolicy()],
    "threshold": [LayerPolicy("threshold", 0.05), LayerPolicy("threshold", 0.12), LayerPolicy()],
    "relative": [LayerPolicy("relative", 0.8), LayerPolicy("relative", 1.05), LayerPolicy()],
    "everything": [LayerPolicy("threshold", 9.0), LayerPolicy("threshold", 9.0), LayerPolicy()],
    "topk": [LayerPolicy("topk", 7), LayerPolicy("topk", 3), LayerPolicy()],
    "ratio": [LayerPolicy("ratio", 0.5), LayerPolicy("ratio", 0.7), LayerPolicy()],
    "scores": [LayerPolicy("ratio", 0.6, 0.05), LayerPolicy(None, 0, 0.1), LayerPolicy(None, 0, 0.1)],
    "blocks": [LayerPolicy(block=4, block_threshold=0.3), LayerPolicy("topk", 9, block=2, block_threshold=0.2),
               LayerPolicy(block=16, block_threshold=0.6)],
    "exits": [LayerPolicy("ratio", 0.8, confidence=0.75), LayerPolicy(confidence=0.7, block=4,
                                                                     block_threshold=0.2), LayerPolicy()],
    "heads": [LayerPolicy("threshold", 0.05, 0.0, True), LayerPolicy(None, 0, 0, True),
              LayerPolicy()],
    "best heads": [LayerPolicy("ratio", 0.6), LayerPolicy(heads_kept=2), LayerPolicy(heads_kept=1)],
}


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("keep_last", [False, True])
def test_hard_masks_equal_removed_rows(model, batch, name, keep_last):
    ids, types, live = batch
    model.add_gates()
    for gate in model.zeb.gate.values():
        torch.nn.init.normal_(gate.weight, std=0.5)
        torch.nn.init.zeros_(gate.bias)
    policy = Policy(name, POLICIES[name], 2, keep_last)
    for i, layer in enumerate(policy.layers):
        if layer.confidence:
            torch.manual_seed(i)
            policy.exits[i] = torch.nn.Linear(32, 2)
    hard = Hard(model.config, policy)
    with torch.no_grad():
        out = model(ids, types, live, sparsity=hard)
    masked = out.logits
    if policy.exits:
        assert 0 < int(hard.gone.sum()) < len(ids) and hard.exited[0].sum() < hard.exited[1].sum()
        assert out.stats["kept"][2][hard.gone].sum() == 0
    torch.testing.assert_close(masked, each(model, policy, ids, types, live), atol=1e-5, rtol=1e-5)


def test_dense_paths_agree(model, batch):
    policy = Policy("dense", POLICIES["dense"])
    with torch.no_grad():
        fast = model(*batch).logits
        full = model(*batch, full_last=True).logits
        slow = model(*batch, sparsity=Hard(model.config, policy)).logits
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(fast, full, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("relative, values", [(False, [0.05, 0.1]), (True, [0.9, 1.1])])
def test_soft_masks_become_hard_ones(model, batch, relative, values):
    soft = Soft(model.config, tokens=True, gated=False, tau=1e-5, relative=relative)
    with torch.no_grad():
        soft.log_theta.copy_(torch.log(torch.tensor(values)))
        policy = soft.policy("soft")
        policy.floor = 1
        a = model(*batch, sparsity=soft)
        b = model(*batch, sparsity=Hard(model.config, policy))
    torch.testing.assert_close(a.logits, b.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(a.stats["cost"], b.stats["cost"], rtol=1e-3, atol=1.0)


def test_dropped_heads_cost_nothing_and_stay_away(model, batch, tmp_path):
    policy = Policy("heads", POLICIES["best heads"])
    with torch.no_grad():
        hard = Hard(model.config, policy)
        stats = model(*batch, sparsity=hard).stats
    assert [float(on.mean()) for on in stats["heads"]] == [0.5, 0.25]
    assert 0.1 < float(stats["cost"].sum() / stats["dense"].sum()) < 0.75
    policy.write(tmp_path)
    assert read(tmp_path / "policy.json").layers == policy.layers
    for kept in ([4, 4, 4], [0, 1, 2], [0, 1, 0], [0, -1, 0]):
        Policy("wrong", [LayerPolicy(heads_kept=k) for k in kept]).write(tmp_path)
        with pytest.raises(PolicyError, match="come back"):
            read(tmp_path / "policy.json")


def test_floor_keeps_two_rows_and_the_first(model, batch):
    ids, types, live = batch
    policy = Policy("all", POLICIES["everything"])
    for i, t, a in zip(ids, types, live):
        _, left = compact.forward(model, policy, i[a], t[a])
        assert [len(x) for x in left] == [2, 2, 1] and left[0][0] == 0


def test_ties_go_to_the_lower_row():
    s = torch.full((1, 6), 0.25)
    keep = select(s, torch.ones(1, 6, dtype=torch.bool), LayerPolicy("topk", 3), 2, False)
    assert keep.tolist() == [[True, True, True, False, False, False]]
    keep = select(s, torch.ones(1, 6, dtype=torch.bool), LayerPolicy("topk", 3), 2, True)
    assert keep.tolist() == [[True, True, False, False, False, True]]


def test_cost_counts_what_is_left(model, batch):
    policy = Policy("dense", POLICIES["dense"])
    with torch.no_grad():
        stats = model(*batch, sparsity=Hard(model.config, policy)).stats
    torch.testing.assert_close(stats["cost"], stats["dense"])
    r = flops.ladder(model.config, 0.5)
    assert 0.2 < r < 0.9
    ladder = Policy("r", [LayerPolicy("ratio", r), LayerPolicy("ratio", r), LayerPolicy()])
    with torch.no_grad():
        stats = model(*batch, sparsity=Hard(model.config, ladder)).stats
    assert 0.45 < float(stats["cost"][-1] / stats["dense"][-1]) < 0.62


def test_threshold_gradient_equals_finite_difference(model, batch):
    """d loss / d log theta of the soft masks (masks and softmax are fp32, close enough at this step)."""
    model.double()
    soft = Soft(model.config, tokens=True, gated=False, tau=0.5, start=0.06).double()

    def loss():
        out = model(*batch, sparsity=soft)
        return (out.logits ** 2).sum() + 1e-5 * out.stats["cost"].sum()

    loss().backward()
    for i in range(2):
        got = float(soft.log_theta.grad[i])
        with torch.no_grad():
            soft.log_theta[i] += 1e-4
            up = float(loss())
            soft.log_theta[i] -= 2e-4
            down = float(loss())
            soft.log_theta[i] += 1e-4
        assert got == pytest.approx((up - down) / 2e-4, rel=2e-2, abs=1e-4)


def test_gate_gradient_is_that_of_the_sigmoid(model, batch):
    """Straight-through: the gradient of a gate's bias equals the finite difference of the loss with the
    sigmoid's slope in place of the step's."""
    model.add_gates()
    ids, types, live = batch
    soft = Soft(model.config, tokens=False, gated=True).eval()
    bias = model.zeb.gate["0"].bias
    seen = {}
    original = soft.heads

    def heads(i, m, x, alive):
        gate = original(i, m, x, alive)
        if i == 0:
            gate = gate + seen.setdefault("delta", torch.zeros_like(gate, requires_grad=True))
        return gate
    soft.heads = heads
    loss = (model(ids, types, live, sparsity=soft).logits ** 2).sum()
    loss.backward()
    slope = torch.sigmoid(torch.tensor(2.0)) * (1 - torch.sigmoid(torch.tensor(2.0)))
    torch.testing.assert_close(bias.grad, seen["delta"].grad.sum(0) * slope, rtol=1e-4, atol=1e-6)
    base = seen["delta"].grad.sum(0)[1]
    with torch.no_grad():
        values = []
        for step in (1e-2, -1e-2):
            seen["delta"] = torch.zeros_like(seen["delta"])
            seen["delta"][:, 1] = step
            values.append(float((model(ids, types, live, sparsity=soft).logits ** 2).sum()))
    assert float(base) == pytest.approx((values[0] - values[1]) / 2e-2, rel=5e-2, abs=1e-3)


def test_layers_of_unlike_heads_follow_a_ladder(tiny, batch):
    """Nothing that heads gave is added up where no policy ranks them."""
    torch.manual_seed(5)
    model = Bert(replace(tiny, layer_heads=[3, 4, 2], layer_ffn=[64, 32, 16])).eval()
    how = Policy("ladder", [LayerPolicy("ratio", 0.6), LayerPolicy("ratio", 0.7), LayerPolicy()])
    ids, types, live = batch
    with torch.no_grad():
        masked = model(ids, types, live, sparsity=Hard(model.config, how)).logits
    assert torch.allclose(masked, each(model, how, ids, types, live), atol=1e-5)
