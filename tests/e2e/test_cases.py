"""Cases from start to row: what is measured, and what becomes of a plugin that goes wrong."""
import array
import contextlib
import csv
import json
import os
import pathlib
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import unittest

from zeb_program import FAULTY, ProgramTest, ROOT, SANITIZED, ZEB

CONTRACT = ["schema", "verdict", "reason", "model", "task", "backend", "device", "precision", "policy", "scenario",
            "threads", "n", "metric", "metrics", "latency_ns", "throughput_per_s", "flops", "peak_rss_bytes", "energy",
            "co2_ug", "flags"]


class Rows(ProgramTest):
    def test_a_row_keeps_the_contract(self):
        (row,), _ = self.run_cases("ref", "--limit", "8", "--max-time", "1s")
        for key in CONTRACT:
            self.assertIn(key, row)
        self.assertEqual(row["verdict"], "ok")
        self.assertEqual(row["metric"]["name"], "accuracy")
        self.assertTrue(0 <= row["metric"]["lo"] <= row["metric"]["value"] <= row["metric"]["hi"] <= 1)
        self.assertTrue(0 < row["latency_ns"]["p50"] <= row["latency_ns"]["p90"] <= row["latency_ns"]["p99"])
        self.assertIsNone(row["energy"]["gross_uj"])
        self.assertIsNone(row["co2_ug"])
        self.assertLess(row["flops"]["executed"], row["flops"]["dense"])  # the last layer computes [CLS] alone
        self.assertGreater(row["peak_rss_bytes"], 1 << 20)

    def test_devices_agree_on_predictions(self):
        scores = {}
        for device in ("ref", "cpu", "opencl"):
            out = self.folder / f"{device}.jsonl"
            for scenario in ("single", "offline"):
                rows, _ = self.run_cases(device, "--limit", "24", "--max-time", "100ms", "--scenario", scenario,
                                         "--predictions", out, "--batch", "7")
                self.assertEqual(rows[0]["verdict"], "ok", rows[0]["reason"])
                lines = [json.loads(line) for line in out.read_text().splitlines()]
                self.assertEqual([line["index"] for line in lines], list(range(24)))
                scores[device, scenario] = [line["scores"] for line in lines]
        truth = scores["ref", "single"]
        for key, found in scores.items():
            for a, b in zip(truth, found):
                for x, y in zip(a, b):
                    self.assertAlmostEqual(x, y, delta=2e-4, msg=str(key))

    def test_all_means_every_device_that_computes(self):
        rows, _ = self.run_cases("all", "--limit", "2", "--max-time", "10ms")
        backends = {row["backend"] for row in rows}
        self.assertTrue({"cpu", "ref"} <= backends)
        self.assertFalse(backends & {"null", "template"})

    @unittest.skipIf(SANITIZED, "too slow; the release build runs it")
    def test_the_default_model_is_as_good_as_its_card(self):
        (row,), _ = self.run_cases("cpu", "--max-time", "1s", "--scenario", "offline")
        card = json.loads((ROOT / "baselines/bert-mini-sst2/card.json").read_text())
        self.assertEqual(row["n"] > 0, True)
        self.assertAlmostEqual(row["metric"]["value"], card["dev"]["metrics"]["accuracy"], delta=0.0024)

    def test_what_ships_is_small(self):
        files = [path for path in (ROOT / "baselines").rglob("*") if path.is_file() and not path.is_symlink()]
        self.assertLessEqual(sum(path.stat().st_size for path in files), 60_000_000)

    def test_an_estimate_is_marked(self):
        (row,), _ = self.run_cases("cpu", "--limit", "8", "--max-time", "100ms", "--tdp", "65", "--country", "FRA")
        self.assertEqual(row["energy"]["kind"], "estimated")
        self.assertGreater(row["energy"]["gross_uj"], 0)
        self.assertIn("energy-estimated", row["flags"])
        self.assertGreater(row["co2_ug"], 0)

    def test_a_region_is_not_its_country(self):
        """Quebec's water is a fifth of Canada's mean."""
        words = ("--limit", "2", "--max-time", "1ms", "--tdp", "65", "--country", "CAN")
        (mean,), _ = self.run_cases("cpu", *words)
        (part,), _ = self.run_cases("cpu", *words, "--region", "Quebec")
        (known,), _ = self.run_cases("cpu", *words, "--region", "Quebec", "--carbon", "7")
        self.assertEqual([row["carbon"]["place"] for row in (mean, part, known)], ["CAN", "CAN/quebec", None])
        self.assertAlmostEqual(part["carbon"]["intensity_g_per_kwh"], 31.234, delta=0.001)
        self.assertIn("provincial generation mixes", part["carbon"]["source"])
        self.assertEqual((mean["carbon"]["intensity_g_per_kwh"], known["carbon"]["intensity_g_per_kwh"]), (170.043, 7))
        for row in (mean, part, known):
            grams = row["energy"]["gross_uj"] / 3.6e12 * row["carbon"]["intensity_g_per_kwh"]
            self.assertAlmostEqual(row["co2_ug"] / 1e6, grams, delta=grams * 1e-3 + 1e-6)

    def test_a_crowded_processor_is_said(self):
        """Two threads asked for on one processor, which another program keeps busy."""
        one = lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        hog = subprocess.Popen([sys.executable, "-c", "while True: pass"], preexec_fn=one)
        try:
            done = self.zeb("run", "--device", "cpu", "--threads", "2", "--limit", "8", "--max-time", "600ms", "--db", self.db,
                            "--target-ci", "0.0001%", "--sensor", "none", check=0, preexec_fn=one)
        finally:
            hog.kill()
            hog.wait()
        flags = {name for name, in self.stored("SELECT name FROM flag")}
        self.assertLessEqual({"oversubscribed", "threads-clamped"}, flags)
        self.assertEqual(dict(self.stored("SELECT which, threads FROM settings")), {"requested": 2, "effective": 1})
        self.assertIn("threads-lowered=affinity", self.stored("SELECT note FROM settings WHERE which = 'effective'")[0][0])
        self.assertIn("cpu x1: warning: disturbed while it was measured", done.stdout)

    def test_every_format_is_printed(self):
        for form in ("table", "md", "csv", "json"):
            done = self.zeb("run", "--device", "null", "--limit", "4", "--max-time", "100ms", "--db", self.db,
                            "--format", form, "--sensor", "none", check=0)
            self.assertIn("bert-mini-sst2", done.stdout)
            self.assertNotIn("nan", done.stdout.lower())
        for form in ("html", "md", "csv", "json"):
            out = self.folder / f"report.{form}"
            self.zeb("report", "--db", self.db, "--format", form, "--out", out, check=0)
            self.assertIn("bert-mini-sst2", out.read_text())


