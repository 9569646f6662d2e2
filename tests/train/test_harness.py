"""The contract with the harness: its quantisers bit for bit, its logits under a policy."""
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from zeb_train import calibrate, dataset, exits, flops, gptq, policy, quantise, static, store
from zeb_train.policy import LayerPolicy, Policy
from zeb_train.sparsity import Hard

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include "zeb/number.h"
int main(int argc, char **argv) {
    size_t n = (size_t)atol(argv[2]);
    float *x = malloc(n * sizeof *x);
    int8_t *q = malloc(n);
    (void)argc;
    while (fread(x, sizeof *x, n, stdin) == n) {
        if (argv[1][0] == '8') {
            float scale = zeb_quantise_i8(x, n, q);
            fwrite(&scale, sizeof scale, 1, stdout);
        } else {
            uint16_t scale = zeb_quantise_i4(x, n, q);
            fwrite(&scale, sizeof scale, 1, stdout);
        }
        fwrite(q, 1, n, stdout);
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def quantiser(tmp_path_factory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("number")
    (folder / "q.c").write_text(PROGRAM)
    subprocess.run([compiler, "-std=c17", "-O1", "-I", ROOT / "harness/include", folder / "q.c",
                    "-lm", "-o", folder / "q"], check=True)
    return folder / "q"


def rows(n: int) -> np.ndarray:
    rng = np.random.default_rng(9)
    x = rng.standard_normal((400, n)) * 10.0 ** rng.uniform(-9, 6, (400, 1))
    x[0], x[1], x[2, 0] = 0.0, 1e-32, 3e5
    x[3:40] = np.round(x[3:40] * 8) / 8                    # many exact halves
    top = rng.uniform(0.1, 1, 160).astype(np.float16)      # and near halves: ratios of numbers of few bits
    x[40:200] = (top[:, None] * (rng.integers(-127, 128, (160, n)) - 0.5) / 127).astype(np.float16)
    x[40:200, 0] = top
    return x.astype(np.float32)


def test_int8_equals_the_harness(quantiser):
    x = rows(96)
    raw = subprocess.run([quantiser, "8", "96"], input=x.tobytes(), capture_output=True,
                         check=True).stdout
    got = np.frombuffer(raw, np.uint8).reshape(400, 100)
    q, scale = quantise.int8_rows(torch.from_numpy(x))
    assert (got[:, :4].copy().view(np.float32)[:, 0] == scale.numpy()).all()
    assert (got[:, 4:].copy().view(np.int8) == q.numpy()).all()


@pytest.mark.parametrize("group", [32, 64])
def test_int4_equals_the_harness(quantiser, group):
    x = rows(group)
    raw = subprocess.run([quantiser, "4", str(group)], input=x.tobytes(), capture_output=True,
                         check=True).stdout
    got = np.frombuffer(raw, np.uint8).reshape(400, group + 2)
    q, scale = quantise.int4_groups(torch.from_numpy(x), group)
    assert (got[:, :2].copy().view(np.float16)[:, 0] == scale.numpy()[:, 0]).all()
    assert (got[:, 2:].copy().view(np.int8) == q.numpy()).all()


def program() -> Path | None:
    named = os.environ.get("ZEB")
    built = sorted(ROOT.glob("build/*/bin/zeb"), key=lambda p: p.stat().st_mtime, reverse=True)
    found = [Path(named)] if named else built          # the newest: an old one may not know what is asked
    for path in found:
        try:
            help_text = subprocess.run([path, "run", "--help"], capture_output=True, text=True)
        except OSError:
            continue
        if help_text.returncode == 0 and "--policy" in help_text.stdout:
            return path
    return None


def test_masked_logits_equal_the_harness(tmp_path):
    """Thresholds, top-k, ratio, head gates, the heads that gave most, score thresholds, closed blocks and an exit on the default
    checkpoint: the masks of training against rows really removed by zeb, fp32."""
    zeb, shipped = program(), ROOT / "baselines/bert-mini-sst2"
    data = ROOT / "suites/data"
    if zeb is None or not (data / "glue/SST-2/dev.tsv").is_file():
        pytest.skip("no zeb program built (or named by $ZEB)")
    model = store.load_model(shipped)
    model.add_gates()
    torch.manual_seed(0)
    for gate in model.zeb.gate.values():
        torch.nn.init.normal_(gate.weight, std=0.2)
        torch.nn.init.constant_(gate.bias, 0.3)
    store.save_model(tmp_path, model, ("0", "1"), torch.float16)
    for name in ("vocab.txt", "tokenizer_config.json"):
        shutil.copyfile(shipped / name, tmp_path / name)
    policy = Policy("all", [LayerPolicy("relative", 0.4, 0.01, True, 32, 0.3),
                            LayerPolicy("topk", 9, 0.02, True, confidence=0.6),
                            LayerPolicy("ratio", 0.6, heads_kept=3),
                            LayerPolicy(None, 0.0, 0.03, False, 64, 0.5, heads_kept=2)],
                    2, True)
    model = store.load_model(tmp_path)
    split = dataset.open_split(data, shipped / "vocab.txt", "glue/sst2", "dev", torch.device("cpu"))
    split = dataset.Store(split.packed.take(np.arange(60)), split.device)
    head = policy.exits[1] = torch.nn.Linear(256, 2)
    nobody = Policy("nobody", [*policy.layers[:1], LayerPolicy("topk", 9, 0.02, True), *policy.layers[2:]],
                    2, True)
    first, _ = exits._look(model, nobody, split, [1], 60)
    sure = torch.softmax(head(first[1]), 1).max(1).values.sort().values
    policy.layers[1].confidence = float(sure[30:32].detach().mean())      # half of them, none on the edge
    policy.write(tmp_path)
    subprocess.run([zeb, "run", "--model", tmp_path, "--policy", tmp_path / "policy.json", "--task",
                    "glue/sst2", "--data", data, "--device", "ref", "--limit", "60", "--scenario",
                    "offline", "--max-time", "1s", "--format", "jsonl", "--db", tmp_path / "z.db",
                    "--predictions", tmp_path / "p.jsonl"], check=True, capture_output=True)
    hard = Hard(model.config, policy)
    want = dataset.predict(model, split, sparsity=hard, precise=True)
    assert 0 < int(hard.gone.sum()) < 60
    got = np.zeros_like(want)
    for line in (tmp_path / "p.jsonl").read_text().splitlines():
        row = json.loads(line)
        got[row["index"]] = row["scores"]
    np.testing.assert_allclose(got, want, atol=1e-4)


@pytest.mark.parametrize("weights", ["int8", "int4", "int4-64"])
def test_files_equal_the_harness(tmp_path, weights):
    """The whole checkpoint, matrices, pooler and embedding tables, as `zeb quantize` writes it."""
    zeb, shipped = program(), ROOT / "baselines/bert-mini-sst2"
    if zeb is None:
        pytest.skip("no zeb program built (or named by $ZEB)")
    source, bits, group = tmp_path / "source", weights.split("-")[0], weights.split("-")[-1]
    model = store.load_model(shipped)                    # floats, in whatever form it ships
    store.save_model(source, quantise.unwrap(model), ("0", "1"), torch.float16)
    subprocess.run([zeb, "quantize", "--model", source, "--weights", bits, "--embeddings", bits, "--pooler",
                    *(["--group", group] if group == "64" else []), "--out", tmp_path / "c"], check=True,
                   capture_output=True)
    state = store.load_tensors(source)
    mine = quantise.shipped(state, quantise.wanted(model, weights, weights, weights), torch.float16)
    theirs = store.load_tensors(tmp_path / "c")
    assert mine.keys() == theirs.keys() and len(mine) == 73 + 24 + 3 + 1
    for key, value in mine.items():
        assert value.dtype == theirs[key].dtype and torch.equal(value, theirs[key]), key


@pytest.fixture(scope="module")
def removed(tmp_path_factory) -> Path:
    """The default checkpoint with other heads and neurons left in each layer, gates on the heads, and a policy."""
    shipped, folder = ROOT / "baselines/bert-mini-sst2", tmp_path_factory.mktemp("removed")
    torch.manual_seed(2)
    model = store.load_model(shipped)
    model.add_gates()
    for gate in model.zeb.gate.values():
        torch.nn.init.normal_(gate.weight, std=0.2)
        torch.nn.init.constant_(gate.bias, 0.3)
    small = static.shrink(model, [torch.randperm(4)[:n].sort().values for n in (3, 1, 4, 2)],
                          [torch.randperm(1024)[:n].sort().values for n in (64, 1024, 320, 704)])
    store.save_model(folder, small, ("0", "1"), torch.float16)
    for name in ("vocab.txt", "tokenizer_config.json"):
        shutil.copyfile(shipped / name, folder / name)
    Policy("all", [LayerPolicy("ratio", 0.7, 0.01, True, 32, 0.3), LayerPolicy("topk", 9, 0.0, True),
                   LayerPolicy("relative", 0.5, 0.02, True), LayerPolicy()]).write(folder)
    return folder


def run_rows(zeb: Path, folder: Path, tmp: Path, *args) -> tuple[dict, np.ndarray]:
    """The stored row of a run over 60 sentences and their scores."""
    done = subprocess.run([zeb, "run", "--model", folder, "--task", "glue/sst2", "--data", ROOT / "suites/data",
                           "--limit", "60", "--scenario", "offline", "--max-time", "50ms", "--format", "jsonl", "--db",
                           tmp / "z.db", "--predictions", tmp / "p.jsonl", *args], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in (tmp / "p.jsonl").read_text().splitlines()]
    return json.loads(done.stdout), np.array([r["scores"] for r in sorted(found, key=lambda r: r["index"])])


@pytest.mark.parametrize("sparse", [False, True])
def test_removed_structure_equals_the_harness(removed, tmp_path, sparse):
    """Logits, and the work, which both tell against the model before anything was removed (zeb with every row in its
    last layer, and with all operations, not products alone: the less is left of these, the more the others weigh)."""
    zeb, data = program(), ROOT / "suites/data"
    if zeb is None or not (data / "glue/SST-2/dev.tsv").is_file():
        pytest.skip("no zeb program built (or named by $ZEB)")
    model = store.load_model(removed)
    how = policy.read(removed / "policy.json", removed) if sparse else policy.dense("none", 4)
    split = dataset.open_split(data, removed / "vocab.txt", "glue/sst2", "dev", torch.device("cpu"))
    split = dataset.Store(split.packed.take(np.arange(60)), split.device)
    row, got = run_rows(zeb, removed, tmp_path, "--device", "cpu", "--precision", "fp32",
                        *(["--policy", removed / "policy.json"] if sparse else []))
    want = dataset.predict(model, split, sparsity=Hard(model.config, how), precise=True)
    np.testing.assert_allclose(got, want, atol=1e-4)
    made = calibrate.cost(model, how, split, precise=True)["ratio"]
    assert made < (0.5 if sparse else 0.65)
    n = torch.from_numpy(split.packed.length).double()
    head, neuron = flops.units(model.config, n, n, False)
    every = float(flops.dense(model.config, n).sum() / (4 * (head * 4 + neuron * 1024)).sum())
    assert row["flops"]["executed"] / row["flops"]["dense"] == pytest.approx(made * every, rel=0.02 if sparse else 0.01)


@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_files_of_removed_structure_equal_the_harness(removed, tmp_path, weights):
    """Codes bit for bit, and they run."""
    zeb = program()
    if zeb is None or not (ROOT / "suites/data/glue/SST-2/dev.tsv").is_file():
        pytest.skip("no zeb program built (or named by $ZEB)")
    subprocess.run([zeb, "quantize", "--model", removed, "--weights", weights, "--out", tmp_path / "c"], check=True,
                   capture_output=True)
    state, how = store.load_tensors(removed), quantise.Format.of(weights)
    mine = quantise.shipped(state, {n: how for n, _ in quantise.matrices(store.load_model(removed))}, torch.float16)
    theirs = store.load_tensors(tmp_path / "c")
    assert mine.keys() == theirs.keys()
    for key, value in mine.items():
        assert value.dtype == theirs[key].dtype and torch.equal(value, theirs[key]), key
    assert store.load_model(tmp_path / "c").config.layer_ffn == [64, 1024, 320, 704]
    _, got = run_rows(zeb, tmp_path / "c", tmp_path, "--device", "cpu", "--precision",
                      {"int8": "w8a8", "int4": "w4a8"}[weights])
    _, want = run_rows(zeb, tmp_path / "c", tmp_path, "--device", "ref", "--precision",
                       {"int8": "w8a8", "int4": "w4a8"}[weights])
    np.testing.assert_allclose(got, want, atol=0.1)         # as far as rounded activations go on the whole model


def test_shared_words_open_in_the_harness(tmp_path):
    """Two checkpoints over one word table: zeb finds it, and hashes the shards as the policy's maker did."""
    zeb, shipped = program(), ROOT / "baselines/bert-mini-sst2"
    data = ROOT / "suites/data"
    if zeb is None or not (data / "glue/SST-2/dev.tsv").is_file():
        pytest.skip("no zeb program built (or named by $ZEB)")
    model, words = quantise.unwrap(store.load_model(shipped)), tmp_path / "words/words.safetensors"
    state = model.state_dict()
    for name, weights, precision in (("a", "keep", "fp32"), ("b", "int8", "w8a8")):
        out, formats = tmp_path / name, quantise.wanted(model, weights, "int8", weights)
        store.save_tensors(out, quantise.shipped(state, formats, torch.float16), words)
        for file in ("config.json", "vocab.txt", "tokenizer_config.json"):
            shutil.copyfile(shipped / file, out / file)
        Policy("none", [LayerPolicy()] * 4).write(out)
        done = subprocess.run([zeb, "run", "--model", out, "--policy", out / "policy.json", "--task", "glue/sst2",
                               "--data", data, "--device", "cpu", "--precision", precision, "--limit", "4",
                               "--max-time", "50ms", "--format", "jsonl", "--db", tmp_path / "z.db"],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["verdict"] == "ok"
        assert {p.name for p in out.glob("*.safetensors*")} == {"encoder.safetensors", store.INDEX}
        assert store.load_model(out).bert.embeddings.word_embeddings.weight.abs().sum() > 0


GPTQ = r"""
#include <stdio.h>
#include <stdlib.h>
#include "models/gptq.h"
int main(int argc, char **argv) {
    size_t n = (size_t)atol(argv[1]), k = (size_t)atol(argv[2]), group = (size_t)atol(argv[3]);
    double *h = malloc(4 * k * (k + 1)), *u = malloc(4 * k * (k + 1)), *w = malloc(8 * k);
    float *x = malloc(4 * k), *scratch = malloc(4 * k);
    unsigned char *packed = malloc(k);
    uint16_t *scale = malloc(2 * k);
    zeb_quantise_options options = {.range = ZEB_RANGE_ABSMAX};
    zeb_error error;
    (void)argc;
    if (fread(h, 4 * k, k + 1, stdin) != k + 1 || zeb_gptq_factor(h, k, u, &error) != ZEB_OK) return 1;
    for (size_t r = 0; r < n; r++) {
        if (fread(x, 4, k, stdin) != k) return 2;
        zeb_gptq_row4(x, k, group, u, &options, scratch, w, packed, scale);
        fwrite(packed, 1, k / 2, stdout);
        fwrite(scale, 2, k / group, stdout);
    }
    return 0;
}
"""


@pytest.mark.parametrize("group", [32, 64])
def test_gptq_equals_the_harness(tmp_path, group):
    """The same codes and scales from the same second moments, an input that is never there among them."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    (tmp_path / "g.c").write_text(GPTQ)
    models = ROOT / "harness/models"
    subprocess.run([compiler, "-std=c17", "-O1", "-ffp-contract=off", "-D_GNU_SOURCE", "-I", ROOT / "harness/include",
                    "-I", ROOT / "harness", tmp_path / "g.c", models / "gptq.c", models / "quantise_row.c", "-lm",
                    "-o", tmp_path / "g"], check=True)
    rng, n, k = np.random.default_rng(3), 48, 128
    x = rng.standard_normal((300, 20)) @ rng.standard_normal((20, k)) + 0.1 * rng.standard_normal((300, k))
    x[:, 5] = 0
    h = x.T @ x
    w = rng.standard_normal((n, k)).astype(np.float32)
    raw = subprocess.run([tmp_path / "g", str(n), str(k), str(group)], input=h[np.tril_indices(k)].tobytes() + w.tobytes(),
                         capture_output=True, check=True).stdout
    got = np.frombuffer(raw, np.uint8).reshape(n, k // 2 + 2 * k // group)
    q, scale = gptq.round_matrix(torch.from_numpy(w), torch.from_numpy(h), group)
    assert (got[:, k // 2:].copy().view(np.float16) == scale.numpy()).all()
    assert (got[:, :k // 2] == quantise.pack4(q).numpy()).all()
    assert (q != quantise.int4_groups(torch.from_numpy(w), group)[0]).float().mean() > 0.1
