"""Teachers that are no students' shape, and the texts that pools hold."""
import numpy as np
import pytest
import torch
from conftest import store_of_random_rows

from zeb_train import corpus, pool, store, tasks, tokens
from zeb_train.bert import Bert
from zeb_train.dataset import TaskData
from zeb_train.loop import TrainError


@pytest.fixture
def mpnet(tmp_path):
    """A small MPNet as Hugging Face writes it, and its vocabulary file."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    words = ["<s>", "<pad>", "</s>", "<unk>", *(f"w{i}" for i in range(200)), "<mask>"]
    theirs = transformers.MPNetModel(transformers.MPNetConfig(
        vocab_size=205, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=202, layer_norm_eps=1e-5)).eval()
    with torch.no_grad():
        theirs.encoder.relative_attention_bias.weight.normal_()
    theirs.save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    return tmp_path, theirs


def test_mpnet_is_read_in_berts_order(mpnet):
    folder, theirs = mpnet
    ours = store.load_model(folder, num_labels=3).eval()
    ids = torch.randint(104, 200, (2, 180))                 # far enough apart for the logarithmic buckets
    ids[:, 0], ids[:, 90], ids[:, -1], ids[0, 5] = 101, 102, 102, 103
    live = torch.ones_like(ids, dtype=torch.bool)
    live[1, 100:] = False
    ids[1, 100:] = 0
    special = {0: 1, 101: 0, 102: 2, 103: 204}
    translated = (ids + 4).apply_(lambda i: special.get(i - 4, i))
    with torch.no_grad():
        goal = theirs(input_ids=translated, attention_mask=live.long()).last_hidden_state
        got = ours(ids, torch.ones_like(ids), live, hidden=True, full_last=True)
        short = ours(ids, torch.zeros_like(ids), live)
    assert torch.allclose(got.hidden[-1][live], goal[live], atol=1e-5)
    assert torch.allclose(short.logits, got.logits, atol=1e-5)
    store.save_model(folder / "again", ours, ("a", "b", "c"))
    again = store.load_model(folder / "again")
    assert type(again) is type(ours) and torch.equal(again.relative.weight, ours.relative.weight)


def test_examples_are_what_glosses_quote(tmp_path):
    (tmp_path / "wordnet").mkdir()
    (tmp_path / "wordnet/data.verb").write_text(
        '  1 licence "of no use to anyone here"\n'
        '00001 29 v 01 breathe 0 | draw air in; "I can breathe better when the air is clean"; "too short"\n'
        '00002 29 v 01 respire 0 | the same; "I can breathe better when the air is clean"\n')
    assert [r.a for r in corpus.examples(tmp_path)] == ["I can breathe better when the air is clean"]


def test_a_pool_is_what_was_asked_for_and_answered(tiny, tmp_path):
    torch.manual_seed(1)
    store.save_model(tmp_path / "teacher", Bert(tiny), ("no", "yes"))
    (tmp_path / "vocab.txt").write_text("\n".join(f"w{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(200)))
    rows = store_of_random_rows()
    rows.packed.label[20:] = np.nan
    data = TaskData(tasks.get("glue/cola"), rows, rows)
    how = pool.Recipe(copies=1, replace=0.1, own_copies=2, own_min_length=10, spoilt=3)
    made = pool.make(tmp_path / "pool", data, [tmp_path / "teacher"], tmp_path / "vocab.txt", 1, how)
    long = int((rows.packed.length[:20] >= 10).sum())
    assert made["own"] == 40 and made["labelled"] == 20 and made["texts"] == 40 * 5 + 2 * long
    back = pool.read(tmp_path / "pool", torch.device("cpu"))
    assert len(back) == made["texts"] and bool(torch.isfinite(back.goal).all())
    spoilt = back.packed.take(np.arange(80, 200))
    same = sum(np.array_equal(_row(spoilt, i), _row(rows.packed, j)) for i in range(len(spoilt)) for j in range(40))
    assert 20 < same < 100                                    # slips are few, and not in every copy


def _row(p, i: int) -> np.ndarray:
    return p.ids[p.start[i]:p.start[i] + p.length[i]]


def test_mates_are_near_second_texts_of_other_rows():
    """Rows of [CLS] a [SEP] b [SEP]; a of row i is nearest to b of row i, then to b of row i ^ 1."""
    words = torch.randn(40, 8, generator=torch.Generator().manual_seed(1))
    words[11:31:2] = words[10:30:2] + 0.05 * words[11:31:2]               # word 10 + 2k is like 11 + 2k
    rows = [[101, 10 + 2 * (i // 2), 102, 11 + 2 * (i // 2), 102] for i in range(8)]
    ids = np.array(rows, np.int32)
    ids[ids > 100] = 3                                                     # the same in all: says nothing
    p = tokens.Packed(ids.ravel(), np.tile([0, 0, 0, 1, 1], 8).astype(np.int8), np.arange(8) * 5, np.full(8, 5),
                      np.zeros(8, np.float32), np.full(8, -1))
    got = pool.mated(p, words, 2, longest=5)
    assert len(got) == 16 and np.isnan(got.label).all() and (got.length == 5).all()
    assert (got.types.reshape(16, 5) == [0, 0, 0, 1, 1]).all()
    first, second = got.ids.reshape(16, 5)[:, 1], got.ids.reshape(16, 5)[:, 3]
    assert first.tolist() == [w for r in rows for w in (r[1], r[1])]
    assert (second[::2] == first[::2] + 1).all() and (second[1::2] != first[1::2] + 1).all()
    assert len(pool.mated(p.take(np.arange(2)), words, 5, longest=5)) == 2 and not len(pool.mated(p, words, 2, longest=4))


def test_mates_are_of_pairs(tiny, tmp_path):
    data = TaskData(tasks.get("glue/sst2"), store_of_random_rows(), store_of_random_rows())
    with pytest.raises(TrainError, match="pairs"):
        pool.make(tmp_path, data, [], tmp_path, 1, pool.Recipe(mates=2))