class Newest(ProgramTest):
    """Which rows a report shows: the newest of each case, and a case is what was asked for."""

    WORDS = ["--limit", "4", "--max-time", "10ms"]

    def checkpoint(self, folder):
        """The shipped checkpoint once more, by links."""
        folder.mkdir(parents=True)
        for file in (ROOT / "baselines/bert-mini-sst2").iterdir():
            (folder / file.name).symlink_to(file)
        (folder.parent / "bert-mini-words").symlink_to(ROOT / "baselines/bert-mini-words")
        return folder

    def shown(self):
        done = self.zeb("report", "--db", self.db, "--format", "json", check=0)
        report = json.loads(done.stdout)
        rows = [row for row in report["rows"] if row["latest"]]
        self.assertEqual({p["id"] for p in report["pareto_latency"]} - {row["id"] for row in rows}, set())
        return rows

    def test_a_failure_takes_the_place_of_last_nights_success(self):
        model = self.checkpoint(self.folder / "ck")
        policy = self.folder / "file.json"
        layer = {"tokens": None, "score_threshold": 0, "heads": None, "ffn": None}
        policy.write_text(json.dumps({"schema": "zeb-policy-1", "name": "own-name", "floor": 2, "layers": [layer] * 4}))
        words = [*self.WORDS, "--model", "ck", "--policy", "dense,file.json"]
        self.run_cases("cpu", *words)
        weights = next(model.glob("*.safetensors"))
        whole = weights.read_bytes()
        weights.unlink()
        weights.write_bytes(whole[:-100])
        self.run_cases("cpu", *words, check=3)
        self.assertEqual([row["verdict"] for row in self.shown()], ["failed", "failed"])
        weights.write_bytes(whole)
        self.run_cases("cpu", *words[:-1], "dense,./file.json")  # the same by another spelling
        self.assertEqual([row["verdict"] for row in self.shown()], ["ok", "ok"])

    def test_a_timeout_is_newest_too(self):
        self.run_cases("cpu", *self.WORDS)
        self.run_cases("cpu", *self.WORDS, "--timeout", "1ms", check=1)
        self.assertEqual([row["verdict"] for row in self.shown()], ["timeout"])

    def test_cases_that_differ_are_all_shown(self):
        for folder in ("e1/ck", "e2/ck"):
            self.checkpoint(self.folder / folder)
        for words in (["--isa", "scalar"], [], ["--no-pin"], ["--model", "e1/ck"], ["--model", "e2/ck"],
                      ["--model", self.folder / "e2/ck"]):
            self.run_cases("cpu", *self.WORDS, *words)
        self.assertEqual([row["requested"]["isa"] for row in self.shown()], ["scalar", None, None, None, None])
        self.assertEqual([row["model_path"] for row in self.shown()][3:],
                         [str(self.folder / "e1/ck"), str(self.folder / "e2/ck")])
        asked = self.shown()[0]["requested"]
        self.assertEqual((asked["device"], asked["policy"], asked["tune"]), ("cpu", "dense", 0))
        self.assertTrue(asked["data"].startswith("/"))


