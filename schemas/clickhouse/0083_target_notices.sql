-- What the webhook is told, kept until it has been: one notice for each breach and each end of one, by the alert's id. The newest row of an id counts.
CREATE TABLE IF NOT EXISTS target_notices
(
    id         String,
    system     LowCardinality(String),
    day        Date,
    made_at    DateTime64(3, 'UTC'),
    body       String CODEC(ZSTD(3)),
    delivered  Bool,
    attempts   UInt32,
    last_error String,
    updated_at DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
