"""A case fitted to its device by a cost table: what zeb explain shows, and what zeb run then does and says."""
import hashlib
import json
import sqlite3
import unittest

from zeb_program import ProgramTest


class Tuning(ProgramTest):
    """Decisions from cost tables that the test has written: what they say is not so, but it is the same everywhere."""

    WORDS = ["--device", "cpu", "--threads", "1", "--seq-max", "24", "--limit", "6"]

    def policy(self, *tokens):
        layers = [{"tokens": one, "score_threshold": 0, "heads": None, "ffn": None} for one in tokens]
        path = self.folder / "policy.json"
        path.write_text(json.dumps({"schema": "zeb-policy-1", "name": "p", "floor": 2, "layers": layers}))
        return path

    def make_table(self, *words):
        return self.zeb("explain", "--db", self.db, "--format", "json", *self.WORDS, *words, check=0)

    def rewrite(self, change):
        """change(signature, rows) gives the new ns; digests are made to fit."""
        with sqlite3.connect(self.db) as db:
            for key, print_, signature, rows in db.execute("SELECT id, fingerprint, signature, rows FROM timing").fetchall():
                ns = float(change(signature, rows))
                text = f"{print_}\n{signature}\n{rows}\n{'%.17g' % ns}"
                db.execute("UPDATE timing SET ns = ?, digest = ? WHERE id = ?",
                           (ns, hashlib.sha256(text.encode()).hexdigest()[:16], key))

    def run_tuned(self, *words, check=0):
        (row,), _ = self.run_cases("cpu", *self.WORDS[2:], "--max-time", "20ms", *words, check=check)
        return row

    def note(self):
        return self.stored("SELECT note FROM settings WHERE which = 'effective' ORDER BY row_id DESC")[0][0]

    def test_precision_a_layer(self):
        self.make_table("--precision", "auto")
        order = {"fp32": 300, "bf16": 100, "w8a8": 200}
        self.rewrite(lambda signature, rows: 10 + rows * order.get((signature + " -").split(" ")[1], 1))
        row = self.run_tuned("--precision", "auto")
        self.assertEqual(row["precision"], "auto")
        self.assertRegex(self.note(), r"costs=[0-9a-f]{12} precisions=bf16:28$")
        bf16 = self.run_tuned("--precision", "bf16")
        self.assertEqual(row["metric"], bf16["metric"])
        self.assertEqual(self.stored("SELECT precision FROM settings WHERE which = 'effective' ORDER BY row_id"),
                         [("bf16",), ("bf16",)])
        self.rewrite(lambda signature, rows: 100 if "1024x256" in signature and "fp32" in signature else 200)
        row = self.run_tuned("--precision", "auto")
        self.assertIn("precisions=fp32:28", self.note())  # the others are not faster, so the most accurate stays
        self.rewrite(lambda signature, rows: 100 if "1024x256" in signature and "w8a8" in signature else 200)
        self.run_tuned("--precision", "auto")
        self.assertIn("precisions=fp32:24,w8a8:4", self.note())

    def test_a_policy_says_what_it_bears(self):
        policy = self.policy(None, None, None, None)
        said = json.loads(policy.read_text())
        policy.write_text(json.dumps({**said, "precisions": ["w8a8", "fp32"]}))
        self.make_table("--precision", "auto", "--policy", policy)
        self.assertEqual(self.stored("SELECT count(*) FROM timing WHERE signature LIKE '%bf16 f32%'"), [(0,)])
        self.rewrite(lambda signature, rows: 100 if "w8a8" in signature else 200)
        self.run_tuned("--precision", "auto", "--policy", policy)
        self.assertIn("precisions=w8a8:28", self.note())

    def test_selections_that_do_not_pay(self):
        half = {"mode": "ratio", "value": 0.5}
        policy = self.policy(half, half, half, None)
        self.make_table("--tune", "--policy", policy)
        self.rewrite(lambda signature, rows: 1000 if "keeps" in signature else 10)
        row = self.run_tuned("--tune", "--policy", policy)
        self.assertIn("dropped=0,1,2", self.note())
        self.assertEqual([layer["tokens_kept"] == layer["tokens_in"] for layer in row["kept"]], [True] * 4)
        self.rewrite(lambda signature, rows: 10 * rows)
        self.run_tuned("--tune", "--policy", policy)
        self.assertIn("dropped=none ", self.note())

    def test_rows_that_cost_nothing(self):
        policy = self.policy({"mode": "topk", "value": 5}, None, None, None)
        self.make_table("--tune", "--policy", policy)
        self.rewrite(lambda signature, rows: 100 * ((rows + 7) // 8) + (1e-3 * rows))  # tiles of eight rows
        row = self.run_tuned("--tune", "--policy", policy)
        self.assertIn("raised=0:5>8", self.note())
        self.assertEqual(row["kept"][0]["tokens_kept"], 8.0 * 6)
        row = self.run_tuned("--tune", "--policy", policy, "--scenario", "offline", "--batch", "2")
        self.assertIn("raised=none", self.note())
        self.assertEqual(row["policy"], "p")

    def test_choices_of_the_device(self):
        self.make_table("--tune")
        self.rewrite(lambda signature, rows: 96 if (signature, rows) == ("choice block-rows", 48) else 100)
        self.run_tuned("--tune")
        self.assertRegex(self.note(), r"choices=block-rows:48$")
        said = json.loads(self.make_table("--tune").stdout)
        self.assertEqual([c["ns"] for c in said["choices"] if (c["name"], c["value"]) == ("block-rows", 48)], [96])
        self.assertIn("choices=block-rows:48", said["effective"]["note"])
        self.assertEqual(said["costs"]["measured"], 0)
        with sqlite3.connect(self.db) as db:  # a spoilt line: all choices are tried again, side by side
            db.execute("UPDATE timing SET ns = 1 WHERE signature = 'choice block-rows' AND rows = 96")
        self.assertIn("choice block-rows", self.run_tuned("--tune", check=3)["reason"])
        done = self.make_table("--tune")
        self.assertIn("1 timings are not as they were written", done.stderr)
        self.assertEqual(json.loads(done.stdout)["costs"]["measured"], len(said["choices"]))
        self.run_tuned("--tune")
        self.assertIn(" choices=", self.note())

    def test_without_a_table(self):
        row = self.run_tuned("--precision", "auto", check=3)
        self.assertEqual(row["verdict"], "failed")
        self.assertIn("zeb explain", row["reason"])
        self.assertEqual(self.stored("SELECT count(*) FROM timing"), [(0,)])
        done = self.zeb("explain", "--precision", "auto", "--no-predict", "--db", self.db, check=2)
        self.assertIn("--no-predict", done.stderr)


if __name__ == "__main__":
    unittest.main()