class Report(ProgramTest):
    @unittest.skipIf(SANITIZED, "a sanitizer needs more memory; the release build runs it")
    def test_a_long_history_needs_little_memory(self):
        """150 nights with 100,000 samples each are 120 MB of samples."""
        self.run_cases("null", "--limit", "4", "--max-time", "1ms")
        samples = array.array("Q", range(1000, 101000)).tobytes()
        with sqlite3.connect(self.db) as db:
            for table in ("row", "settings", "sample"):
                columns = [name for _, name, *_ in db.execute(f"PRAGMA table_info({table})")]
                key = {"row": "id"}.get(table, "row_id")
                rest = ", ".join(f'"{name}"' for name in columns if name != key)
                db.execute(f"WITH RECURSIVE night(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM night WHERE i < 150) "
                           f"INSERT INTO {table} ({key}, {rest}) SELECT i, {rest} FROM night, {table} WHERE {key} = 1")
            db.execute("UPDATE sample SET encoding = 'u64le', count = 100000, data = ?", (samples,))
        limit = 64 << 20
        for form in ("html", "json", "md", "csv"):
            self.zeb("report", "--db", self.db, "--format", form, "--out", "report", check=0,
                     preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)))
            if form == "json":
                rows = json.loads((self.folder / "report").read_text())["rows"]
                self.assertEqual([row["curve_ns"][100] for row in rows], [51000] * 150)
                self.assertEqual(sum(row["latest"] for row in rows), 1)


class Metered(ProgramTest):
    """A recorded RAPL tree whose counter a thread of the test moves: 20 W."""

    def tree(self, memory=False):
        """Lays the tree out, with a zone for memory that has no meter behind it; its counter's file."""
        zone = self.folder / "tree/sys/class/powercap/intel-rapl:0"
        zone.mkdir(parents=True)
        (zone / "name").write_text("package-0\n")
        (zone / "max_energy_range_uj").write_text("262143328850\n")
        (zone / "energy_uj").write_text("00000000001000000\n")
        if memory:
            part = zone.with_name("intel-rapl:0:0")
            part.mkdir()
            for name, text in (("name", "dram"), ("max_energy_range_uj", "65712999613"), ("energy_uj", "0")):
                (part / name).write_text(text + "\n")
        return zone / "energy_uj"

    def words(self, device):
        return ["run", "--device", device, "--limit", "8", "--sensor", "powercap", "--sensor-root", self.folder / "tree",
                "--idle", "1200ms", "--format", "jsonl", "--db", self.db, "--plugin-dir", FAULTY]

    def measure(self, watts, *words, device="null", memory=False):
        counter = os.open(self.tree(memory), os.O_RDWR)
        over = threading.Event()

        def move():
            begin = time.monotonic()
            while not over.wait(0.001):
                os.pwrite(counter, b"%017d\n" % (1000000 + int((time.monotonic() - begin) * watts * 1e6)), 0)

        mover = threading.Thread(target=move)
        mover.start()
        try:
            done = self.zeb(*self.words(device), *words)
        finally:
            over.set()
            mover.join()
        self.said = done.stderr
        return json.loads(done.stdout), done.returncode


