-- zeb's database of results, schema 1.
--
-- A run is one invocation of zeb; a row is what one case of it produced. NULL is unknown and never 0. Units are in the
-- names: _ns nanoseconds, _uj microjoules, _ug micrograms. The checks state what a row may not say: no success without
-- samples, no failure without a reason, no energy without a source, no CO2 without an intensity.

-- One invocation of zeb and the machine that it ran on.
CREATE TABLE run (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    zeb_version  TEXT NOT NULL,
    zeb_commit   TEXT,
    compiler     TEXT,
    build_flags  TEXT,
    host         TEXT,
    os           TEXT,
    kernel       TEXT,
    cpu_model    TEXT,
    cpu_flags    TEXT,
    governor     TEXT,
    cpu_count    INTEGER CHECK (cpu_count > 0),
    memory_bytes INTEGER CHECK (memory_bytes > 0),
    argv         TEXT NOT NULL CHECK (substr(argv, 1, 1) = '['),  -- a JSON array of strings
    started_utc  TEXT NOT NULL,
    finished_utc TEXT,  -- NULL: never ended orderly
    exit_code    INTEGER,
    CHECK ((finished_utc IS NULL) = (exit_code IS NULL))
) STRICT;

-- What one case produced.
CREATE TABLE row (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id    INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,

    verdict   TEXT NOT NULL
        CHECK (verdict IN ('ok', 'unsupported', 'failed', 'crashed', 'timeout', 'invalid', 'interrupted')),
    reason        TEXT CHECK (reason <> ''),
    signal_number INTEGER CHECK (signal_number > 0),
    exit_code     INTEGER,
    last_words    TEXT,

    model       TEXT NOT NULL CHECK (model <> ''),
    model_path  TEXT,
    model_hash  TEXT CHECK (length(model_hash) = 64),
    model_dtype TEXT,
    family      TEXT,
    parameters  INTEGER CHECK (parameters > 0),

    task           TEXT NOT NULL CHECK (task <> ''),
    task_version   INTEGER,
    split          TEXT,
    data_hash      TEXT CHECK (length(data_hash) = 64),
    rows_read      INTEGER CHECK (rows_read >= 0),
    rows_skipped   INTEGER CHECK (rows_skipped >= 0),
    rows_truncated INTEGER CHECK (rows_truncated >= 0),

    backend         TEXT NOT NULL CHECK (backend <> ''),  -- the plugin
    backend_version TEXT,
    device          TEXT,
    device_name     TEXT,
    driver          TEXT,

    precision   TEXT,
    policy      TEXT NOT NULL CHECK (policy <> ''),  -- 'dense' for none
    policy_hash TEXT CHECK (length(policy_hash) = 64),
    scenario    TEXT NOT NULL CHECK (scenario <> ''),
    seed        INTEGER,
    order_seed  INTEGER,

    examples         INTEGER NOT NULL CHECK (examples >= 0),  -- scored
    predictions_path TEXT,

    n                 INTEGER NOT NULL CHECK (n >= 0),  -- timed passes
    latency_p50_ns    REAL CHECK (latency_p50_ns >= 0),
    latency_p50_lo_ns REAL,
    latency_p50_hi_ns REAL,
    latency_p90_ns    REAL CHECK (latency_p90_ns >= 0),
    latency_p90_lo_ns REAL,
    latency_p90_hi_ns REAL,
    latency_p95_ns    REAL CHECK (latency_p95_ns >= 0),
    latency_p95_lo_ns REAL,
    latency_p95_hi_ns REAL,
    latency_p99_ns    REAL CHECK (latency_p99_ns >= 0),
    latency_p99_lo_ns REAL,
    latency_p99_hi_ns REAL,
    latency_mean_ns   REAL CHECK (latency_mean_ns >= 0),
    latency_mad_ns    REAL CHECK (latency_mad_ns >= 0),
    latency_min_ns    REAL CHECK (latency_min_ns >= 0),
    latency_max_ns    REAL CHECK (latency_max_ns >= 0),
    latency_first_ns  REAL CHECK (latency_first_ns >= 0),
    throughput_per_s  REAL CHECK (throughput_per_s >= 0),
    capped            INTEGER NOT NULL CHECK (capped IN (0, 1)),  -- the time cap came before the target interval
    ci_reached        REAL CHECK (ci_reached >= 0),
    startup_ns        INTEGER CHECK (startup_ns >= 0),
    compile_ns        INTEGER CHECK (compile_ns >= 0),

    flops_dense    REAL CHECK (flops_dense >= 0),
    flops_executed REAL CHECK (flops_executed >= 0),
    bytes_dense    REAL CHECK (bytes_dense >= 0),
    bytes_executed REAL CHECK (bytes_executed >= 0),
    tokens         INTEGER CHECK (tokens >= 0),
    skip_mode      TEXT,

    peak_rss_bytes      INTEGER CHECK (peak_rss_bytes > 0),
    device_memory_bytes INTEGER CHECK (device_memory_bytes >= 0),
    started_utc         TEXT,
    duration_ns         INTEGER CHECK (duration_ns >= 0),

    CHECK ((verdict = 'ok') = (reason IS NULL)),
    CHECK (verdict <> 'ok' OR (n > 0 AND latency_p50_ns IS NOT NULL)),
    CHECK (verdict <> 'unsupported' OR (n = 0 AND latency_p50_ns IS NULL)),
    CHECK (n > 0 OR latency_p50_ns IS NULL)
) STRICT;

