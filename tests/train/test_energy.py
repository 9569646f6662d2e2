"""Energy of training: a row a command, whatever becomes of the command."""
import csv
import os
import subprocess
import sys
import time

from zeb_train import energy

RUN = """
import sys, time
from pathlib import Path
from zeb_train import energy
energy.MEASURE_S = energy.MEASURES = 1
with energy.tracked(Path(sys.argv[1]), "test"):
    time.sleep(float(sys.argv[2]))
"""


def rows(path) -> list[dict]:
    with open(path, newline="") as f:
        return list(csv.DictReader(f))


def test_what_a_killed_command_used_is_counted_once(tmp_path):
    path = tmp_path / "emissions.csv"
    path.write_text("run_id,duration,emissions,energy_consumed,of_another_version\nbefore,2.0,0.5,0.25,x\n")
    killed = subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path), "600"], env=os.environ)
    deadline, seen = time.monotonic() + 60, []
    while len(seen) < 2 and time.monotonic() < deadline:             # written twice: the same row, further on
        now = rows(path)
        if len(now) > 1 and now[-1]["duration"] not in seen:
            seen.append(now[-1]["duration"])
        time.sleep(0.05)
    killed.kill()
    killed.wait()
    first = rows(path)
    assert len(seen) == 2 and len(first) == 2 and first[0]["of_another_version"] == "x"
    subprocess.run([sys.executable, "-c", RUN, str(tmp_path), "0.1"], check=True, env=os.environ)
    made = rows(path)
    assert made[:2] == first and len(made) == 3 and len({row["run_id"] for row in made}) == 3
    assert float(made[1]["energy_consumed"]) > 0 and made[1]["tracking_mode"] == "machine"
    whole = energy.total(path)
    assert whole["kwh"] == sum(float(row["energy_consumed"]) for row in made) and whole["seconds"] > 2.0
