-- What is left of the raw events of erased users, so that rollups can be compared with the raw events and derived again: `user` is a random stand-in,
-- `time` is that of the quarter of an hour, and nothing leads to the event in Kafka or at its source.
CREATE TABLE IF NOT EXISTS erased_events
(
    system     LowCardinality(String),
    type       Enum8('login' = 1, 'feature_click' = 2, 'feedback' = 3),
    time       DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    user       FixedString(16) CODEC(ZSTD(1)),
    ordinal    UInt64 CODEC(ZSTD(1)),
    feature    LowCardinality(String),
    outcome    Enum8('' = 0, 'success' = 1, 'failure' = 2),
    zone       LowCardinality(String),
    local_date Date CODEC(Delta, ZSTD(1)),
    local_hour UInt8
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (system, time, user)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
