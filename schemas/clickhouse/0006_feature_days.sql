-- Clicks per feature, user and local day.
CREATE TABLE IF NOT EXISTS feature_days
(
    system     LowCardinality(String),
    zone       LowCardinality(String),
    rebuilt    UInt8,
    feature    LowCardinality(String),
    user       FixedString(16),
    local_date Date,
    clicks     SimpleAggregateFunction(sum, UInt64)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(local_date)
ORDER BY (system, zone, local_date, feature, user, rebuilt)
SETTINGS non_replicated_deduplication_window = 10000
