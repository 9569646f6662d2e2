-- What devices can do at most, measured by `zeb roofline`, and what that allows a row.

-- One measured peak; the newest of a device, name and number of threads counts.
CREATE TABLE peak (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id            INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    backend           TEXT NOT NULL CHECK (backend <> ''),
    device            TEXT NOT NULL CHECK (device <> ''),
    device_name       TEXT,
    name              TEXT NOT NULL CHECK (name <> ''),  -- 'fp32', 'bf16', 'int8'; 'L1', 'L2', 'L3', 'DRAM'
    kind              TEXT NOT NULL CHECK (kind IN ('operations', 'bytes')),  -- what is counted a second
    threads           INTEGER NOT NULL CHECK (threads > 0),
    per_second        REAL NOT NULL CHECK (per_second > 0),  -- the best repetition
    median_per_second REAL CHECK (median_per_second > 0),
    working_set_bytes INTEGER CHECK (working_set_bytes > 0),  -- what was read over and over
    capacity_bytes    INTEGER CHECK (capacity_bytes > 0),  -- of the level; NULL: no limit
    measured_utc      TEXT NOT NULL
) STRICT;

CREATE INDEX peak_device ON peak (backend, device, name, threads);

-- The most FLOP/s that the peaks allow the row's work, what sets that limit, and the share of it that was reached. NULL
-- where the device's peaks were not measured before the row.
ALTER TABLE row ADD COLUMN bound_flops_per_s REAL CHECK (bound_flops_per_s > 0);
ALTER TABLE row ADD COLUMN bound_by TEXT;
ALTER TABLE row ADD COLUMN bound_share REAL CHECK (bound_share >= 0);
