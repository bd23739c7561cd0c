-- M11: the 168 cells of the local week. days = how often the weekday occurs in [from, to). Every user counts, also one without a roster row. Suppressed
-- (clicks and users NULL): a system of fewer than {{min_group_size}} entitled people, unless it has no roster at all.
-- Users come from user_days.click_hours, a bit for each hour: one pass over users and days, not over events.
CREATE OR REPLACE VIEW heatmap_hours AS
WITH
    (SELECT argMax(zone, version) FROM systems WHERE system = {system:String}) AS current_zone,
    (SELECT max(version) FROM roster_versions WHERE system = {system:String}) AS current_roster,
    (
        SELECT uniqExact(user)
        FROM roster
        WHERE system = {system:String} AND version = current_roster AND kind = 'person'
            AND entitled_from < {to:Date} AND entitled_to > {from:Date} AND entitled_from < entitled_to
    ) AS entitled_users
SELECT
    weekday,
    hour,
    sum(row_days) AS days,
    entitled_users > 0 AND entitled_users < {{min_group_size}} AS suppressed,
    if(suppressed, NULL, sum(row_clicks)) AS clicks,
    if(suppressed, NULL, sum(row_users)) AS users,
    if(suppressed OR days = 0, NULL, sum(row_clicks) / days) AS clicks_per_day,
    if(suppressed OR days = 0, NULL, sum(row_users) / days) AS users_per_day
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
    SELECT toDayOfWeek(local_date), local_hour, 0, sum(clicks), 0
    FROM feature_hours
    WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
    GROUP BY ALL
    UNION ALL
    SELECT weekday, hour, 0, 0, sum(same)
    FROM
    (
        SELECT weekday, hours, count() AS same
        FROM
        (
            SELECT toDayOfWeek(local_date) AS weekday, groupBitOr(click_hours) AS hours
            FROM user_days
            WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date} AND click_hours > 0
            GROUP BY user, weekday
        )
        GROUP BY weekday, hours
    )
    ARRAY JOIN arrayFilter(h -> bitTest(hours, h), range(toUInt8(24))) AS hour
    GROUP BY weekday, hour
)
GROUP BY weekday, hour
