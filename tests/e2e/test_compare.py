"""zeb compare: two nights in one database, and what the second has lost against the first."""
import contextlib
import hashlib
import json
import os
import pathlib
import pty
import shutil
import sqlite3
import struct
import subprocess
import tempfile
import unittest

from zeb_program import FAULTY, ProgramTest, ROOT, ZEB

TIMES = [1000000 + 500 * (i * 77 % 200) for i in range(200)]
MODEL = ROOT / "baselines/bert-mini-sst2"
NIGHT = ("run", "--device", "cpu,ref,null", "--threads", "1", "--limit", "16", "--max-time", "20ms", "--sensor", "none",
         "--plugin-dir", FAULTY)


class TwoNights(ProgramTest):
    """Every test gets a copy of a database with the same run twice: rows 1 to 3 (cpu, ref, null) and 4 to 6. All have the
    same samples, so that nothing depends on how fast this machine just is."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="zeb-e2e-")
        cls.addClassCleanup(folder.cleanup)
        cls.nights = pathlib.Path(folder.name)
        for night in ("a", "b"):
            subprocess.run([ZEB, *NIGHT, "--db", cls.nights / "rows.db", "--predictions", cls.nights / f"{night}.jsonl"],
                           capture_output=True, check=True, timeout=240)
        with contextlib.closing(sqlite3.connect(cls.nights / "rows.db")) as db, db:
            for row in range(1, 7):
                keep_times(db, row, TIMES)

    def setUp(self):
        super().setUp()
        for path in self.nights.iterdir():
            shutil.copy(path, self.folder)

    def edit(self, *statements):
        with contextlib.closing(sqlite3.connect(self.db)) as db, db:
            db.execute("PRAGMA foreign_keys = ON")
            for statement in statements:
                self.assertGreater(db.execute(statement).rowcount, 0, statement)

    def night(self, *words):
        """One more run, with the samples of the others."""
        self.zeb(*words, "--db", self.db, check=0)
        with contextlib.closing(sqlite3.connect(self.db)) as db, db:
            for row, in db.execute("SELECT id FROM row WHERE run_id = (SELECT max(id) FROM run)").fetchall():
                keep_times(db, row, TIMES)

    def scale(self, row, factor):
        """Makes all samples of a row so many times as long."""
        with contextlib.closing(sqlite3.connect(self.db)) as db, db:
            keep_times(db, row, [int(ns * factor) for ns in times(db, row)])

    def compare(self, *words, check):
        return self.zeb("compare", "--db", self.db, *words, check=check)

    def verdicts(self, *words, check):
        """The verdict of each device, and the whole answer."""
        said = json.loads(self.compare("--format", "json", *words, check=check).stdout)
        return {case["backend"]: case["verdict"] for case in said["cases"]}, said


def times(db, row):
    data, = db.execute("SELECT data FROM sample WHERE row_id = ? AND encoding = 'u64le'", (row,)).fetchone()
    return [ns for ns, in struct.iter_unpack("<Q", data)]


def keep_times(db, row, values):
    data = b"".join(struct.pack("<Q", ns) for ns in values)
    db.execute("UPDATE sample SET count = ?, data = ? WHERE row_id = ?", (len(values), data, row))
    db.execute("UPDATE row SET n = ?, latency_p50_ns = ? WHERE id = ?",
               (len(values), sorted(values)[len(values) // 2], row))


SAME = {"cpu": "same", "ref": "same", "null": "same"}


class Times(TwoNights):
    def test_two_like_nights_have_lost_nothing(self):
        before = hashlib.sha256(self.db.read_bytes()).digest()
        found, said = self.verdicts(check=0)
        self.assertEqual(found, SAME)
        self.assertEqual((said["run"], said["base"], said["expected_run"], said["losses"]), (2, None, 1, 0))
        for case in said["cases"]:
            self.assertEqual(case["latency"]["ratio"], 1)
            self.assertTrue(case["comparable"])
            self.assertEqual(case["score"]["trend"], "same")
            self.assertEqual((case["then"]["run"], case["now"]["run"]), (1, 2))
            self.assertIsNone(case["now"]["uj_per_query"])
        self.assertEqual(hashlib.sha256(self.db.read_bytes()).digest(), before)

    def test_a_slower_case_is_found(self):
        self.scale(4, 1.3)
        found, said = self.verdicts(check=1)
        self.assertEqual(found, {**SAME, "cpu": "slower"})
        self.assertEqual((said["losses"], said["verdicts"]["slower"]), (1, 1))
        latency = said["cases"][0]["latency"]
        self.assertAlmostEqual(latency["ratio"], 1.3, delta=0.01)
        self.assertTrue(latency["lo"] <= latency["ratio"] <= latency["hi"])
        self.assertTrue(latency["p"] <= latency["p_holm"])
        text = self.compare(check=1).stdout
        self.assertIn("1 slower, 2 same", text)
        self.assertNotIn("\033", text)

    def test_samples_decide_and_not_medians_alone(self):
        self.edit("UPDATE sample SET count = 3, data = substr(data, 1, 24) WHERE row_id IN (1, 4)")
        self.scale(4, 3)
        self.assertEqual(self.verdicts(check=0)[0], SAME)  # with three samples p is at least 0.1

    def test_a_tolerance_can_be_given(self):
        self.scale(4, 1.3)
        self.assertEqual(self.verdicts("--tolerance", "50%", check=0)[0], SAME)
        self.compare("--tolerance", "150%", check=2)

    def test_faster_is_no_loss(self):
        self.scale(4, 0.5)
        self.assertEqual(self.verdicts(check=0)[0], {**SAME, "cpu": "faster"})

    def test_a_histogram_is_compared_as_one(self):
        with contextlib.closing(sqlite3.connect(self.db)) as db, db:
            values = sorted(int(ns * 1.3) for ns in times(db, 4))
            data = b"".join(struct.pack("<3Q", ns, ns + max(1, ns // 128), 2000) for ns in sorted(set(values)))
            db.execute("UPDATE sample SET encoding = 'histogram', count = ?, data = ? WHERE row_id = 4",
                       (2000 * len(set(values)), data))
        found, said = self.verdicts(check=1)
        self.assertEqual(found, {**SAME, "cpu": "slower"})
        self.assertTrue(said["cases"][0]["latency"]["histogram"])
        self.assertIn("a histogram is kept", self.compare(check=1).stdout)

    def test_the_newest_earlier_row_counts(self):
        self.scale(1, 0.5)
        self.night(*NIGHT)
        found, said = self.verdicts(check=0)
        self.assertEqual((said["run"], found), (3, SAME))
        self.assertEqual(self.verdicts("--base", "1", check=1)[0], {**SAME, "cpu": "slower"})  # the drift of two nights
        self.assertEqual(self.verdicts("--run", "2", check=1)[0], {**SAME, "cpu": "slower"})


class Losses(TwoNights):
    def test_a_spoilt_model_is_a_lost_case(self):
        model = self.folder / "model"
        shutil.copytree(MODEL, model)
        shutil.copytree(MODEL.parent / "bert-mini-words", self.folder / "bert-mini-words")
        self.run_cases("cpu", "--model", model, "--limit", "4", "--max-time", "1ms")
        weights = model / "encoder.safetensors"
        os.truncate(weights, weights.stat().st_size // 2)
        for _ in range(2):  # still lost the night after
            self.run_cases("cpu", "--model", model, "--limit", "4", "--max-time", "1ms", check=3)
            found, said = self.verdicts(check=1)
            self.assertEqual(found, {"cpu": "lost"})
            self.assertEqual(said["cases"][0]["then"]["row"], 7)
            self.assertEqual(said["cases"][0]["now"]["verdict"], "failed")
        self.assertIn("ok -> failed: ", self.compare(check=1).stdout)

    def test_a_crash_is_a_lost_case(self):
        self.edit("UPDATE row SET verdict = 'crashed', reason = 'died', device = NULL, n = 0, latency_p50_ns = NULL "
                  "WHERE id = 4")
        found, said = self.verdicts(check=1)
        self.assertEqual(found, {**SAME, "cpu": "lost"})
        self.assertEqual(said["cases"][0]["device"], "0")

    def test_what_never_was_ok_is_not_lost(self):
        self.edit("UPDATE row SET verdict = 'unsupported', reason = 'no', n = 0, latency_p50_ns = NULL "
                  "WHERE id IN (1, 4)")
        self.assertEqual(self.verdicts(check=0)[0], {**SAME, "cpu": "never-ok"})

    def test_a_device_that_is_gone_is_missing(self):
        self.edit("DELETE FROM row WHERE id = 5")
        found, said = self.verdicts(check=1)
        self.assertEqual(found, {**SAME, "ref": "missing"})
        self.assertIsNone(said["cases"][-1]["now"])
        self.assertIn("missing: it was ok in run 1", self.compare(check=1).stdout)

    def test_what_is_missing_stays_so_for_a_week(self):
        for night in range(8):
            self.night(*NIGHT)
            self.edit("DELETE FROM row WHERE backend = 'ref' AND run_id = (SELECT max(id) FROM run)")
            found, _ = self.verdicts(check=1 if night < 7 else 0)
            self.assertEqual(found.get("ref"), "missing" if night < 7 else None, night)

    def test_a_checkout_that_has_moved_is_the_same(self):
        data = self.folder / "data"
        shutil.copytree(ROOT / "suites/data", data)
        words = ("--limit", "4", "--max-time", "1ms", "--data")
        self.run_cases("null", *words, data)
        data.rename(self.folder / "elsewhere")
        self.run_cases("null:0", *words, self.folder / "elsewhere")
        with contextlib.closing(sqlite3.connect(self.db)) as db, db:
            for row in (7, 8):
                keep_times(db, row, TIMES)
        self.assertEqual(self.verdicts(check=0)[0], {"null": "same"})

    def test_a_run_that_was_killed_before_its_first_row_misses_all(self):
        self.edit("DELETE FROM row WHERE run_id = 2", "UPDATE run SET finished_utc = NULL, exit_code = NULL WHERE id = 2")
        done = self.compare("--format", "json", check=1)
        self.assertEqual(json.loads(done.stdout)["verdicts"]["missing"], 3)
        self.assertIn("run 2 has not ended", done.stderr)

    def test_a_run_that_was_stopped_is_nobodys_measure(self):
        """The night after misses what the last whole night had, not what the stopped one had."""
        self.night(*NIGHT)
        self.edit("DELETE FROM row WHERE id IN (5, 8)",
                  "UPDATE row SET verdict = 'interrupted', reason = 'stopped by the user' WHERE id = 4")
        for stop, then in (("UPDATE run SET exit_code = 1 WHERE id = 2", 1),
                           ("UPDATE run SET finished_utc = NULL, exit_code = NULL WHERE id = 2", 4)):
            self.edit(stop)
            found, said = self.verdicts(check=1)
            self.assertEqual((said["run"], said["expected_run"], found["ref"]), (3, 1, "missing"))
            self.assertEqual(said["cases"][0]["then"]["row"], then)
            self.edit("UPDATE row SET verdict = 'ok', reason = NULL WHERE id = 4")

    def test_other_hosts_are_other_cases(self):
        self.edit("UPDATE run SET host = 'elsewhere' WHERE id = 1")
        done = self.compare("--format", "json", check=3)
        said = json.loads(done.stdout)
        self.assertEqual((said["verdicts"]["new"], said["expected_run"]), (3, None))
        found, said = self.verdicts("--base", "1", check=0)
        self.assertEqual(found, SAME)
        self.assertIn("host", [change["what"] for change in said["cases"][0]["changed"]])

    def test_another_command_misses_nothing(self):
        self.night(*NIGHT[:2], "null", *NIGHT[3:])
        found, said = self.verdicts(check=0)
        self.assertEqual((list(found), said["expected_run"]), (["null"], None))
        self.assertEqual(self.verdicts("--base", "2", check=1)[0],
                         {"null": found["null"], "cpu": "missing", "ref": "missing"})

    def test_one_word_more_is_another_command(self):
        self.night(*NIGHT, "--seed", "2")
        self.edit("DELETE FROM row WHERE id = 8")
        _, said = self.verdicts(check=0)
        self.assertEqual((said["run"], said["expected_run"], len(said["cases"])), (3, None, 2))
        self.edit("UPDATE run SET argv = '[\"an embedding program\"]' WHERE id = 3")
        self.assertEqual(self.verdicts(check=0)[1]["run"], 3)

    def test_other_settings_are_another_case(self):
        self.run_cases("null", "--limit", "8", "--max-time", "1ms")
        done = self.compare(check=3)
        self.assertIn("1 new", done.stdout)
        self.assertIn("nothing to compare", done.stderr)


class Scores(TwoNights):
    def lower(self, right, of=16):
        """Gives the cpu's second row an accuracy, with Wilson's interval."""
        z, p = 1.959963984540054, right / of
        middle, half = p + z * z / (2 * of), z * (p * (1 - p) / of + z * z / (4 * of * of)) ** 0.5
        lo, hi = (middle - half) / (1 + z * z / of), (middle + half) / (1 + z * z / of)
        self.edit(f"UPDATE metric SET value = {p}, lo = {max(0, lo)}, hi = {hi} WHERE row_id = 4 AND position = 0")

    def test_a_worse_score_is_found(self):
        self.lower(4)
        found, said = self.verdicts(check=1)
        self.assertEqual(found, {**SAME, "cpu": "worse"})
        self.assertEqual(said["cases"][0]["score"]["test"], "two-proportions")

    def test_a_score_that_only_moved_is_said(self):
        value, = self.stored("SELECT value FROM metric WHERE row_id = 1 AND position = 0")[0]
        self.lower(round(value * 16) - 1)
        self.assertEqual(self.verdicts(check=0)[0], SAME)
        self.assertIn("the score moved by -6.25 points", self.compare(check=0).stdout)

    def test_answers_are_compared_one_by_one(self):
        """Nine answers of sixteen fewer: not enough for two proportions, enough for the same questions."""
        lines = [json.loads(line) for line in (self.folder / "b.jsonl").read_text().splitlines()]
        mine = [line for line in lines if line["device"] == "cpu"]
        right = [line for line in mine if line["label"] == line["prediction"]]
        for line in right[:9]:
            line["prediction"] = 1 - line["prediction"]
        (self.folder / "b.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        self.lower(len(right) - 9, len(mine))
        found, said = self.verdicts("--predictions", "b.jsonl", "--base-predictions", "a.jsonl", check=1)
        self.assertEqual(found, {**SAME, "cpu": "worse"})
        score = said["cases"][0]["score"]
        self.assertEqual((score["test"], score["became_right"], score["became_wrong"]), ("mcnemar", 0, 9))
        self.assertEqual(said["cases"][1]["score"]["became_wrong"], 0)
        done = self.compare("--predictions", "a.jsonl", "--base-predictions", "a.jsonl", check=None)
        self.assertIn("a.jsonl: not the score of bert-mini-sst2", done.stderr)
        self.compare("--predictions", "b.jsonl", check=2)
        self.compare("--predictions", "b.jsonl", "--base-predictions", "none.jsonl", check=3)
        self.compare("--predictions", "b.jsonl", "--base-predictions", MODEL / "config.json", check=3)

    def test_other_data_is_not_compared(self):
        self.scale(4, 3)
        self.edit(f"UPDATE row SET data_hash = '{'0' * 64}' WHERE id = 4")
        found, said = self.verdicts(check=1)
        self.assertEqual(found, {**SAME, "cpu": "differs"})
        self.assertEqual(said["cases"][0]["latency"]["trend"], "unknown")
        self.assertIn("not comparable: data differs", self.compare(check=1).stdout)


class Output(TwoNights):
    def test_what_may_explain_a_change_is_said(self):
        self.edit("UPDATE row SET driver = 'new driver' WHERE id = 4", "UPDATE run SET kernel = 'new kernel' WHERE id = 2",
                  "INSERT INTO flag VALUES (4, 9, 'steal-time')")
        _, said = self.verdicts(check=0)
        self.assertEqual([change["what"] for change in said["cases"][0]["changed"]], ["driver", "kernel"])
        self.assertEqual([change["now"] for change in said["cases"][1]["changed"]], ["new kernel"])
        text = self.compare(check=0).stdout
        self.assertRegex(text, r"all cases: changed since: kernel .* -> new kernel\n")
        self.assertRegex(text, r"glue/sst2, cpu x1: changed since: driver .* -> new driver\n")
        self.assertRegex(text, r"cpu x1: disturbed while it was measured now: .*steal-time")

    def test_energy_is_compared_where_it_was_measured(self):
        for row, kind in ((1, "measured"), (4, "measured"), (2, "estimated"), (5, "measured")):
            self.edit(f"UPDATE energy SET known = 1, valid = 1, kind = '{kind}', source = 's', reason = NULL, "
                      f"gross_uj = {row}000, examples = 2 WHERE row_id = {row}")
        _, said = self.verdicts(check=0)
        self.assertEqual([(case["then"]["uj_per_query"], case["now"]["uj_per_query"]) for case in said["cases"][:2]],
                         [(500, 2000), (None, 2500)])
        self.assertIn("500 uJ -> 2.00 mJ", self.compare(check=0).stdout)

    def test_markdown(self):
        self.scale(4, 1.3)
        lines = self.compare("--format", "md", check=1).stdout.splitlines()
        table = [line for line in lines if line.startswith("|")]
        self.assertEqual(len(table), 5)
        self.assertEqual({line.replace("\\|", "").count("|") for line in table}, {15})
        self.assertTrue(table[2].startswith("| slower | bert-mini-sst2 | glue/sst2 | cpu x1 |"))
        self.assertEqual(lines[-1], "1 slower, 2 same")

    def test_colours_are_for_terminals(self):
        self.scale(4, 1.3)
        ours, theirs = pty.openpty()
        done = subprocess.run([ZEB, "compare", "--db", self.db], stdout=theirs, stderr=subprocess.DEVNULL, timeout=60,
                              env={key: value for key, value in os.environ.items() if key != "NO_COLOR"}, check=False)
        os.close(theirs)
        text = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while part := os.read(ours, 65536):
                text += part
        os.close(ours)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"\033[31mslower\033[0m", text)

    def test_full_disk(self):
        with open("/dev/full", "w") as full:
            for form in ("table", "md", "json"):
                done = subprocess.run([ZEB, "compare", "--db", self.db, "--format", form], stdout=full,
                                      stderr=subprocess.PIPE, timeout=60, check=False)
                self.assertEqual(done.returncode, 3, form)


class Refusals(ProgramTest):
    def refuse(self, needle, *words, check):
        done = self.zeb("compare", "--db", self.db, *words, check=check)
        self.assertIn(needle, done.stderr)
        self.assertEqual(done.stdout, "")

    def test_no_database(self):
        self.refuse("no such database", check=3)
        self.assertFalse(self.db.exists())
        self.db.write_bytes(b"")
        self.refuse("is empty", check=3)
        foreign = b"not a database at all\n" * 100
        self.db.write_bytes(foreign)
        self.refuse("not a database of zeb", check=3)
        self.assertEqual(self.db.read_bytes(), foreign)

    def test_nothing_ran_yet(self):
        self.zeb("db", "import", MODEL / "emissions.csv", "--db", self.db, check=0)
        self.refuse("no run of cases", check=3)
        self.refuse("no run of cases", "--run", "1", check=3)

    def test_runs_that_are_none(self):
        self.run_cases("null", "--limit", "4", "--max-time", "1ms")
        self.zeb("roofline", "--db", self.db, "--threads", "1", check=0)
        self.refuse("--run 7: no such run; the database has runs 1 to 2", "--run", "7", check=2)
        self.refuse("--base 7: no such run", "--base", "7", check=2)
        self.refuse("--base 1 is the run itself", "--run", "1", "--base", "1", check=2)
        self.refuse("--run 2: that was 'zeb roofline'", "--run", "2", check=2)
        done = self.zeb("compare", "--db", self.db, check=3)  # the roofline is not the newest run of cases
        self.assertIn("none of the cases of run 1", done.stderr)


if __name__ == "__main__":
    unittest.main()
