-- Where each partition stands, written by its worker every few seconds.
CREATE TABLE IF NOT EXISTS ingest_progress
(
    kafka_topic      LowCardinality(String),
    kafka_partition  UInt16,
    committed_offset UInt64,
    end_offset       UInt64,
    complete_through DateTime64(3, 'UTC'),
    worker           String,
    updated_at       DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY (kafka_topic, kafka_partition)
