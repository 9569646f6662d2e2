-- pareto_latency: ranked rows that no other comparable row beats in both accuracy and median latency. Comparable:
-- the same task and version of it, split, data, scenario, metric and number of examples.
CREATE TEMP VIEW pareto_latency AS
SELECT a.id, a.task, a.split, a.scenario, a.value, a.p50_ns
FROM summary AS a
WHERE a.ranked AND a.value IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM summary AS b
    WHERE b.ranked AND b.task = a.task AND b.task_version IS a.task_version AND b.split IS a.split
      AND b.data_hash IS a.data_hash AND b.scenario = a.scenario AND b.metric = a.metric AND b.examples = a.examples
      AND b.value >= a.value AND b.p50_ns <= a.p50_ns AND (b.value > a.value OR b.p50_ns < a.p50_ns))
ORDER BY a.task, a.split, a.scenario, a.p50_ns;
