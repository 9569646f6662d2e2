"""The command line: help, exit status, suggestions, lists, bad input."""
import json
import pathlib
import subprocess
import unittest

from tensors import float_copy
from zeb_program import ProgramTest, ROOT, ZEB


class Help(ProgramTest):
    def test_help_names_every_command(self):
        text = self.zeb("--help", check=0).stdout
        for command in ("run", "list", "doctor", "report"):
            self.assertIn(command, text)
            page = self.zeb(command, "--help", check=0).stdout
            self.assertIn("Examples:", page)

    def test_man_and_completion_come_from_the_same_table(self):
        man = self.zeb("--man", check=0).stdout
        completion = self.zeb("--completion", check=0).stdout
        for line in self.zeb("run", "--help", check=0).stdout.splitlines():
            word = line.split()[0] if line.startswith("  --") else None
            if word and word != "--help":
                self.assertIn(word.replace("-", r"\-"), man)
                self.assertIn(word, completion)
        subprocess.run(["bash", "-n"], input=completion, text=True, check=True)

    def test_no_colour_where_there_is_no_terminal(self):
        self.assertNotIn("\033", self.zeb("doctor").stdout)


class Usage(ProgramTest):
    def test_unknown_option_suggests_the_nearest(self):
        done = self.zeb("run", "--devcie", "ref", check=2)
        self.assertIn("did you mean --device?", done.stderr)
        self.assertEqual(done.stdout, "")

    def test_unknown_command_and_task_and_device(self):
        self.assertIn("did you mean 'run'?", self.zeb("rnu", check=2).stderr)
        self.assertIn("sst2", self.zeb("run", "--task", "glue/sst", "--device", "ref", check=2).stderr)
        self.assertIn("ref", self.zeb("run", "--device", "reff", "--db", self.db, check=3).stderr)

    def test_values_are_checked(self):
        for words in (["--threads", "two"], ["--batch", "0"], ["--seq-max", "1"], ["--target-ci", "200%"],
                      ["--max-time", "soon"], ["--scenario", "serve"], ["--pue", "0.5"], ["--limit"],
                      ["--limit", "99999999999999"], ["--seed", "9223372036854775808"], ["--db", ""],
                      ["--country", "XXX"], ["--carbon", "-3"], ["--carbon", "1e300"], ["--tdp", "1e300"],
                      ["--pue", "1e300"], ["--sensor-root", "/nowhere"], ["--no-pin=1"]):
            done = self.zeb("run", "--device", "ref", *words, check=2)
            self.assertIn(words[0].split("=")[0], done.stderr)

    def test_a_region_is_known_or_refused(self):
        for words, needle in ((["--region", "quebec"], "--country"),
                              (["--country", "CAN", "--region", "quebeck"], "alberta, british columbia, manitoba"),
                              (["--country", "FRA", "--region", "quebec"], "in FRA (nor for any other region there)"),
                              (["--country", "XXX", "--region", "quebec"], "--country XXX")):
            done = self.zeb("run", "--device", "ref", "--db", self.db, *words, check=2)
            self.assertIn("--region" if "XXX" not in words else "--country", done.stderr)
            self.assertIn(needle, done.stderr)
            self.assertFalse(self.db.exists())
        self.assertIn("yukon); give --carbon", self.zeb("run", "--country", "can", "--region", "x", check=2).stderr)

    def test_listing_needs_a_list(self):
        self.assertIn("models|tasks|devices|plugins|sensors", self.zeb("list", check=2).stderr)
        for what in ("models", "tasks", "devices", "plugins", "sensors"):
            rows = json.loads(self.zeb("list", what, "--format", "json", check=0).stdout)
            self.assertIsInstance(rows, list)
            table = self.zeb("list", what, check=0).stdout
            if rows:
                self.assertIn(str(rows[0]["name"]), table)

    def test_a_full_stdout_is_an_error(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run([ZEB, "list", "tasks"], stdout=full, stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 3)
        self.assertIn("stdout", done.stderr)


class Database(ProgramTest):
    def refuse(self, path, needle):
        done = self.zeb("run", "--device", "null", "--limit", "2", "--db", path, check=3)
        self.assertIn(needle, done.stderr)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)

    def test_a_file_that_is_no_database(self):
        path = self.folder / "text.db"
        path.write_text("this is not a database, though it is long enough to look like one to somebody\n" * 20)
        before = path.read_bytes()
        self.refuse(path, "text.db")
        self.assertEqual(path.read_bytes(), before)

    def test_a_newer_schema(self):
        self.run_cases("null", "--limit", "2")
        import sqlite3
        with sqlite3.connect(self.db) as db:
            db.execute("PRAGMA user_version = 9999")
        self.refuse(self.db, "newer")

    def test_a_report_without_a_database(self):
        self.assertIn("absent.db", self.zeb("report", "--db", "absent.db", check=3).stderr)
        self.assertFalse((self.folder / "absent.db").exists())


class Training(ProgramTest):
    EMISSIONS = ROOT / "baselines" / "bert-mini-sst2" / "emissions.csv"

    def test_emissions_go_in_once_and_come_out(self):
        done = self.zeb("db", "import", self.EMISSIONS, "--model", "bert-mini-sst2", "--db", self.db, check=0)
        lines = len(self.EMISSIONS.read_text().splitlines()) - 1
        self.assertIn(f"{lines} imported", done.stderr)
        again = self.zeb("db", "import", self.EMISSIONS, "--model", "bert-mini-sst2", "--db", self.db, check=0)
        self.assertIn("0 imported", again.stderr)
        out = self.zeb("db", "export", "--db", self.db, check=0).stdout.splitlines()
        self.assertEqual(len(out), lines + 1)

    def test_a_model_needs_a_name(self):
        done = self.zeb("db", "import", self.EMISSIONS, "--model", "", "--db", self.db, check=2)
        self.assertIn("--model must not be empty", done.stderr)

    def test_what_is_no_emissions_file_changes_nothing(self):
        path = self.folder / "emissions.csv"
        path.write_text("timestamp,energy\nyesterday,much\n")
        self.assertIn("emissions.csv", self.zeb("db", "import", path, "--db", self.db, check=3).stderr)
        self.assertIn("import FILE", self.zeb("db", check=2).stderr)