class Energy(Metered):
    def test_a_counter_becomes_joules_and_grams(self):
        row, status = self.measure(20, "--country", "FRA")
        self.assertEqual((status, row["verdict"]), (0, "ok"), row["reason"])
        energy = row["energy"]
        self.assertEqual((energy["kind"], energy["source"]), ("measured", "powercap"))
        self.assertAlmostEqual(energy["gross_uj"] / (energy["window_ns"] / 1e3), 20, delta=1)
        self.assertAlmostEqual(energy["idle_watts"], 20, delta=2)
        grams = energy["gross_uj"] / 3.6e12 * 56.039
        self.assertAlmostEqual(row["co2_ug"] / 1e6, grams, delta=grams * 0.01 + 1e-6)
        self.assertIn("idle-short", row["flags"])

    def test_the_measured_passes_follow_the_warm_up(self):
        """A rest between them would leave the device cold, and only where there is a sensor."""
        row, _ = self.measure(20, device="faulty-slow")
        stages = [line.rpartition(": ")[2] for line in self.said.splitlines() if " on faulty-slow (single): " in line]
        stages = [stage for stage in stages if stage in ("idling", "warming up", "measuring")]
        self.assertEqual(stages, [stage for stage in ("idling", "warming up", "measuring") if stage in stages] + ["idling"])
        rested = 2 * 1200e6
        self.assertLess(row["startup_ns"] + rested + row["energy"]["window_ns"], row["duration_ns"])  # no rest in start-up

    def test_the_first_pass_is_after_the_rest(self):
        row, _ = self.measure(20, device="faulty-crash")  # in its first pass, which is the warm-up's
        self.assertEqual(row["verdict"], "crashed")
        self.assertGreater(row["duration_ns"], 1200e6)

    def test_a_stop_while_idling_is_an_interrupted_row(self):
        self.tree()
        program = subprocess.Popen([ZEB, *map(str, self.words("null")), "--idle", "60s"], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, cwd=self.folder)
        for line in program.stderr:
            if "idling" in line:
                break
        begin = time.monotonic()
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=60)
        self.assertLess(time.monotonic() - begin, 10)
        row = json.loads(out)
        self.assertEqual((program.returncode, row["verdict"], row["n"]), (1, "interrupted", 0), err)
        self.assertEqual((row["startup_ns"], row["energy"]["gross_uj"], row["co2_ug"]), (None, None, None))
        self.assertEqual(row["effective"]["warmup"], 0)
        self.assertEqual(self.stored("SELECT verdict, energy.examples FROM row JOIN energy ON row_id = id"),
                         [("interrupted", None)])

    def test_memory_that_was_left_out_is_said(self):
        row, status = self.measure(20, memory=True)
        self.assertEqual((status, row["verdict"]), (0, "ok"), row["reason"])
        self.assertEqual({c["name"]: c["counted"] for c in row["energy"]["channels"]}, {"package-0": True, "dram-0": False})
        self.assertEqual(row["energy"]["note"], "dram-0 never moves: not metered, left out")
        for form in ("table", "md", "csv", "html"):
            done = self.zeb("report", "--db", self.db, "--format", form, "--out", self.folder / "report", check=0)
            self.assertIn("dram-0 never moves: not metered, left out", (self.folder / "report").read_text())

    def test_a_counter_that_stands_still_is_no_zero(self):
        row, status = self.measure(0)
        self.assertEqual((status, row["verdict"]), (1, "invalid"))
        self.assertIsNone(row["energy"]["gross_uj"])
        self.assertIsNone(row["co2_ug"])


