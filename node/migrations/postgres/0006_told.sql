-- The epoch of the gateway's log that was followed when a restore was done: a gateway that came back from a backup since, in a later
-- epoch, may have forgotten the restore, and is told again. Null in a restore that is not done, or was before this column.
ALTER TABLE restore ADD COLUMN gateway_epoch BIGINT;
-- The run in which the numbers of every pair go on from there, where this node and the gateway had both lost some. Null where none was begun.
ALTER TABLE restore ADD COLUMN run BIGINT;
