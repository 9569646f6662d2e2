"""Exit heads: fitted on train, confidences for a wanted agreement on calib, written and read again."""
import pytest
import torch

from conftest import store_of_random_rows
from zeb_train import exits, policy, store, tasks
from zeb_train.dataset import TaskData, predict
from zeb_train.policy import PolicyError
from zeb_train.sparsity import Hard


def test_regression_finds_the_map():
    torch.manual_seed(0)
    x, w = torch.randn(400, 5) * torch.tensor([1.0, 5.0, 0.1, 1.0, 1.0]) + 2.0, torch.randn(3, 5)
    target = torch.softmax(x @ w.T - 1.0, -1)
    head = exits.regress(x, target, jitter=0.0)
    torch.testing.assert_close(torch.softmax(head(x), -1), target, atol=2e-3, rtol=0)


def test_the_confidence_keeps_to_its_budget():
    sure = torch.tensor([0.9, 0.8, 0.7, 0.7, 0.6])
    same = torch.tensor([True, True, False, True, True])
    assert exits.confidence(sure, same, 0) == pytest.approx(0.75)     # ties leave together
    assert exits.confidence(sure, same, 1) < 0.6
    assert exits.confidence(sure, ~same, 0) == 0.0


def test_exits_agree_as_wanted_and_come_back(model, tmp_path):
    calib = store_of_random_rows(200)
    data = TaskData(tasks.get("glue/sst2"), store_of_random_rows(150), calib)
    dense = policy.dense("dense", 3)
    how, said = exits.add(dense, model, data, [0, 1], 0.95)
    assert sum(s["leave"] for s in said.values()) > 0.1
    whole, early = predict(model, calib, precise=True), predict(model, calib, precise=True,
                                                                sparsity=Hard(model.config, how))
    assert (whole.argmax(1) == early.argmax(1)).mean() >= 0.95
    assert (whole != early).any()
    store.save_model(tmp_path, model, ("0", "1"))
    how.write(tmp_path)
    again = policy.read(tmp_path / "policy.json", tmp_path)
    assert (predict(model, calib, precise=True, sparsity=Hard(model.config, again)) == early).all()
    (tmp_path / ("policy" + policy.EXITS)).write_bytes(b"other")
    with pytest.raises(PolicyError, match="not the weights"):
        policy.read(tmp_path / "policy.json")
    for layers, agreement in (([2], 0.9), ([], 0.9), ([0], 0.0)):
        with pytest.raises(ValueError):
            exits.add(dense, model, data, layers, agreement)
