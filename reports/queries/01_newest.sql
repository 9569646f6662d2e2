-- newest: the ids of the newest row of each case. A case is what was asked for: the same model, task, policy, device and
-- settings, asked again on the same host, make the older row history. An interrupted row never hides one that was finished.
CREATE TEMP VIEW newest AS
SELECT id FROM (
    SELECT r.id,
           row_number() OVER (
               PARTITION BY u.host, r.model, r.task, r.split, r.policy, r.backend, r.device, r.scenario,
                            coalesce(s.precision, r.precision), s.threads, s.batch, s.seq_max, s."limit"
               ORDER BY r.verdict = 'interrupted', r.id DESC) AS place
    FROM row AS r JOIN run AS u ON u.id = r.run_id LEFT JOIN settings AS s ON s.row_id = r.id AND s.which = 'requested')
WHERE place = 1;
