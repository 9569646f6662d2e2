-- What rows did not keep.

-- What was asked for where it was not kept: it tells one case from another. NULL in rows of older schemas and in the
-- line of what took effect, which `row` names (a policy by its own name, a device by its plugin's id).
ALTER TABLE settings ADD COLUMN device TEXT;  -- a plugin, or plugin:device
ALTER TABLE settings ADD COLUMN policy TEXT;  -- its full path, or 'dense'
ALTER TABLE settings ADD COLUMN data TEXT;  -- full path of the root folder of the data sets
ALTER TABLE settings ADD COLUMN tune INTEGER CHECK (tune IN (0, 1));  -- fitted to the device by its cost table

ALTER TABLE energy ADD COLUMN note TEXT;  -- what to know of the total: a channel that was left out of it

-- A model that a training made. A recipe's training makes several.
CREATE TABLE training_model (
    training_id INTEGER NOT NULL REFERENCES training (id) ON DELETE CASCADE,
    model       TEXT NOT NULL CHECK (model <> ''),  -- as rows name it
    PRIMARY KEY (training_id, model)
) STRICT, WITHOUT ROWID;

INSERT INTO training_model SELECT id, model FROM training WHERE model <> '';
ALTER TABLE training DROP COLUMN model;
