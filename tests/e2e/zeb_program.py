"""The program as its users run it: what the end-to-end tests share."""
import json
import os
import pathlib
import sqlite3
import subprocess
import tempfile
import unittest

ZEB = os.environ["ZEB"]
FAULTY = os.environ["ZEB_FAULTY"]
SANITIZED = "ZEB_SANITIZED" in os.environ  # ten times slower, and no limit of address space can be set
ROOT = pathlib.Path(__file__).resolve().parents[2]


class ProgramTest(unittest.TestCase):
    """Gives each test a folder of its own and the program to run there."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="zeb-e2e-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.db = self.folder / "rows.db"

    def zeb(self, *words, check=None, **kwargs):
        """Runs zeb WORDS; check is the exit status that is expected (None: any)."""
        done = subprocess.run([ZEB, *map(str, words)], capture_output=True, text=True, timeout=240, cwd=self.folder,
                              **kwargs)
        if check is not None:
            self.assertEqual(done.returncode, check, f"zeb {' '.join(map(str, words))}\n{done.stderr}")
        return done

    def run_cases(self, device, *words, check=0, **kwargs):
        """Runs cases on device and gives the jsonl rows with the finished process; kwargs are subprocess.run's."""
        done = self.zeb("run", "--device", device, "--format", "jsonl", "--db", self.db, "--sensor", "none",
                        "--plugin-dir", FAULTY, *words, check=check, **kwargs)
        return [json.loads(line) for line in done.stdout.splitlines()], done

    def stored(self, query):
        with sqlite3.connect(self.db) as db:
            return db.execute(query).fetchall()
