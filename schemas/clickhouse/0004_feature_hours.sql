-- Clicks per feature and local hour, without users.
CREATE TABLE IF NOT EXISTS feature_hours
(
    system     LowCardinality(String),
    zone       LowCardinality(String),
    rebuilt    UInt8,
    feature    LowCardinality(String),
    local_date Date,
    local_hour UInt8,
    clicks     SimpleAggregateFunction(sum, UInt64)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(local_date)
ORDER BY (system, zone, local_date, local_hour, feature, rebuilt)
SETTINGS non_replicated_deduplication_window = 10000
