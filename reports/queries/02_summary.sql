-- summary: a line a row with what rankings and plots need. Energy and CO2 are per query (one sequence), from gross, and
-- only where the window was valid; `energy_kind` says whether they were measured or estimated. `ranked`: a newest, ok row
-- of a device that computes (one flagged no-compute measures the harness, and beats everything at nothing).
CREATE TEMP VIEW summary AS
SELECT r.id, r.run_id, u.host, r.id IN (SELECT id FROM newest) AS newest,
       r.id IN (SELECT id FROM newest) AND r.verdict = 'ok'
           AND NOT EXISTS (SELECT 1 FROM flag AS f WHERE f.row_id = r.id AND f.name = 'no-compute') AS ranked,
       r.verdict, r.reason, r.model, r.task, r.task_version, r.split, r.data_hash, r.policy, r.precision, r.backend, r.device, r.device_name,
       r.scenario, e.threads, q."limit", r.n, r.examples,
       m.name AS metric, m.value, m.lo, m.hi,
       r.latency_p50_ns AS p50_ns, r.latency_p90_ns AS p90_ns, r.latency_p99_ns AS p99_ns, r.throughput_per_s,
       r.peak_rss_bytes,
       g.kind AS energy_kind,
       CASE WHEN g.valid THEN CAST(g.gross_uj AS REAL) / g.examples END AS uj_per_query,
       CASE WHEN g.valid THEN CAST(c.co2_ug AS REAL) / g.examples END AS co2_ug_per_query
FROM row AS r
JOIN run AS u ON u.id = r.run_id
LEFT JOIN settings AS e ON e.row_id = r.id AND e.which = 'effective'
LEFT JOIN settings AS q ON q.row_id = r.id AND q.which = 'requested'
LEFT JOIN metric AS m ON m.row_id = r.id AND m.position = 0
LEFT JOIN energy AS g ON g.row_id = r.id
LEFT JOIN carbon AS c ON c.row_id = r.id;
