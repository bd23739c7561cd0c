-- How far the numbers of a window can be trusted, as one row (product.md, Trust). Dead letters that do not tell their system count for every system.
-- users_not_on_roster: users with any event and no roster row, of a person or a service account, on any day of the window.
CREATE OR REPLACE VIEW data_quality AS
WITH
    (SELECT if(count() = 0, 'UTC', argMax(zone, version)) FROM systems WHERE system = {system:String}) AS timezone,
    (SELECT argMax(zone, version) FROM systems WHERE system = {system:String}) AS current_zone,
    (SELECT max(version) FROM roster_versions WHERE system = {system:String}) AS current_roster,
    (SELECT argMax(features.feature, version) FROM systems WHERE system = {system:String}) AS catalogue
SELECT
    complete_through,
    consumer_lag,
    dead_letters,
    uncatalogued_click_share,
    users_not_on_roster,
    rebuilding
FROM
(
    SELECT
        if(count() = 0, NULL, min(through)) AS complete_through,
        if(count() = 0, NULL, toUInt64(sum(greatest(toInt64(ends) - toInt64(committed), 0)))) AS consumer_lag
    FROM
    (
        SELECT
            argMax(complete_through, updated_at) AS through,
            argMax(end_offset, updated_at) AS ends,
            argMax(committed_offset, updated_at) AS committed
        FROM ingest_progress
        GROUP BY kafka_topic, kafka_partition
    )
) AS progress
CROSS JOIN
(
    SELECT uniqExact(kafka_topic, kafka_partition, kafka_offset) AS dead_letters
    FROM rejects
    WHERE system IN ({system:String}, '')
        AND kafka_time >= toDateTime({from:Date}, timezone) AND kafka_time < toDateTime({to:Date}, timezone)
) AS refused
CROSS JOIN
(
    SELECT if(sum(clicks) = 0, NULL, sumIf(clicks, NOT has(catalogue, feature)) / sum(clicks)) AS uncatalogued_click_share
    FROM feature_hours
    WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
) AS clicked
CROSS JOIN
(
    SELECT uniqExact(user) AS users_not_on_roster
    FROM user_days
    WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
        AND user NOT IN
        (
            SELECT user
            FROM roster
            WHERE system = {system:String} AND version = current_roster
                AND entitled_from < {to:Date} AND entitled_to > {from:Date} AND entitled_from < entitled_to
        )
) AS strangers
CROSS JOIN
(
    SELECT count() > 0 AND argMax(finished, (started_at, updated_at)) = 0 AS rebuilding
    FROM rebuilds
    WHERE system = {system:String}
) AS rebuilds_now
