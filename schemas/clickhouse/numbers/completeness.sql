-- M24, as one row: arrived ÷ (arrived + refused + waiting + stalled) = completeness, all in events of [from, to).
--   refused: dead letters as in data_quality, that were not sent again
--   waiting: messages in Kafka that have not been counted, unless every event of the window has been
--   stalled: what the sources in `stalled_sources` would have sent. A source is stalled on a working day without any event of it, if it sent on at
--     least three quarters of the working days among the 28 days that end with the last one on which it did. It would have sent the mean of those
--     it did send on. One silent for more than 90 days was taken out of service. Only days that are counted whole can be stalled.
-- NULL before the first worker has reported, and where nothing is expected.
CREATE OR REPLACE VIEW completeness AS
WITH
    {{zone}} AS current_zone,
    if(current_zone = '', 'UTC', current_zone) AS timezone,
    {{calendar}} AS calendar,
    {from:Date} - 118 AS calendar_from,
    {to:Date} AS calendar_to,
    {{working_days}} AS working_days,
    (SELECT if(count() = 0, toDate(0), toDate(toTimeZone(min(complete_through), timezone))) FROM ingest_progress FINAL) AS uncounted_from
SELECT
    if(max(reported) = 0 OR expected = 0, NULL, sum(came) / expected) AS completeness,
    sum(came) AS arrived,
    sum(not_taken) AS refused,
    sum(behind) AS waiting,
    sum(silent) AS stalled,
    arraySort(groupArrayIf(name, silent > 0)) AS stalled_sources,
    sum(came) + sum(not_taken) + sum(behind) + sum(silent) AS expected
FROM
(
    SELECT
        '' AS name,
        count() > 0 AS reported,
        toUInt64(0) AS came,
        toUInt64(0) AS not_taken,
        toUInt64(if(min(complete_through) < toDateTime({to:Date}, timezone), sum(greatest(toInt64(end_offset) - toInt64(committed_offset), 0)), 0)) AS behind,
        toFloat64(0) AS silent
    FROM ingest_progress FINAL
    UNION ALL
    SELECT '', 0, 0, uniqExact(kafka_topic, kafka_partition, kafka_offset), 0, 0
    FROM rejects
    WHERE system IN ({system:String}, '')
        AND (kafka_topic, kafka_partition, kafka_offset) NOT IN (SELECT kafka_topic, kafka_partition, kafka_offset FROM retries)
        AND kafka_time >= toDateTime({from:Date}, timezone) AND kafka_time < toDateTime({to:Date}, timezone)
    UNION ALL
    SELECT source_name, 0, came_in_window, 0, 0, arraySum(arrayMap(
        last_day -> if(last_day.1 > 0 AND 4 * countEqual(arrayMap(d -> d.1 > last_day.2 - 28 AND d.1 <= last_day.2, sent), 1)
            >= 3 * arrayCount(d -> d > last_day.2 - 28 AND d <= last_day.2, working_days),
            arrayAvg(arrayMap(d -> d.2, arrayFilter(d -> d.1 > last_day.2 - 28 AND d.1 <= last_day.2, sent))), 0),
        arrayMap(silent_day -> (arrayCount(d -> d.1 < silent_day AND d.1 >= silent_day - 90, sent),
                arrayMax(arrayMap(d -> if(d.1 < silent_day, d.1, toDate(0)), sent))),
            arrayFilter(d -> d >= {from:Date} AND d < uncounted_from AND NOT has(sent.1, d), working_days))))
    FROM
    (
        SELECT
            source_name,
            sumIf(events_of_day, sent_on >= {from:Date}) AS came_in_window,
            groupArrayIf((sent_on, events_of_day), has(working_days, sent_on)) AS sent
        FROM
        (
            SELECT toString(source) AS source_name, toDate(toTimeZone(quarter, timezone)) AS sent_on, sum(events) AS events_of_day
            FROM arrivals
            WHERE system = {system:String} AND quarter >= toDateTime({from:Date} - 118, timezone) AND quarter < toDateTime({to:Date}, timezone)
            GROUP BY source_name, sent_on
        )
        GROUP BY source_name
        HAVING notEmpty(sent) OR came_in_window > 0
    )
)