class Export(Metered):
    """What rows drew, for other tools: a measured row, two estimates and a row without energy."""

    @staticmethod
    def exposition(text):
        """A strict reader of what OpenMetrics calls an exposition: families with their facts, samples with their labels."""
        lines = text.split("\n")
        assert lines[-2:] == ["# EOF", ""], lines[-2:]
        facts, samples = {}, {}
        for line in lines[:-2]:
            meta = re.fullmatch(r"# (TYPE|UNIT|HELP) (\w+) (.+)", line)
            sample = re.fullmatch(r'(\w+)\{((?:\w+="(?:[^"\\\n]|\\["\\n])*",?)+)\} (\d+\.\d+)', line)
            assert meta or sample, line
            if meta:
                assert not samples and (meta[2], meta[1]) not in facts, line
                facts[meta[2], meta[1]] = meta[3]
            else:
                labels = tuple(sorted(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', sample[2])))
                assert (sample[1], labels) not in samples, f"twice: {line}"
                samples[sample[1], labels] = float(sample[3])
        return facts, samples

    def test_every_format(self):
        self.measured, _ = self.measure(20, "--country", "CAN", "--region", "quebec", "--pue", "1.5")
        words = ("--limit", "2", "--max-time", "1ms")
        self.estimates, _ = self.run_cases("cpu,cpu", *words, "--tdp", "65")
        (silent,), _ = self.run_cases("ref", *words)
        self.assertEqual([row["verdict"] for row in (self.measured, *self.estimates, silent)], ["ok"] * 4)
        for check in (self.openmetrics, self.emissions, self.import_of_emissions):
            with self.subTest(check.__name__):
                check()

    def openmetrics(self):
        facts, samples = self.exposition(self.zeb("db", "export", "--format", "openmetrics", "--db", self.db, check=0).stdout)
        self.assertEqual({key: facts[key] for key in facts if key[1] != "HELP"},
                         {("zeb_energy_joules", "TYPE"): "counter", ("zeb_energy_joules", "UNIT"): "joules"})
        self.assertIn("Gross energy", facts["zeb_energy_joules", "HELP"])
        labels = lambda device, source, kind: ("zeb_energy_joules_total", (("device", device), ("domain", "package"),
                                                                           ("kind", kind), ("source", source)))
        device = f"{self.measured['backend']}:{self.measured['device']}"
        estimates = sum(row["energy"]["gross_uj"] for row in self.estimates)
        self.assertEqual(samples, {
            labels(device, "powercap", "measured"): self.measured["energy"]["gross_uj"] / 1e6,
            labels(f"cpu:{self.estimates[0]['device']}", "tdp", "estimated"): estimates / 1e6})

    def emissions(self):
        text = self.zeb("db", "export", "--format", "codecarbon", "--db", self.db, check=0).stdout
        theirs = (ROOT / "baselines/bert-mini-sst2/emissions.csv").read_text().splitlines()[0]
        self.assertEqual(text.splitlines()[0], theirs)
        lines = list(csv.DictReader(text.splitlines()))
        self.assertEqual([line["project_name"] for line in lines], ["zeb", "zeb-estimate", "zeb-estimate"])
        self.assertEqual(len({line["run_id"] for line in lines}), 3)
        line, energy = lines[0], self.measured["energy"]
        kwh = energy["gross_uj"] / 3.6e12
        close = lambda name, wanted: self.assertAlmostEqual(float(line[name]), wanted, delta=wanted * 1e-9, msg=name)
        close("duration", energy["window_ns"] / 1e9)
        close("cpu_power", energy["gross_uj"] / energy["window_ns"] * 1e3)
        close("cpu_energy", kwh * 1.5)  # at the site's meter
        close("energy_consumed", kwh * 1.5)
        close("emissions", self.measured["co2_ug"] / 1e9)
        self.assertAlmostEqual(float(line["energy_consumed"]) * 0.031234 / float(line["emissions"]), 1, delta=0.01)
        self.assertEqual([line[name] for name in ("country_name", "country_iso_code", "region", "pue", "tracking_mode")],
                         ["Canada", "CAN", "quebec", "1.5", "machine"])
        self.assertEqual([line[name] for name in ("gpu_energy", "ram_power", "water_consumed", "python_version")], [""] * 4)
        self.assertEqual(line["timestamp"] + "Z", self.measured["started_utc"])
        self.assertEqual((lines[1]["country_iso_code"], lines[1]["region"]), ("", ""))  # the world's mean is of no country

    def import_of_emissions(self):
        path = self.folder / "emissions.csv"
        path.write_text(self.zeb("db", "export", "--format", "codecarbon", "--db", self.db, check=0).stdout)
        self.assertIn("3 imported", self.zeb("db", "import", path, "--db", self.folder / "other.db", check=0).stderr)


class Data(ProgramTest):
    def test_malformed_lines_are_named_counted_and_kept(self):
        folder = self.folder / "data" / "glue" / "SST-2"
        folder.mkdir(parents=True)
        (folder / "dev.tsv").write_bytes(b"sentence\tlabel\ngood film\t1\n\nno label\nbad \xff film\t0\nodd\t7\n")
        (row,), done = self.run_cases("null", "--data", self.folder / "data", "--max-time", "1ms")
        self.assertEqual((row["rows_read"], row["rows_skipped"], row["examples"]), (5, 4, 1))
        for line in (3, 4, 5, 6):
            self.assertIn(f"dev.tsv:{line}:", done.stderr)
            self.assertIn(f"dev.tsv:{line}:", row["last_words"])
        self.assertIn("skipped 4 of 5 rows", done.stderr)
        self.assertLess({"rows-skipped", "partial-data"}, set(row["flags"]))

    def test_rows_that_cannot_be_read_are_missing_from_the_split(self):
        """As many lines as the official file has, half of them without a usable label."""
        folder = self.folder / "data" / "glue" / "SST-2"
        folder.mkdir(parents=True)
        for bad, flags in ((0, set()), (436, {"rows-skipped", "partial-data"})):
            lines = [f"a film of number {i}\t{i % 2 if i >= bad else 'x'}\n" for i in range(872)]
            (folder / "dev.tsv").write_text("sentence\tlabel\n" + "".join(lines))
            (row,), _ = self.run_cases("null", "--data", self.folder / "data", "--max-time", "1ms")
            self.assertEqual((row["rows_read"], row["rows_skipped"]), (872, bad))
            self.assertEqual(set(row["flags"]) & {"rows-skipped", "partial-data"}, flags)
        self.assertIn("warning: 436 of 872 rows could not be read", self.zeb("report", "--db", self.db, "--format", "table").stdout)


    def test_a_model_of_another_task_is_told(self):
        folder = self.folder / "data" / "glue" / "RTE"
        folder.mkdir(parents=True)
        (folder / "dev.tsv").write_text("index\tsentence1\tsentence2\tlabel\n0\tIt rains.\tIt is wet.\tentailment\n")
        (row,), done = self.run_cases("null", "--task", "glue/rte", "--data", self.folder / "data", "--max-time", "1ms")
        self.assertIn("other-task", row["flags"])
        self.assertIn("was trained for glue/sst2, not for glue/rte", done.stderr)
        (row,), _ = self.run_cases("null", "--limit", "1", "--max-time", "1ms")
        self.assertNotIn("other-task", row["flags"])

    def test_a_policy_that_cannot_be_opened_keeps_its_name(self):
        rows, _ = self.run_cases("null", "--limit", "1", "--max-time", "1ms", "--policy", "dense,gone.json", check=1)
        self.assertEqual([(row["policy"], row["verdict"]) for row in rows], [("dense", "ok"), ("gone.json", "failed")])


class Nights(ProgramTest):
    """What befalls a sweep that nobody watches: nothing is lost, and its exit status does not lie."""
    FEW = ["--limit", "2", "--max-time", "1ms"]

    def broken_plugin(self):
        folder = self.folder / "plugins"
        folder.mkdir()
        (folder / "zeb_gone.so").write_text("not a shared object\n")
        return f"{folder}:{FAULTY}"

    def test_a_broken_plugin_has_a_row_that_says_so(self):
        where = self.broken_plugin()
        for devices in ("null,gone,null", "all"):
            rows, _ = self.run_cases(devices, *self.FEW, "--plugin-dir", where, check=1)
            (gone,) = [row for row in rows if row["backend"] == "gone"]
            self.assertEqual(gone["verdict"], "failed")
            self.assertIn("zeb_gone.so", gone["reason"])
            self.assertGreater(sum(row["verdict"] == "ok" for row in rows), 1)

    def test_a_plugin_that_finds_no_device_is_told(self):
        done = self.zeb("list", "plugins", "--format", "json", check=0)
        if "opencl" not in {row["name"] for row in json.loads(done.stdout)}:
            self.skipTest("built without the plugin opencl")
        nowhere = self.folder / "vendors"
        nowhere.mkdir()
        _, done = self.run_cases("all", *self.FEW, env={**os.environ, "OCL_ICD_VENDORS": str(nowhere)})
        self.assertIn("opencl finds no device", done.stderr)

    def test_children_that_are_ignored_by_the_launcher(self):
        rows, _ = self.run_cases("null", *self.FEW,
                                 preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
        self.assertEqual([row["verdict"] for row in rows], ["ok"])

    def test_a_full_stdout_ends_no_sweep(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run([ZEB, "run", "--device", "null,null,null", "--format", "jsonl", "--db", str(self.db),
                                   *self.FEW], stdout=full, stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(self.stored("SELECT count(*), sum(verdict = 'ok') FROM row"), [(3, 3)])
        self.assertEqual(self.stored("SELECT exit_code FROM run"), [(1,)])
        self.assertEqual(done.stderr.count("stdout takes no more rows"), 1)

    @unittest.skipIf(SANITIZED, "a sanitizer needs all addresses; the release build runs it")
    def test_no_memory_for_a_worker_is_a_row(self):
        limit = 3 << 30  # a worker asks for four GiB of addresses
        rows, _ = self.run_cases("null,null", *self.FEW, check=3,
                                 preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
        self.assertEqual([row["verdict"] for row in rows], ["failed", "failed"])
        self.assertIn("cannot map", rows[0]["reason"])

    @unittest.skipIf(SANITIZED, "ten seconds of waiting; the release build runs it")
    def test_a_lock_is_waited_for(self):
        self.run_cases("null", *self.FEW)
        program = subprocess.Popen([ZEB, "run", "--device", "faulty-slow", "--limit", "4", "--max-time", "5s",
                                    "--target-ci", "0.0001%", "--db", str(self.db), "--plugin-dir", FAULTY, "--sensor",
                                    "none"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for line in program.stderr:
            if "on faulty-slow (single): " in line:
                break
        with contextlib.closing(sqlite3.connect(self.db, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            said = next((line for line in program.stderr if "trying again" in line), "nothing")
            other.execute("ROLLBACK")
        _, err = program.communicate(timeout=60)
        self.assertIn("another program has held its lock", said)
        self.assertEqual(program.returncode, 0, err)
        self.assertEqual(self.stored("SELECT count(*) FROM row"), [(2,)])

    def test_predictions_are_json_whatever_the_names(self):
        model = self.folder / 'b"s'
        model.symlink_to(ROOT / "baselines/bert-mini-sst2")
        out = self.folder / "predictions.jsonl"
        (row,), _ = self.run_cases("ref", "--limit", "3", "--max-time", "1ms", "--model", model, "--predictions", out)
        self.assertEqual(row["verdict"], "ok", row["reason"])
        lines = [json.loads(line) for line in out.read_text().splitlines()]
        self.assertEqual([line["index"] for line in lines], [0, 1, 2])
        self.assertEqual(self.stored("SELECT predictions_path FROM row"), [(str(out.resolve()),)])


class Faults(ProgramTest):
    def fault(self, name, verdict, *words, check=1, **expected):
        """A case with the faulty device between two good ones: the good rows are there, the bad one says why."""
        rows, done = self.run_cases(f"null,faulty-{name},null", "--limit", "4", "--max-time", "50ms", *words,
                                    check=check)
        self.assertEqual([row["verdict"] for row in rows], ["ok", verdict, "ok"], done.stderr)
        for text in expected.get("reason", []):
            self.assertIn(text, rows[1]["reason"])
        return rows[1], done

    def test_crash(self):
        row, done = self.fault("crash", "crashed", reason=["11"])
        self.assertIn("about to crash", done.stderr)

    def test_crash_in_the_middle(self):
        self.fault("late", "crashed", reason=["11"])

    def test_abort(self):
        self.fault("abort", "crashed", reason=["6"])

    def test_exit(self):
        self.fault("exit", "crashed", reason=["exited"])

    def test_hang(self):
        begin = time.monotonic()
        self.fault("hang", "timeout", "--timeout", "2s", reason=["--timeout"])
        self.assertLess(time.monotonic() - begin, 60)

    def test_refused_nodes_are_named(self):
        self.fault("refuse", "unsupported", reason=["layer.0.attention", "beyond this device"])

    def test_device_error(self):
        self.fault("fail", "failed", reason=["fell off the bus"])

    def test_nan_logits(self):
        self.fault("nan", "failed", reason=["not finite", "embed"])

    @unittest.skipIf(SANITIZED, "a sanitizer needs all addresses; the release build runs it")
    def test_out_of_memory(self):
        limit = 6 << 30  # of address space: workers map four GiB of it without using them
        rows = subprocess.run(
            [ZEB, "run", "--device", "null,faulty-memory,null", "--limit", "4", "--max-time", "50ms", "--format",
             "jsonl", "--db", str(self.db), "--plugin-dir", FAULTY, "--sensor", "none"], capture_output=True, text=True,
            cwd=self.folder, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))).stdout
        self.assertEqual([json.loads(line)["verdict"] for line in rows.splitlines()], ["ok", "crashed", "ok"])


class Interrupts(ProgramTest):
    def start(self, *words, **kwargs):
        return subprocess.Popen([ZEB, "run", "--format", "jsonl", "--db", str(self.db), "--plugin-dir", FAULTY,
                                 "--sensor", "none", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                cwd=self.folder, **kwargs)

    def wait_for(self, program, stage):
        for line in program.stderr:
            if stage in line:
                return
        self.fail(f"the program never said '{stage}'")

    def test_ctrl_c_keeps_what_there_is(self):
        program = self.start("--device", "null,faulty-slow,null", "--target-ci", "0.0001%", "--max-time", "1s",
                             "--limit", "872")
        first = json.loads(program.stdout.readline())
        self.assertEqual(first["verdict"], "ok")
        time.sleep(0.5)
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=30)
        rows = [json.loads(line) for line in out.splitlines()]
        self.assertEqual([row["verdict"] for row in rows], ["interrupted"], err)
        self.assertGreater(rows[0]["n"], 0)
        self.assertEqual(program.returncode, 1)

    def test_a_stopped_group_is_no_crash(self):
        for number in (signal.SIGTERM, signal.SIGHUP):  # a batch system; a terminal that is closed
            program = self.start("--device", "faulty-slow", "--target-ci", "0.0001%", "--limit", "872",
                                 start_new_session=True)
            self.wait_for(program, "measuring")
            os.killpg(program.pid, number)
            out, err = program.communicate(timeout=30)
            self.assertEqual([json.loads(line)["verdict"] for line in out.splitlines()], ["interrupted"], err)
            self.assertEqual(program.returncode, 1)

    def test_a_second_wish_is_not_needed_for_a_hung_plugin(self):
        program = self.start("--device", "faulty-hang,null", "--limit", "4")
        time.sleep(1.5)
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=60)
        rows = [json.loads(line) for line in out.splitlines()]
        self.assertEqual([row["verdict"] for row in rows], ["interrupted"], err)

    @unittest.skipIf(SANITIZED, "what is killed tells a sanitizer nothing; the release build runs it")
    def test_two_hundred_kills_lose_no_finished_row(self):
        printed = 0
        for i in range(200):
            program = self.start("--device", "null,null,null,null", "--limit", "2", "--max-time", "1ms")
            time.sleep(0.01 + 0.2 * ((i * 7919) % 200) / 200)  # spread over the life of a run, in no order
            program.kill()
            printed += sum(line.endswith("}\n") for line in program.communicate()[0].splitlines(keepends=True))
        self.assertGreater(printed, 50)  # else the kills came too early to say anything
        self.assertEqual(self.stored("PRAGMA integrity_check"), [("ok",)])
        report = self.zeb("report", "--db", self.db, "--format", "jsonl", check=0)
        self.assertGreaterEqual(self.stored("SELECT count(*) FROM row")[0][0], printed)
        self.assertTrue(report.stdout)

    def test_a_killed_program_leaves_no_worker(self):
        program = self.start("--device", "faulty-hang", "--limit", "4")
        time.sleep(1.5)
        children = pathlib.Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
        self.assertEqual(len(children), 1)
        program.kill()
        program.communicate()
        for _ in range(50):
            if not os.path.exists(f"/proc/{children[0]}"):
                break
            time.sleep(0.1)
        self.assertFalse(os.path.exists(f"/proc/{children[0]}"))


if __name__ == "__main__":
    unittest.main()
