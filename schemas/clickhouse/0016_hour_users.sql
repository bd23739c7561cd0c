-- Who clicked in each local hour.
CREATE TABLE IF NOT EXISTS hour_users
(
    system     LowCardinality(String),
    zone       LowCardinality(String),
    rebuilt    UInt8,
    local_date Date,
    local_hour UInt8,
    users      AggregateFunction(groupBitmap, UInt64)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(local_date)
ORDER BY (system, zone, local_date, local_hour, rebuilt)
SETTINGS non_replicated_deduplication_window = 10000
