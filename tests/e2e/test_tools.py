"""The tools beside zeb run: calibrate, roofline."""
import hashlib
import json
import os
import signal
import subprocess
import time
import unittest

from zeb_program import ProgramTest, ROOT, ZEB

DEV = ROOT / "suites/data/glue/SST-2/dev.tsv"
MODEL = ROOT / "baselines/bert-mini-sst2/model.safetensors"


def in_slice(sentence, share):
    digest = hashlib.sha256(f"zeb-calib-1\0{sentence}\t".encode()).digest()
    return int.from_bytes(digest[:4], "big") < int(share * 2**32)


class Calibrate(ProgramTest):
    """On sentences of the dev file that ships, put under the name of train in a folder of the test's own."""

    def setUp(self):
        super().setUp()
        self.data = self.folder / "data"
        (self.data / "SST-2").mkdir(parents=True)
        self.train = self.data / "SST-2" / "train.tsv"
        self.train.write_bytes(DEV.read_bytes())
        self.out = self.folder / "policy.json"

    def calibrate(self, *words, check=0):
        return self.zeb("calibrate", "--data", self.data, "--out", self.out, "--share", "30%", "--limit", "48",
                        "--format", "json", *words, check=check)

    def refuse(self, needle, *words, check):
        done = self.calibrate(*words, check=check)
        self.assertIn(needle, done.stderr)
        self.assertEqual(list(self.folder.glob("policy.json*")), [])

    def test_a_wanted_share_is_reached(self):
        for mode in ("threshold", "topk", "ratio"):
            said = json.loads(self.calibrate("--mode", mode, "--flops", "60%", "--floor", "3").stdout)
            policy = json.loads(self.out.read_text())
            self.assertAlmostEqual(said["flops"], 0.6, delta=0.006, msg=mode)
            self.assertEqual(policy["schema"], "zeb-policy-1")
            self.assertEqual(policy["floor"], 3)
            self.assertEqual(policy["model_sha256"], hashlib.sha256(MODEL.read_bytes()).hexdigest())
            self.assertEqual([layer["tokens"] and layer["tokens"]["mode"] for layer in policy["layers"]],
                             [mode] * 3 + [None])
            origin = policy["provenance"]
            self.assertEqual(origin["data_sha256"], hashlib.sha256(self.train.read_bytes()).hexdigest())
            self.assertAlmostEqual(origin["flops"]["share"], said["flops"], places=6)
            self.assertEqual(origin["slice"]["examples"], 48)
            self.assertTrue(origin["reached"])
            self.assertEqual(origin["kept"], sorted(origin["kept"], reverse=True))

    def test_the_policy_runs_and_skips(self):
        self.calibrate("--flops", "0.5")
        dense, _ = self.run_cases("cpu", "--limit", "64", "--max-time", "100ms")
        sparse, _ = self.run_cases("cpu", "--limit", "64", "--max-time", "100ms", "--policy", self.out)
        self.assertEqual(sparse[0]["verdict"], "ok", sparse[0]["reason"])
        share = sparse[0]["flops"]["executed"] / dense[0]["flops"]["executed"]
        self.assertTrue(0.4 < share < 0.6, share)

    def test_the_slice_is_that_of_training(self):
        sentences = [line.split("\t")[0] for line in self.train.read_text().splitlines()[1:]]
        wanted = sum(in_slice(sentence, 0.05) for sentence in sentences)
        self.calibrate("--share", "5%", "--limit", "0", "--shape", "even", "--flops", "0.7")
        self.assertEqual(json.loads(self.out.read_text())["provenance"]["slice"]["examples"], wanted)

    def test_twice_gives_the_same(self):
        said = [self.calibrate("--shape", "even").stdout for _ in range(2)]
        self.assertEqual(said[0], said[1])

    def test_devices_agree(self):
        value = {}
        for device in ("ref", "cpu"):
            self.calibrate("--shape", "even", "--limit", "12", "--flops", "0.6", "--device", device)
            layers = json.loads(self.out.read_text())["layers"]
            value[device] = [layer["tokens"]["value"] for layer in layers[:-1]]
        for a, b in zip(value["ref"], value["cpu"]):
            self.assertAlmostEqual(a, b, delta=1e-5)

    def test_a_budget_is_kept(self):
        said = json.loads(self.calibrate("--max-drop", "5%").stdout)
        self.assertGreaterEqual(said["sparse"], said["dense"] - 0.05)
        self.assertLess(said["flops"], 1)

    def test_splits_that_are_scored_are_refused(self):
        for split in ("dev", "test"):
            self.refuse("train alone", "--split", split, check=2)

    def test_dev_under_the_name_of_train_is_refused(self):
        (self.data / "SST-2" / "dev.tsv").write_bytes(DEV.read_bytes())
        self.refuse("not train", check=2)

    def test_bad_goals(self):
        self.refuse("out of reach", "--flops", "1%", check=3)
        self.refuse("--flops", "--flops", "100%", check=2)
        self.refuse("two goals", "--flops", "0.5", "--max-drop", "1%", check=2)
        self.refuse("--floor", "--floor", "0", check=2)
        self.refuse("too few", "--share", "0.1%", check=3)
        self.refuse("seq-max", "--seq-max", "100000", check=2)

    def test_a_device_that_selects_nothing(self):
        self.refuse("layer.0.attention", "--device", "faulty-refuse", "--plugin-dir", os.environ["ZEB_FAULTY"],
                    check=3)

    def test_a_folder_that_cannot_be_written(self):
        done = self.zeb("calibrate", "--data", self.data, "--share", "30%", "--limit", "12", "--shape", "even",
                        "--out", self.folder / "nowhere" / "policy.json", check=3)
        self.assertIn("nowhere", done.stderr)

    def test_an_interrupt_leaves_nothing(self):
        work = subprocess.Popen([ZEB, "calibrate", "--device", "ref", "--data", self.data, "--share", "100%", "--limit",
                                 "0", "--out", self.out], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(1)
        work.send_signal(signal.SIGINT)
        _, said = work.communicate(timeout=60)
        self.assertNotEqual(work.returncode, 0)
        self.assertIn("no policy was written", said)
        self.assertEqual(list(self.folder.glob("policy.json*")), [])


class Roofline(ProgramTest):
    def test_peaks_are_stored_and_later_rows_bounded(self):
        self.run_cases("cpu", "--limit", "8", "--max-time", "50ms", "--threads", "1")
        said = json.loads(self.zeb("roofline", "--threads", "1", "--db", self.db, "--format", "json", check=0).stdout)
        peaks = {peak["name"]: peak for peak in said}
        self.assertEqual({peak["threads"] for peak in said}, {1})
        if os.uname().machine in ("x86_64", "aarch64"):
            self.assertIn("fp32", peaks)
        for peak in said:
            self.assertTrue(0 < peak["median_per_second"] <= peak["per_second"], peak)
            self.assertEqual(peak["working_set_bytes"] is None, peak["kind"] == "operations")
        stored = self.stored("SELECT name, per_second FROM peak ORDER BY id")
        self.assertEqual([name for name, _ in stored], [peak["name"] for peak in said])
        (before,) = self.stored("SELECT bound_share, bound_by, bound_flops_per_s FROM row")
        self.assertEqual(before, (None, None, None))
        (row,), _ = self.run_cases("cpu", "--limit", "8", "--max-time", "50ms", "--threads", "1")
        slope = row["flops"]["executed"] / row["bytes"]["executed"]
        roofs = {peak["name"]: peak["per_second"] * (1 if peak["kind"] == "operations" else slope)
                 for peak in said if peak["kind"] == "bytes" or peak["name"] == "fp32"}
        self.assertAlmostEqual(row["bound_flops_per_s"] / roofs[row["bound_by"]], 1, delta=1e-6)
        self.assertLessEqual(row["bound_flops_per_s"], roofs["fp32"] * 1.000001)
        reached = row["flops"]["executed"] / row["examples"] * row["throughput_per_s"]
        self.assertAlmostEqual(row["bound_share"], reached / row["bound_flops_per_s"], delta=1e-6)
        (other,), _ = self.run_cases("ref", "--limit", "2", "--max-time", "50ms")
        self.assertIsNone(other["bound_share"])

    def test_a_device_that_does_not_measure(self):
        done = self.zeb("roofline", "--device", "ref", "--db", self.db, check=3)
        self.assertIn("does not measure peaks", done.stderr)
        self.assertFalse(self.db.exists())
        self.assertIn("nothing", self.zeb("roofline", "--device", "nothing", "--db", self.db, check=3).stderr)

    def test_a_device_that_takes_too_long(self):
        done = self.zeb("roofline", "--timeout", "1ms", "--db", self.db, check=3)
        self.assertIn("--timeout", done.stderr)
        self.assertFalse(self.db.exists())


if __name__ == "__main__":
    unittest.main()
