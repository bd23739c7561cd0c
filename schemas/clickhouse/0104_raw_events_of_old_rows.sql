-- May be cut off and begin anew: what is there already is replaced.
INSERT INTO raw_events (system, type, time, ordinal, feature, session, element, outcome, method, score, category, comment, source, identity, zone,
    local_date, local_hour, kafka_topic, kafka_partition, kafka_offset, ingested_at, stored_at)
SELECT system, type, time, ordinal, feature, session, element, outcome, method, score, category, comment, source, reinterpretAsUInt64(reverse(substring(identity, 9))), zone,
    local_date, local_hour, kafka_topic, kafka_partition, kafka_offset, ingested_at, stored_at
FROM events
SETTINGS max_execution_time = 0, max_partitions_per_insert_block = 0
