"""FFN neurons and heads: those that nothing depends on score zero, and leave without a trace."""
import pytest
import torch

from conftest import store_of_random_rows
from zeb_train import static


def test_unused_neurons_go_first_and_change_nothing(model, batch):
    model.config.num_labels = 2
    with torch.no_grad():
        for i, layer in enumerate(model.layers):
            layer.output.dense.weight[:, i::3] = 0.0
    importance = static.neuron_fisher(model, store_of_random_rows(), batches=2, size=16)
    for i, value in enumerate(importance):
        assert not value[i::3].any() and (value > 0).sum() > 30
    keep = max(int((v > 0).sum()) for v in importance)
    small = static.shrink_ffn(model, importance, keep).eval()
    assert small.layers[0].intermediate.dense.weight.shape == (keep, 32)
    with torch.no_grad():
        torch.testing.assert_close(small(*batch).logits, model(*batch).logits, atol=1e-5, rtol=1e-4)


def test_unused_heads_go_first_and_change_nothing(model, batch):
    with torch.no_grad():
        for i, layer in enumerate(model.layers):
            layer.attention.output.dense.weight[:, i * 8:(i + 1) * 8] = 0.0          # head i
    importance = static.head_fisher(model, store_of_random_rows(), batches=2, size=16)
    for i, value in enumerate(importance):
        assert value[i] == 0 and (value > 0).sum() == 3
    small = static.shrink_heads(model, importance, 3).eval()
    assert small.layers[0].attention.self.query.weight.shape == (24, 32) and small.config.dim_head == 8
    with torch.no_grad():
        torch.testing.assert_close(small(*batch).logits, model(*batch).logits, atol=1e-5, rtol=1e-4)


def test_impossible_sizes_are_refused(model):
    with pytest.raises(ValueError, match="cannot keep 0"):
        static.shrink_ffn(model, [], 0)
    with pytest.raises(ValueError, match="cannot keep 5 of 4 heads"):
        static.shrink_heads(model, [], 5)
