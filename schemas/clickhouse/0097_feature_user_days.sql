-- Clicks per feature, user and local day. A user stands in it by ordinal, as in the sets: a tenth of the room of a pseudonym, and nobody's any more once
-- the ordinal is forgotten. Who has several ordinals has rows of each.
CREATE TABLE IF NOT EXISTS feature_user_days
(
    system     LowCardinality(String),
    zone       LowCardinality(String),
    rebuilt    UInt8,
    feature    LowCardinality(String),
    ordinal    UInt64 CODEC(Delta, ZSTD(1)),
    local_date Date,
    clicks     SimpleAggregateFunction(sum, UInt64)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(local_date)
ORDER BY (system, zone, local_date, feature, ordinal, rebuilt)
SETTINGS non_replicated_deduplication_window = 10000
