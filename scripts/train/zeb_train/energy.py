"""Energy of training, by CodeCarbon in offline mode: one row in emissions.csv a tracked command, written anew every
minute, so that a command that is killed has its energy counted but for the last one.

The machine's country is not known here, so the carbon intensity is the world's mean unless a country
is named; both are in the row.  Steps that run side by side are tracked as one, by the recipe.
"""
from __future__ import annotations

import csv
import io
import logging
import threading
from contextlib import contextmanager
from pathlib import Path

from . import store
from .loop import log

WORLD_G_PER_KWH = 475.0
MEASURE_S = 5
MEASURES = 12                # from one writing to the next


class Row:
    """This run's row in emissions.csv, as far as it has come: CodeCarbon hands it over, now and then and at the end.
    Its own output appends the sum so far as a row more each time, or rewrites the file in place, where a kill would cost
    all rows."""

    def __init__(self, path: Path):
        self.path, self.lock = path, threading.Lock()

    def out(self, total, _) -> None:
        with self.lock:
            try:
                self._write(total.values)
            except (OSError, ValueError, csv.Error) as e:        # would end the thread that measures
                log(f"energy: not recorded ({e})")

    live_out = out

    def task_out(self, *_) -> None: ...

    def exit(self) -> None: ...

    def _write(self, own: dict) -> None:
        rows, names = [], list(own)
        if self.path.is_file():
            with open(self.path, newline="") as f:
                before = csv.DictReader(f)
                rows = [row for row in before if row["run_id"] != own["run_id"]]
                names = list(dict.fromkeys([*(before.fieldnames or []), *names]))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows([*rows, own])
        store.write_bytes(self.path, text.getvalue().encode())


@contextmanager
def tracked(folder: Path, name: str, country: str = "", enabled: bool = True):
    """Tracks the body; energy that cannot be measured is missing, never 0, and stops nothing."""
    tracker = _start(Path(folder), name, country) if enabled else None
    try:
        yield
    finally:
        if tracker is not None:
            try:
                tracker.stop()
            except Exception as e:              # a meter's fault must not cost a checkpoint
                log(f"energy: not recorded ({e})")


def _start(folder: Path, name: str, country: str):
    try:
        from codecarbon import OfflineEmissionsTracker
        logging.getLogger("codecarbon").setLevel(logging.ERROR)
        folder.mkdir(parents=True, exist_ok=True)
        options = {} if country else {"force_carbon_intensity_g_co2e_kwh": WORLD_G_PER_KWH}
        tracker = OfflineEmissionsTracker(
            project_name=name, output_methods=[], output_handlers=[Row(folder / "emissions.csv")],
            country_iso_code=country or "USA", measure_power_secs=MEASURE_S, api_call_interval=MEASURES, log_level="error",
            allow_multiple_runs=True, tracking_mode="machine", **options)
        tracker.start()
        return tracker
    except Exception as e:
        log(f"energy: not tracked ({e})")
        return None


def total(path: Path) -> dict | None:
    """Sums of a file's rows: kWh, kg CO2e, seconds; None where there is no file."""
    if not Path(path).is_file():
        return None
    out = {"kwh": 0.0, "kg_co2e": 0.0, "seconds": 0.0}
    with open(path, newline="") as f:
        for row in csv.DictReader(f):
            out["kwh"] += float(row["energy_consumed"])
            out["kg_co2e"] += float(row["emissions"])
            out["seconds"] += float(row["duration"])
    return out
