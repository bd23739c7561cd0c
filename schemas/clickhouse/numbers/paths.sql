-- M16: what users click next after `after`, one row for each next feature. A path is two clicks of one user in [from, to), one right after the other:
-- of the same session; of clicks without a session, at most 30 minutes apart. Clicks at the same moment follow each other by feature, and those of
-- one feature count as one, so a repeated event changes nothing. `after` itself may follow.
--   users: who went this path; transitions: how often they did; after_users: who clicked `after` at all. Every user counts, also one without a roster row.
-- A path of fewer than {{min_group_size}} users is not shown. One more row, of feature '', tells how many are hidden.
-- Suppressed (all NULL, no paths): fewer than {{min_group_size}} users clicked `after`, or the system has fewer entitled people.
CREATE OR REPLACE VIEW paths AS
WITH
    {{zone}} AS current_zone,
    if(current_zone = '', 'UTC', current_zone) AS timezone,
    {{roster}} AS current_roster,
    {{split}} AS split, -- split
    toDateTime64({from:Date}, 3, timezone) AS from_time,
    toDateTime64({to:Date}, 3, timezone) AS to_time,
    assumeNotNull((
        SELECT count()
        FROM
        (
            SELECT 1
            FROM roster
            WHERE system = {system:String} AND version = current_roster AND kind = 'person'
                AND entitled_from < {to:Date} AND entitled_to > {from:Date} AND next_from >= {to:Date} AND entitled_from < entitled_to
            LIMIT {{min_group_size}}
        )
    )) AS entitled_users
SELECT
    path.1 AS feature,
    too_few AS suppressed,
    if(too_few, NULL, after_set_size) AS after_users,
    if(feature = '', NULL, path.2) AS users,
    if(feature = '', NULL, path.2 / after_set_size) AS share,
    if(feature = '', NULL, path.3) AS transitions,
    if(too_few OR feature != '', NULL, hidden) AS hidden_paths
FROM
(
    SELECT
        sumIf(next_users, next_feature = '') AS after_set_size,
        countIf(next_feature != '' AND next_users < {{min_group_size}}) AS hidden,
        groupArrayIf((next_feature, next_users, times), next_feature != '' AND next_users >= {{min_group_size}}) AS shown,
        (entitled_users > 0 AND entitled_users < {{min_group_size}}) OR (after_set_size > 0 AND after_set_size < {{min_group_size}}) AS too_few
    FROM
    (
        SELECT next_feature, uniqExact(first_ordinal) AS next_users, count() AS times
        FROM
        (
            SELECT
                {{first ordinal}} AS first_ordinal,
                arraySort(groupUniqArray((toUnixTimestamp64Milli(time), toString(feature)))) AS clicks,
                arrayPushBack(arrayPopFront(clicks), (0, '')) AS next_clicks,
                -- '' stands for `after` itself.
                arrayConcat([''], arrayMap(n -> n.2, arrayFilter(
                    (n, c) -> c.2 = {after:String} AND n.2 != '' AND (session != '' OR n.1 - c.1 <= 1800000), next_clicks, clicks))) AS next_features
            FROM raw_events
            WHERE system = {system:String} AND type = 'feature_click' AND time >= from_time AND time < to_time
                AND (first_ordinal, session) IN
                (
                    SELECT {{first ordinal}}, session
                    FROM raw_events
                    WHERE system = {system:String} AND type = 'feature_click' AND time >= from_time AND time < to_time AND feature = {after:String}
                )
            GROUP BY first_ordinal, session
        )
        ARRAY JOIN next_features AS next_feature
        GROUP BY next_feature
    )
)
ARRAY JOIN arrayConcat([('', toUInt64(0), toUInt64(0))], if(too_few, [], shown)) AS path
