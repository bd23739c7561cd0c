-- Every ordinal of each user who has more than one; they all count as the smallest. Written before any of them but the first is used.
CREATE TABLE IF NOT EXISTS split_users
(
    user    FixedString(16),
    ordinal UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (user, ordinal)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