CREATE INDEX row_run ON row (run_id);
CREATE INDEX row_case ON row (model, task, backend);

-- Settings as asked for and as they took effect.
CREATE TABLE settings (
    row_id      INTEGER NOT NULL REFERENCES row (id) ON DELETE CASCADE,
    which       TEXT NOT NULL CHECK (which IN ('requested', 'effective')),
    threads     INTEGER CHECK (threads > 0),
    pinned      INTEGER CHECK (pinned IN (0, 1)),
    batch       INTEGER CHECK (batch > 0),
    seq_max     INTEGER CHECK (seq_max > 0),
    "limit"     INTEGER CHECK ("limit" > 0),
    target_ci   REAL CHECK (target_ci >= 0),
    max_time_ns INTEGER,
    timeout_ns  INTEGER,
    warmup      INTEGER,
    isa         TEXT,
    precision   TEXT,
    note        TEXT,
    PRIMARY KEY (row_id, which)
) STRICT, WITHOUT ROWID;

-- Scores; position 0 is the headline. A score that is not defined on the data has no value.
CREATE TABLE metric (
    row_id   INTEGER NOT NULL REFERENCES row (id) ON DELETE CASCADE,
    position INTEGER NOT NULL CHECK (position >= 0),
    name     TEXT NOT NULL CHECK (name <> ''),
    defined  INTEGER NOT NULL CHECK (defined IN (0, 1)),
    value    REAL,
    lo       REAL,
    hi       REAL,
    method   TEXT,
    PRIMARY KEY (row_id, position),
    CHECK (defined = (value IS NOT NULL)),
    CHECK (lo <= hi)
) STRICT, WITHOUT ROWID;

-- Every latency sample, in the order taken, as little-endian unsigned 64-bit nanoseconds ('u64le'); past 100,000 a
-- log-linear histogram ('histogram'): triples lo, hi, count of the same integers, error at most 1/128.
CREATE TABLE sample (
    row_id   INTEGER PRIMARY KEY REFERENCES row (id) ON DELETE CASCADE,
    encoding TEXT NOT NULL CHECK (encoding IN ('u64le', 'histogram')),
    count    INTEGER NOT NULL CHECK (count > 0),  -- samples, not bytes
    data     BLOB NOT NULL CHECK (length(data) > 0),
    CHECK (encoding <> 'u64le' OR length(data) = 8 * count),
    CHECK (encoding <> 'histogram' OR length(data) % 24 = 0)
) STRICT;

