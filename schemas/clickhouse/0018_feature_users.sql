-- Who clicked each feature on each local day.
CREATE TABLE IF NOT EXISTS feature_users
(
    system     LowCardinality(String),
    zone       LowCardinality(String),
    rebuilt    UInt8,
    feature    LowCardinality(String),
    local_date Date,
    users      AggregateFunction(groupBitmap, UInt64)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(local_date)
ORDER BY (system, zone, local_date, feature, rebuilt)
SETTINGS non_replicated_deduplication_window = 10000
