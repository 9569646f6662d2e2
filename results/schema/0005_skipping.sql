-- What skipping is worth, and how evenly it falls.

-- Against the dense case of the same model, task, device and precision in the same run; NULL without one. Their quotient is
-- the efficiency of skipping: 1 where every operation saved saves its share of the time.
ALTER TABLE row ADD COLUMN flops_saved REAL CHECK (flops_saved <= 1);  -- share of the dense case's operations
ALTER TABLE row ADD COLUMN time_saved REAL CHECK (time_saved <= 1);  -- share of the dense case's time a sequence

-- Standard deviations over the sequences of a data set.
ALTER TABLE kept_layer ADD COLUMN tokens_share_sd REAL CHECK (tokens_share_sd >= 0);  -- of the share of its tokens that a sequence has left
ALTER TABLE kept_layer ADD COLUMN heads_kept_sd REAL CHECK (heads_kept_sd >= 0);  -- of the heads computed
