"""Number formats: round trips, exact rules, files read back to the same logits."""
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from conftest import store_of_random_rows
from zeb_train import gptq, quantise, store


def test_int8_rows_follow_the_rule():
    torch.manual_seed(1)
    x = torch.randn(50, 37) * torch.logspace(-6, 6, 50)[:, None]
    x[3] = 0.0
    x[4] = 1e-33
    q, scale = quantise.int8_rows(x)
    for row, qs, s in zip(x.numpy(), q.numpy(), scale.numpy()):
        most = np.abs(row).max()
        if most < np.float32(2.0 ** -100):
            assert s == 0 and not qs.any()
            continue
        inv = np.float32(127) / most
        assert s == most / np.float32(127)
        assert (qs == np.rint(row * inv).astype(np.int8)).all()
    assert int(q.abs().max()) == 127


def test_int8_halves_go_to_even():
    x = torch.tensor([[127.0, 0.5, 1.5, 2.5, -0.5, -1.5]])
    assert quantise.int8_rows(x)[0].tolist() == [[127, 0, 2, 2, 0, -2]]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_seen_and_not_stored(model, bad):
    """As the harness has it: no number of such a row's (or group's) results is finite, and all others stay."""
    torch.manual_seed(3)
    x = torch.randn(3, 64)
    x[1, 40] = bad
    for values, good in ((quantise.int8_values(x), [True, False, False, True]),
                         (quantise.int4_values(x, 32), [True, True, False, True])):
        parts = torch.stack([values[0, :32], values[1, :32], values[1, 32:], values[2, 32:]])
        assert torch.isfinite(parts).all(1).tolist() == good and torch.isfinite(parts).any(1).tolist() == good
    state = model.state_dict()
    for key, formats in (("bert.encoder.layer.1.output.dense", {n: quantise.Format(8) for n, _ in quantise.matrices(model)}),
                         ("bert.encoder.layer.1.output.dense", {n: quantise.Format(4, 32) for n, _ in quantise.matrices(model)}),
                         ("classifier", {})):
        spoilt = {**state, f"{key}.weight": state[f"{key}.weight"].clone()}
        spoilt[f"{key}.weight"][0, 0] = bad
        with pytest.raises(ValueError, match=f"^{key}.weight: not finite"):
            quantise.shipped(spoilt, formats, torch.float32)
    with pytest.raises(ValueError, match="classifier.weight: not finite as float16"):
        quantise.shipped({**state, "classifier.weight": state["classifier.weight"] + 1e5}, {}, torch.float16)
    rounded = gptq.apply(model, store_of_random_rows(), 32)
    name = next(iter(rounded))
    model.get_submodule(name).weight.data[0, 0] = bad
    with pytest.raises(ValueError, match=f"^{name}.weight: not finite"):
        quantise.tensors(model, {name: quantise.Format(4, 32)}, rounded)


