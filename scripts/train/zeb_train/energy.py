"""Energy of training, by CodeCarbon in offline mode: one row in emissions.csv a tracked command.

The machine's country is not known here, so the carbon intensity is the world's mean unless a country
is named; both are in the row.  Steps that run side by side are tracked as one, by the recipe.
"""
from __future__ import annotations

import csv
import logging
from contextlib import contextmanager
from pathlib import Path

from .loop import log

WORLD_G_PER_KWH = 475.0


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
            project_name=name, output_dir=str(folder), output_file="emissions.csv",
            country_iso_code=country or "USA", measure_power_secs=5, log_level="error",
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
