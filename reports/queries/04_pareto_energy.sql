-- pareto_energy: the same for accuracy and energy a query. Measured and estimated energies are two fronts: an estimate
-- never beats a measurement, nor the other way round.
CREATE TEMP VIEW pareto_energy AS
SELECT a.id, a.task, a.split, a.scenario, a.energy_kind, a.value, a.uj_per_query
FROM summary AS a
WHERE a.ranked AND a.value IS NOT NULL AND a.uj_per_query IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM summary AS b
    WHERE b.ranked AND b.task = a.task AND b.task_version IS a.task_version AND b.split IS a.split
      AND b.data_hash IS a.data_hash AND b.scenario = a.scenario AND b.metric = a.metric AND b.examples = a.examples
      AND b.energy_kind = a.energy_kind
      AND b.value >= a.value AND b.uj_per_query <= a.uj_per_query
      AND (b.value > a.value OR b.uj_per_query < a.uj_per_query))
ORDER BY a.task, a.split, a.scenario, a.energy_kind DESC, a.uj_per_query;
