-- What a layer skips besides tokens and heads. NULL where its policy has nothing of the kind.

ALTER TABLE kept_layer ADD COLUMN exits REAL CHECK (exits >= 0);  -- share of the sequences that left behind the layer
ALTER TABLE kept_layer ADD COLUMN blocks_open REAL CHECK (blocks_open >= 0);  -- share of the rows' blocks of FFN neurons
ALTER TABLE kept_layer ADD COLUMN blocks_done REAL CHECK (blocks_done >= 0);  -- the same, those really multiplied
