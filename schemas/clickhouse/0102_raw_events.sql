-- Every accepted event, once. The key ends in the event's identity, so that a repeat which slipped past the workers is replaced. Ordered by time as it
-- comes: rows next to each other have nearly the same time and offset. A user stands in it by ordinal, see 0014_ordinals.
-- local_date and local_hour are the worker's, in `zone`; zone '' means that the system had no definition yet and UTC was used.
-- `stored_at` is when ClickHouse stored the row, by its own clock. `ingested_at` is the worker's: a batch that had to wait is stored long after it.
-- An insert writes one file, not two for each column; merges past min_bytes_for_wide_part write columns apart, which is what long reads want.
CREATE TABLE IF NOT EXISTS raw_events
(
    system          LowCardinality(String),
    type            Enum8('login' = 1, 'feature_click' = 2, 'feedback' = 3),
    time            DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    ordinal         UInt64 CODEC(ZSTD(1)),
    feature         LowCardinality(String),
    session         String CODEC(ZSTD(1)),
    element         LowCardinality(String),
    outcome         Enum8('' = 0, 'success' = 1, 'failure' = 2),
    method          LowCardinality(String),
    score           UInt8,
    category        LowCardinality(String),
    comment         String CODEC(ZSTD(1)),
    source          LowCardinality(String),
    identity        UInt64 CODEC(NONE),
    zone            LowCardinality(String),
    local_date      Date CODEC(Delta, ZSTD(1)),
    local_hour      UInt8 CODEC(ZSTD(1)),
    kafka_topic     LowCardinality(String),
    kafka_partition UInt16 CODEC(ZSTD(1)),
    kafka_offset    UInt64 CODEC(Delta, ZSTD(1)),
    ingested_at     DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    stored_at       DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    INDEX by_offset kafka_offset TYPE minmax GRANULARITY 4,
    INDEX by_storage stored_at TYPE minmax GRANULARITY 4
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (system, time, identity)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, min_bytes_for_wide_part = 67108864
