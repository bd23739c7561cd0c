-- One row for each reject that was sent to the topic of events again. `refusal` stands for it: a hash of where its message was
-- refused first, how often it had been sent again, and the message. The origin is that of the reject in `rejects`.
CREATE TABLE IF NOT EXISTS retries
(
    refusal         FixedString(16),
    kafka_topic     LowCardinality(String),
    kafka_partition UInt16,
    kafka_offset    UInt64,
    retried_at      DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(retried_at)
ORDER BY refusal
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
