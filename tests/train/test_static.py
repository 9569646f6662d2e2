"""FFN neurons: those that nothing depends on score zero, and leave without a trace."""
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


def test_impossible_sizes_are_refused(model):
    with pytest.raises(ValueError, match="cannot keep 0"):
        static.shrink_ffn(model, [], 0)
