-- How far the numbers of a window can be trusted, as one row (product.md, Trust). Dead letters that do not tell their system count for every system; those that were sent again do not count.
-- users_not_on_roster: users with any event and no roster row, of a person or a service account, on any day of the window.
CREATE OR REPLACE VIEW data_quality AS
WITH
    {{zone}} AS current_zone,
    if(current_zone = '', 'UTC', current_zone) AS timezone,
    {{roster}} AS current_roster,
    {{split}} AS split,
    {{definition}} AS current_definition
SELECT
    if(max(reported) = 0, NULL, max(through)) AS complete_through,
    if(max(reported) = 0, NULL, max(behind)) AS consumer_lag,
    max(refused) AS dead_letters,
    if(sum(clicked) = 0, NULL, sum(uncatalogued) / sum(clicked)) AS uncatalogued_click_share,
    max(strangers) AS users_not_on_roster,
    max(unfinished) AS rebuilding
FROM
(
    SELECT
        count() AS reported,
        min(complete_through) AS through,
        toUInt64(sum(greatest(toInt64(end_offset) - toInt64(committed_offset), 0))) AS behind,
        0 AS refused,
        0 AS clicked,
        0 AS uncatalogued,
        0 AS strangers,
        0 AS unfinished
    FROM ingest_progress FINAL
    UNION ALL
    SELECT 0, toDateTime64(0, 3, 'UTC'), 0, uniqExact(kafka_topic, kafka_partition, kafka_offset), 0, 0, 0, 0
    FROM rejects
    WHERE system IN ({system:String}, '')
        AND (kafka_topic, kafka_partition, kafka_offset) NOT IN (SELECT kafka_topic, kafka_partition, kafka_offset FROM retries)
        AND kafka_time >= toDateTime({from:Date}, timezone) AND kafka_time < toDateTime({to:Date}, timezone)
    UNION ALL
    SELECT 0, toDateTime64(0, 3, 'UTC'), 0, 0, clicks_of_feature,
        if(feature IN (SELECT arrayJoin(features.feature) FROM systems WHERE system = {system:String} AND version = current_definition), 0, clicks_of_feature), 0, 0
    FROM
    (
        SELECT toString(feature) AS feature, sum(clicks) AS clicks_of_feature
        FROM feature_hours
        WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
        GROUP BY feature
    )
    UNION ALL
    SELECT 0, toDateTime64(0, 3, 'UTC'), 0, 0, 0, 0,
        bitmapAndnotCardinality(
            bitmapTransform(groupBitmapMergeState(users), split.1, split.2),
            (
                SELECT bitmapTransform(groupBitmapState(ordinal), split.1, split.2)
                FROM roster
                WHERE system = {system:String} AND version = current_roster
                    AND entitled_from < {to:Date} AND entitled_to > {from:Date} AND entitled_from < entitled_to
            )), 0
    FROM day_users
    WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
    UNION ALL
    SELECT 0, toDateTime64(0, 3, 'UTC'), 0, 0, 0, 0, 0, count() > 0 AND argMax(finished, (started_at, updated_at)) = 0
    FROM rebuilds
    WHERE system = {system:String}
)
