-- energy_ranking: ranked rows by energy a query, measured and estimated each with places of their own, and so have rows of
-- other data, task versions and numbers of examples: a query is not the same there.
CREATE TEMP VIEW energy_ranking AS
SELECT energy_kind, task, scenario,
       rank() OVER (PARTITION BY energy_kind, task, task_version, split, data_hash, examples, scenario
                    ORDER BY uj_per_query) AS place,
       id, model, policy, backend, precision, uj_per_query, co2_ug_per_query, split, task_version, data_hash, examples
FROM summary
WHERE ranked AND uj_per_query IS NOT NULL
ORDER BY energy_kind DESC, task, scenario, split, task_version, data_hash, examples DESC, place;
