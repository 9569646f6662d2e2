-- energy_ranking: ranked rows by energy a query, measured and estimated each with places of their own.
CREATE TEMP VIEW energy_ranking AS
SELECT energy_kind, task, scenario,
       rank() OVER (PARTITION BY energy_kind, task, split, scenario ORDER BY uj_per_query) AS place,
       id, model, policy, backend, precision, uj_per_query, co2_ug_per_query
FROM summary
WHERE ranked AND uj_per_query IS NOT NULL
ORDER BY energy_kind DESC, task, scenario, place;
