-- Messages refused in a window, by reason: those of the system, and those that do not tell theirs. `retried` of them were sent again.
CREATE OR REPLACE VIEW rejects_by_reason AS
WITH
    {{zone}} AS current_zone,
    if(current_zone = '', 'UTC', current_zone) AS timezone
SELECT
    reason,
    uniqExact(kafka_topic, kafka_partition, kafka_offset) AS refused,
    uniqExactIf((kafka_topic, kafka_partition, kafka_offset), (kafka_topic, kafka_partition, kafka_offset) IN
    (
        SELECT kafka_topic, kafka_partition, kafka_offset
        FROM retries
    )) AS retried
FROM rejects
WHERE system IN ({system:String}, '')
    AND kafka_time >= toDateTime({from:Date}, timezone) AND kafka_time < toDateTime({to:Date}, timezone)
GROUP BY reason
