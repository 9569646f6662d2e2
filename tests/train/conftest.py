import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "train"))
os.environ["PYTHONPATH"] = sys.path[0]     # for the steps of a recipe, which are processes

from zeb_train.batches import Store  # noqa: E402
from zeb_train.bert import Bert, Config  # noqa: E402
from zeb_train.tokens import Packed  # noqa: E402

torch.set_num_threads(1)            # tiny matrices: threads only wait for each other


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Where $ZEB names the program (scripts/test train), all that tests need is there: one that is skipped has failed."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("ZEB"):
        report.outcome, report.longrepr = "failed", f"skipped although $ZEB is set: {report.longrepr[2]}"
    return report


@pytest.fixture
def tiny() -> Config:
    return Config(vocab_size=200, hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
                  intermediate_size=64, max_position_embeddings=40)


@pytest.fixture
def model(tiny) -> Bert:
    """Random weights, scaled up so that attention is far from uniform."""
    torch.manual_seed(3)
    out = Bert(tiny)
    with torch.no_grad():
        for p in out.parameters():
            if p.ndim == 2:
                p.mul_(8.0)
    return out.eval()


@pytest.fixture
def batch():
    """Ragged rows, among them one of two tokens and one of full length."""
    torch.manual_seed(4)
    lengths = torch.tensor([2, 3, 9, 17, 24])
    live = torch.arange(24)[None] < lengths[:, None]
    ids = torch.where(live, torch.randint(104, 200, live.shape), 0)
    types = torch.where(live & (torch.arange(24) > 8), 1, 0)
    return ids, types, live


def store_of_random_rows(rows: int = 40) -> Store:
    rng = np.random.default_rng(5)
    length = rng.integers(4, 20, rows)
    start = np.concatenate([[0], np.cumsum(length)[:-1]])
    ids = rng.integers(104, 200, length.sum()).astype(np.int32)
    return Store(Packed(ids, np.zeros(len(ids), np.int8), start, length,
                        np.zeros(rows, np.float32), np.full(rows, -1)), torch.device("cpu"))