@pytest.mark.parametrize("group", [32, 64])
def test_int4_packs_and_unpacks(group):
    torch.manual_seed(2)
    w = torch.randn(16, 128)
    w[0, :group] = 0.0
    q, scale = quantise.int4_groups(w, group)
    assert scale.dtype == torch.float16 and scale.shape == (16, 128 // group)
    assert float(scale[0, 0]) == 0 and not q[0, :group].any()
    assert int(q.abs().max()) == 7
    packed = quantise.pack4(q)
    assert packed.dtype == torch.uint8 and packed.shape == (16, 64)
    assert int(packed[1, 0]) == (int(q[1, 0]) + 8) | ((int(q[1, 1]) + 8) << 4)
    assert torch.equal(quantise.unpack4(packed), q)
    step = scale.float().repeat_interleave(group, 1)
    assert ((w - q.float() * step).abs() <= step * 0.51 + 1e-3 * w.abs()).all()


def test_int4_divides_by_the_rounded_scale():
    w = torch.full((1, 32), 0.3)
    q, scale = quantise.int4_groups(w, 32)
    assert float(scale[0, 0]) == float(np.float16(np.float32(0.3) / np.float32(7)))
    assert q.unique().tolist() == [7]


@pytest.mark.parametrize("name", ["int8", "int4"])
def test_written_files_read_back(tmp_path, model, batch, name):
    how = quantise.Format.of(name)
    formats = {n: how for n, _ in quantise.matrices(model)}
    quantise.write(tmp_path, model, formats, ("0", "1"))
    state = load_file(tmp_path / "model.safetensors")
    key = "bert.encoder.layer.1.output.dense.weight"
    assert state[key].dtype == (torch.int8 if how.bits == 8 else torch.uint8)
    assert state[key + "_scale"].shape == ((32,) if how.bits == 8 else (32, 2))
    back = store.load_model(tmp_path).eval()
    model.half().float()
    quantise.wrap(model, how)
    with torch.no_grad():
        a, b = model(*batch).logits, back(*batch).logits
    torch.testing.assert_close(a, b, atol=2e-2, rtol=2e-2)


def test_straight_through_gradient(model, batch):
    quantise.wrap(model, quantise.Format(4, 32))
    model(*batch).logits.sum().backward()
    grad = model.layers[0].intermediate.dense.weight.grad
    assert grad is not None and float(grad.abs().sum()) > 0
    assert not isinstance(quantise.unwrap(model).layers[0].intermediate.dense, quantise.QuantLinear)


def test_gptq_beats_rounding_to_nearest(model):
    """On the inputs it was made for, the output error of a matrix falls."""
    data = store_of_random_rows()
    sums = gptq.moments(model, data)
    name, module = next(iter(quantise.matrices(model)))
    w, h = module.weight.detach(), sums[name].double()
    q, scale = gptq.round_matrix(w, sums[name], 32)
    values = q.view(len(q), -1, 32).float() * scale.float()[..., None]

    def error(v):
        d = (v - w).double()
        return float(torch.einsum("nk,kl,nl->", d, h, d))
    assert error(values.view(w.shape)) < 0.9 * error(quantise.int4_values(w, 32))


def test_gptq_values_are_stored_exactly(tmp_path, model):
    formats = {n: quantise.Format(4, 32) for n, _ in quantise.matrices(model)}
    rounded = gptq.apply(model, store_of_random_rows(), 32)
    quantise.write(tmp_path, model, formats, None, rounded)
    back = store.load_model(tmp_path)
    for (_, a), (_, b) in zip(quantise.matrices(model), quantise.matrices(back)):
        torch.testing.assert_close(a.weight, b.weight, atol=0, rtol=0)


def test_four_bits_are_for_words_and_matrices(model, batch):
    formats = quantise.wanted(model, "int4-64", "int4", "int8")
    assert {n.rsplit(".", 1)[1]: f for n, f in formats.items() if "embeddings" in n} == {
        "word_embeddings": quantise.Format(4, 32), "position_embeddings": quantise.Format(8),
        "token_type_embeddings": quantise.Format(8)}
    assert formats.pop("bert.pooler.dense") == quantise.Format(8)
    assert {f for n, f in formats.items() if "encoder" in n} == {quantise.Format(4, 64)}
    with torch.no_grad():                                # a stored pooler computes as it is stored
        plain = model(*batch).logits
        quantise.wrap(model, {"bert.pooler.dense": quantise.Format(8)})
        assert 0 < float((model(*batch).logits - plain).abs().max()) < 0.1


def test_a_shared_vocabulary_is_one_file(tmp_path):
    from zeb_train import export
    (tmp_path / "v.txt").write_text("a\nb\n")
    for name in ("a", "b", "deeper/c"):
        (tmp_path / name).mkdir(parents=True)
    first = tmp_path / "a/vocab.txt"
    for _ in range(2):                                   # made, then found
        for name in ("a", "b"):
            export._vocabulary(tmp_path / name, tmp_path / "v.txt", first)
    assert not first.is_symlink() and (tmp_path / "b/vocab.txt").readlink().as_posix() == "../a/vocab.txt"
    with pytest.raises(ValueError, match="beside"):
        export._vocabulary(tmp_path / "deeper/c", tmp_path / "v.txt", first)
    (tmp_path / "v.txt").write_text("a\nc\n")
    with pytest.raises(ValueError, match="are not those"):
        export._vocabulary(tmp_path / "b", tmp_path / "v.txt", first)
    export._vocabulary(tmp_path / "b", tmp_path / "v.txt", None)
    assert not (tmp_path / "b/vocab.txt").is_symlink() and first.read_text() == "a\nb\n"


def test_shared_words_are_one_table(tmp_path, model):
    formats = {n: quantise.Format(8) for n in quantise.tables(model.state_dict())}
    assert len(formats) == 3
    state = quantise.tensors(model, formats)
    words = tmp_path / "words" / "words.safetensors"
    for name in ("a", "b"):
        store.save_tensors(tmp_path / name, state, words)
        store.write_json(tmp_path / name / "config.json", model.config.hugging_face(None))
    assert store.shards(tmp_path / "a") == [tmp_path / "a" / "../words/words.safetensors",
                                            tmp_path / "a" / "encoder.safetensors"]
    back = store.load_model(tmp_path / "b")
    key = "bert.embeddings.word_embeddings.weight"
    q, scale = quantise.int8_rows(model.state_dict()[key])
    torch.testing.assert_close(back.state_dict()[key], q.float() * scale[:, None], atol=0, rtol=0)
    assert store.model_sha256(tmp_path / "a") == store.model_sha256(tmp_path / "b") != store.sha256(words)
    zeros = {k: torch.zeros_like(v) for k, v in state.items()}
    for words_of, there in ((None, {"model.safetensors"}), (words, {"encoder.safetensors", store.INDEX})):   # the other way last
        store.save_tensors(tmp_path / "a", zeros if words_of is None else state, words_of)
        assert {p.name for p in (tmp_path / "a").iterdir()} - {"config.json"} == there
        assert bool(store.load_tensors(tmp_path / "a")[key].any()) == (words_of is not None)
    other = {**state, key: state[key] ^ 1}
    with pytest.raises(ValueError, match="is not that of the model"):
        store.save_tensors(tmp_path / "c", other, words)
    with pytest.raises(ValueError, match="beside"):
        store.save_tensors(tmp_path / "deeper" / "c", state, words)
    index = tmp_path / "a" / store.INDEX
    index.write_text(index.read_text().replace("../words", "../../words"))
    with pytest.raises(ValueError, match="is not the name of a file"):
        store.load_model(tmp_path / "a")
