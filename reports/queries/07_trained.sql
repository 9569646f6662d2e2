-- trained: each training beside each model that it made (NULL: not told), and how many models share it.
CREATE TEMP VIEW trained AS
SELECT m.model, count(m.model) OVER (PARTITION BY t.id) AS models, t.*
FROM training AS t LEFT JOIN training_model AS m ON m.training_id = t.id
ORDER BY t.id, m.model;
