-- M11: the 168 cells of the local week. days = how often the weekday occurs in [from, to). Every user counts, also one without a roster row. Suppressed
-- (clicks and users NULL): a system of fewer than {{min_group_size}} entitled people, unless it has no roster at all.
CREATE OR REPLACE VIEW heatmap_hours AS
WITH
    {{zone}} AS current_zone,
    {{roster}} AS current_roster,
    {{split}} AS split, -- split
    [({from:Date}, {to:Date})] AS periods, -- filtered
    {{withheld_of_all}} AS withheld, -- filtered
    {{chosen_set}} AS chosen_set, -- filtered
    (
        SELECT count()
        FROM
        (
            SELECT 1
            FROM roster
            WHERE system = {system:String} AND version = current_roster AND kind = 'person'
                AND entitled_from < {to:Date} AND entitled_to > {from:Date} AND next_from >= {to:Date} AND entitled_from < entitled_to
                    AND {{chosen}} -- filtered
            LIMIT {{min_group_size}}
        )
    ) AS entitled_users,
    entitled_users > 0 AND entitled_users < {{min_group_size}}
        OR has(withheld, (1, 1, '')) -- filtered
        AS too_small
SELECT
    weekday,
    hour,
    sum(row_days) AS days,
    too_small AS suppressed,
    if(too_small OR {{filtered}}, NULL, sum(row_clicks)) AS clicks,
    if(too_small, NULL, sum(row_users)) AS users,
    if(too_small OR {{filtered}} OR days = 0, NULL, sum(row_clicks) / days) AS clicks_per_day,
    if(too_small OR days = 0, NULL, sum(row_users) / days) AS users_per_day
FROM
(
    SELECT
        toUInt8(1 + intDiv(number, 24)) AS weekday,
        toUInt8(number % 24) AS hour,
        intDiv({to:Date} - {from:Date} + 6 - (weekday + 7 - toDayOfWeek({from:Date})) % 7, 7) AS row_days,
        0 AS row_clicks,
        0 AS row_users
    FROM numbers(168)
    UNION ALL
    SELECT toDayOfWeek(local_date), local_hour, 0, clicks_of_hour, 0
    FROM
    (
        SELECT local_date, local_hour, sum(clicks) AS clicks_of_hour
        FROM feature_hours
        WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
        GROUP BY local_date, local_hour
    )
    UNION ALL
    SELECT toDayOfWeek(local_date) AS day_of_week, local_hour, 0, 0, bitmapCardinality({{set of users}})
    FROM hour_users
    WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
    GROUP BY day_of_week, local_hour
)
GROUP BY weekday, hour
