-- Trees of long ago are purged, a day at a time.
CREATE INDEX tree_blocks_by_day ON tree_blocks (day);
CREATE INDEX tree_leaves_by_day ON tree_leaves (day);