class Files(ProgramTest):
    def setUp(self):
        super().setUp()
        self.run_cases("null", "--limit", "2", "--max-time", "1ms")

    def report(self, out, check):
        return self.zeb("report", "--db", self.db, "--format", "csv", "--out", out, check=check)

    def test_a_device_is_written_to_and_stays_one(self):
        full = pathlib.Path("/dev/full")
        self.assertIn("/dev/full", self.report(full, 3).stderr)
        self.assertTrue(full.is_char_device())

    def test_a_symbolic_link_is_followed(self):
        target, link = self.folder / "target.csv", self.folder / "link.csv"
        target.write_text("old")
        link.symlink_to(target)
        self.report(link, 0)
        self.assertTrue(link.is_symlink())
        self.assertIn("verdict", target.read_text())

    def test_a_failure_leaves_the_old_file(self):
        out = self.folder / "report.csv"
        out.write_text("old")
        self.zeb("report", "--db", "absent.db", "--out", out, check=3)
        self.assertEqual(out.read_text(), "old")
        self.assertEqual([path.name for path in self.folder.glob("*.part")], [])

    def test_a_limit_of_file_size_is_a_sentence(self):
        import resource
        done = self.zeb("run", "--device", "null", "--limit", "2", "--max-time", "1ms", "--db", self.folder / "new.db",
                        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)), check=3)
        self.assertIn("new.db", done.stderr)


class Plugins(ProgramTest):
    def test_a_text_file_is_reported_and_the_rest_runs(self):
        folder = self.folder / "plugins"
        folder.mkdir()
        (folder / "zeb_notes.so").write_text("not a shared object\n")
        done = self.zeb("list", "plugins", "--format", "json", "--plugin-dir", folder, check=0)
        rows = {row["name"]: row for row in json.loads(done.stdout)}
        self.assertEqual(rows["notes"]["state"], "broken")
        self.assertIn("zeb_notes.so", rows["notes"]["problem"])
        self.assertEqual(rows["ref"]["state"], "ok")
        for command in ("list plugins", "doctor", "run"):
            done = self.zeb(*command.split(), "--plugin-dir", self.folder / "nowhere", check=2)
            self.assertIn("nowhere: no such folder", done.stderr)
        done = self.zeb("run", "--device", "notes", "--plugin-dir", folder, "--db", self.db, check=3)
        self.assertIn("zeb_notes.so", done.stderr)


class Scripts(unittest.TestCase):
    def test_help_is_help_and_no_more(self):
        for name in ("run", "setup", "test", "lint", "fetch", "train/setup"):
            done = subprocess.run([ROOT / "scripts" / name, "--help"], capture_output=True, text=True, timeout=20)
            self.assertEqual(done.returncode, 0, name)
            self.assertIn(f"scripts/{name}" if name != "lint" else "clang-format", done.stdout)


class Models(ProgramTest):
    def refuse(self, model, needle):
        rows, done = self.run_cases("ref", "--model", model, check=3)
        self.assertEqual([row["verdict"] for row in rows], ["failed"])
        self.assertIn(needle, rows[0]["reason"])

    def copy_of_default(self):
        return float_copy(ROOT / "baselines" / "bert-mini-sst2", self.folder / "model")

    def test_a_missing_folder(self):
        self.refuse(self.folder / "nowhere", "nowhere")
        self.refuse("bert-mini-mrpc", "'zeb list models'")  # a name that the list shows, but no path

    def test_a_truncated_checkpoint(self):
        folder = self.copy_of_default()
        data = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
        self.refuse(folder, "model.safetensors")

    def test_a_config_that_disagrees_with_its_weights(self):
        folder = self.copy_of_default()
        config = json.loads((folder / "config.json").read_text())
        config["intermediate_size"] += 1
        (folder / "config.json").write_text(json.dumps(config))
        self.refuse(folder, "intermediate")

    def test_a_vocabulary_that_was_cut_off_is_said(self):
        folder = self.copy_of_default()
        words = (folder / "vocab.txt").read_text().splitlines(keepends=True)
        (folder / "vocab.txt").write_text("".join(words[:2000]))
        (row,), done = self.run_cases("null", "--model", folder, "--limit", "2", "--max-time", "1ms")
        self.assertIn("vocabulary-cut", row["flags"])
        self.assertIn("model/vocab.txt has 2000 lines for a word table of 30522 rows", done.stderr)

    def test_an_unknown_model_type(self):
        folder = self.copy_of_default()
        config = json.loads((folder / "config.json").read_text())
        config["model_type"] = "mamba"
        (folder / "config.json").write_text(json.dumps(config))
        self.refuse(folder, "mamba")

    def test_a_vocabulary_with_duplicates(self):
        folder = self.copy_of_default()
        words = (folder / "vocab.txt").read_text().splitlines()
        words[2000] = words[1999]
        (folder / "vocab.txt").write_text("\n".join(words) + "\n")
        self.refuse(folder, "vocab.txt")


if __name__ == "__main__":
    unittest.main()
