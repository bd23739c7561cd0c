-- What is wrong with the events of a window, as one row. `timezone`, `current_zone`, `current_roster`, `current_definition` and `split` are names that the
-- number which holds this text defines.
SELECT
    max(refused) AS dead_letters,
    if(sum(clicked) = 0, NULL, sum(uncatalogued) / sum(clicked)) AS uncatalogued_click_share,
    max(strangers) AS users_not_on_roster
FROM
(
    SELECT uniqExact(kafka_topic, kafka_partition, kafka_offset) AS refused, 0 AS clicked, 0 AS uncatalogued, 0 AS strangers
    FROM rejects
    WHERE system IN ({system:String}, '')
        AND (kafka_topic, kafka_partition, kafka_offset) NOT IN (SELECT kafka_topic, kafka_partition, kafka_offset FROM retries)
        AND kafka_time >= toDateTime({from:Date}, timezone) AND kafka_time < toDateTime({to:Date}, timezone)
    UNION ALL
    SELECT
        0,
        sum(clicks),
        sumIf(clicks, feature NOT IN (SELECT arrayJoin(features.feature) FROM systems WHERE system = {system:String} AND version = current_definition)),
        0
    FROM feature_hours
    WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
    UNION ALL
    SELECT 0, 0, 0, bitmapAndnotCardinality(
        {{users of groupBitmapMergeState(users)}},
        (
            SELECT {{users of groupBitmapState(ordinal)}}
            FROM roster
            WHERE system = {system:String} AND version = current_roster
                AND entitled_from < {to:Date} AND entitled_to > {from:Date} AND entitled_from < entitled_to
        ))
    FROM day_users
    WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
)