-- Energy of the measured window. known = 0: no sensor and no estimate.
CREATE TABLE energy (
    row_id     INTEGER PRIMARY KEY REFERENCES row (id) ON DELETE CASCADE,
    known      INTEGER NOT NULL CHECK (known IN (0, 1)),
    valid      INTEGER NOT NULL CHECK (valid IN (0, 1)),
    kind       TEXT CHECK (kind IN ('measured', 'estimated')),
    source     TEXT,
    reason     TEXT,
    gross_uj   INTEGER CHECK (gross_uj >= 0),
    idle_uj    INTEGER,
    net_uj     INTEGER,
    idle_watts REAL,
    idle_drift REAL,
    window_ns  INTEGER CHECK (window_ns >= 0),
    samples    INTEGER CHECK (samples >= 0),
    gaps       INTEGER CHECK (gaps >= 0),
    examples   INTEGER CHECK (examples > 0),
    CHECK (valid <= known),
    CHECK (known = 0 OR (kind IS NOT NULL AND source IS NOT NULL)),
    CHECK (known = 1 OR kind IS NULL),
    CHECK (valid = (gross_uj IS NOT NULL)),
    CHECK (valid = 1 OR (idle_uj IS NULL AND net_uj IS NULL)),
    CHECK (known = 0 OR valid = 1 OR reason IS NOT NULL)
) STRICT;

CREATE TABLE energy_channel (
    row_id        INTEGER NOT NULL REFERENCES energy (row_id) ON DELETE CASCADE,
    position      INTEGER NOT NULL CHECK (position >= 0),
    source        TEXT NOT NULL CHECK (source <> ''),
    name          TEXT NOT NULL CHECK (name <> ''),
    domain        TEXT,
    kind          TEXT,
    counted       INTEGER NOT NULL CHECK (counted IN (0, 1)),  -- part of the total
    valid         INTEGER NOT NULL CHECK (valid IN (0, 1)),
    reason        TEXT,
    gross_uj      INTEGER CHECK (gross_uj >= 0),
    idle_uj       INTEGER,
    net_uj        INTEGER,
    resolution_uj REAL,
    samples       INTEGER,
    gaps          INTEGER,
    PRIMARY KEY (row_id, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE carbon (
    row_id              INTEGER PRIMARY KEY REFERENCES energy (row_id) ON DELETE CASCADE,
    co2_ug              INTEGER CHECK (co2_ug >= 0),
    intensity_g_per_kwh REAL CHECK (intensity_g_per_kwh >= 0),
    year                INTEGER,
    pue                 REAL CHECK (pue > 0),
    source              TEXT,
    place               TEXT,
    CHECK (co2_ug IS NULL OR intensity_g_per_kwh IS NOT NULL)
) STRICT;

-- Work really done, a layer.
CREATE TABLE kept_layer (
    row_id      INTEGER NOT NULL REFERENCES row (id) ON DELETE CASCADE,
    position    INTEGER NOT NULL CHECK (position >= 0),
    layer       INTEGER NOT NULL CHECK (layer >= 0),
    tokens_in   REAL CHECK (tokens_in >= 0),
    tokens_kept REAL CHECK (tokens_kept >= 0),
    heads_kept  REAL CHECK (heads_kept >= 0),
    PRIMARY KEY (row_id, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE flag (
    row_id   INTEGER NOT NULL REFERENCES row (id) ON DELETE CASCADE,
    position INTEGER NOT NULL CHECK (position >= 0),
    name     TEXT NOT NULL CHECK (name <> ''),
    PRIMARY KEY (row_id, position)
) STRICT, WITHOUT ROWID;

-- Energy and CO2 of training, read from CodeCarbon's emissions.csv (units of that file: s, kg, kWh). Never mixed with
-- what zeb measured.
CREATE TABLE training (
    id                   INTEGER PRIMARY KEY AUTOINCREMENT,
    model                TEXT,
    codecarbon_run_id    TEXT NOT NULL,
    experiment_id        TEXT,
    project_name         TEXT,
    timestamp            TEXT NOT NULL,
    duration_s           REAL CHECK (duration_s >= 0),
    emissions_kg         REAL CHECK (emissions_kg >= 0),
    cpu_energy_kwh       REAL,
    gpu_energy_kwh       REAL,
    ram_energy_kwh       REAL,
    energy_consumed_kwh  REAL CHECK (energy_consumed_kwh >= 0),
    country_iso_code     TEXT,
    region               TEXT,
    cpu_model            TEXT,
    gpu_model            TEXT,
    tracking_mode        TEXT,
    codecarbon_version   TEXT,
    pue                  REAL,
    UNIQUE (codecarbon_run_id, timestamp)
) STRICT;
