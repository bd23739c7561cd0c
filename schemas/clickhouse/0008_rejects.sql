-- One row for each event refused to the dead-letter topic, which holds the event itself. Keyed by origin: a repeat is replaced.
CREATE TABLE IF NOT EXISTS rejects
(
    kafka_topic     LowCardinality(String),
    kafka_partition UInt16,
    kafka_offset    UInt64,
    kafka_time      DateTime64(3, 'UTC'),
    system          LowCardinality(String),
    reason          LowCardinality(String)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(kafka_time)
ORDER BY (kafka_topic, kafka_partition, kafka_offset)
SETTINGS non_replicated_deduplication_window = 10000
