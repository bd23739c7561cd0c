-- Erasures under way, with the random stand-in that takes the user's place. A row is deleted when its erasure is over, and with it all that
-- connects the two. While there is one, no rollup is compared with the raw events.
CREATE TABLE IF NOT EXISTS erasing
(
    tombstone FixedString(16),
    stand_in  FixedString(16),
    begun_at  DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY tombstone
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
