-- The number that stands for a user in sets of users. Two users never share one; who was met by two workers at the same moment may have several.
-- Synced: an ordinal is on disk before an event that carries it.
CREATE TABLE IF NOT EXISTS ordinals
(
    user        FixedString(16),
    ordinal     UInt64,
    assigned_at DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree
ORDER BY (user, ordinal)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
