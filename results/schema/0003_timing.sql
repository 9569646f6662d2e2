-- How long one node of a graph takes on a device, measured by `zeb explain`: what a plan's time is predicted from.

-- One measured time. The newest of a fingerprint, signature and number of rows counts; a line whose digest does not fit
-- is measured again.
CREATE TABLE timing (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id       INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    backend      TEXT NOT NULL CHECK (backend <> ''),
    device       TEXT NOT NULL CHECK (device <> ''),
    fingerprint  TEXT NOT NULL CHECK (length(fingerprint) = 64),  -- SHA-256 of device, driver, plugin file and settings
    signature    TEXT NOT NULL CHECK (signature <> ''),  -- op, attributes and shapes: all that the time depends on but rows
    rows         INTEGER NOT NULL CHECK (rows > 0),
    ns           REAL NOT NULL CHECK (ns >= 0),  -- the median
    digest       TEXT NOT NULL CHECK (length(digest) = 16),  -- of fingerprint, signature, rows and ns
    measured_utc TEXT NOT NULL
) STRICT;

CREATE INDEX timing_device ON timing (fingerprint, signature, rows);
