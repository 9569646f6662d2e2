-- verdicts: how the newest rows ended, by plugin.
CREATE TEMP VIEW verdicts AS
SELECT backend, verdict, count(*) AS rows
FROM summary
WHERE newest
GROUP BY backend, verdict
ORDER BY backend, verdict;
