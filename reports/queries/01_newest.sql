-- newest: the ids of the newest row of each case. A case is what was asked for: the same model, data, task, policy, device
-- and settings, asked again on the same host, make the older row history, however the newer one ended. An interrupted row
-- never hides one that was finished.
--
-- Rows of schemas before 6 do not tell all that was asked (`told`). Among themselves they go by what they know, and a row
-- that does tell, with the same names and settings, makes them history.
CREATE TEMP VIEW newest AS
WITH asked AS (
    SELECT r.id, r.verdict = 'interrupted' AS stopped, s.device IS NOT NULL AS told, u.host, r.task, r.split, r.scenario,
           r.backend, coalesce(s.precision, r.precision) AS precision, s.isa, s.threads, s.pinned, s.batch, s.seq_max,
           s."limit", s.tune, s.data, coalesce(r.model_path, r.model) AS model, coalesce(s.policy, r.policy) AS policy,
           coalesce(s.device, r.device) AS device, r.model AS model_name, r.policy AS policy_name, r.device AS device_id
    FROM row AS r JOIN run AS u ON u.id = r.run_id LEFT JOIN settings AS s ON s.row_id = r.id AND s.which = 'requested')
SELECT id FROM (
    SELECT id, told,
           row_number() OVER (
               PARTITION BY host, model, data, task, split, policy, backend, device, scenario, precision, isa, threads,
                            pinned, batch, seq_max, "limit", tune
               ORDER BY stopped, id DESC) AS place,
           max(told AND NOT stopped) OVER (
               PARTITION BY host, model_name, task, split, policy_name, backend, device_id, scenario, precision, isa,
                            threads, pinned, batch, seq_max, "limit") AS retold
    FROM asked)
WHERE place = 1 AND (told OR NOT retold);
