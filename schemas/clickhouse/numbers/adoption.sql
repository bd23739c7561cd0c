-- M1 to M3: for each period of the grain, one row for every group and one for the whole system (is_total).
--   grain: day, week or month cuts the window into periods, clipped to it (M4); anything else leaves it whole.
--   by: unit, role, tier, site or phase; anything else gives totals only. A group is formed from the roster row valid on the last day of the
--     period, or the person's last row valid in it.
--   measure: login counts successful logins as activity, anything else feature clicks.
-- Suppressed (all NULL): a group, or a system, of fewer than {{min_group_size}} entitled people; and the next smallest group where only one is that
-- small, because the total less the others would tell it. `unentitled` = active without any roster row in the period; such users belong to no
-- group, so it stands in the total, where it is never hidden. Service accounts on the roster are neither entitled nor unentitled.
-- Activity meets the roster in one aggregation by user, which costs half of what joining them does.
CREATE OR REPLACE VIEW adoption AS
WITH
    {{zone}} AS current_zone,
    {{week_start}} AS first_weekday,
    {{roster}} AS current_roster
SELECT
    period_from,
    is_total,
    group_name,
    suppressed,
    if(suppressed, NULL, entitled_users) AS entitled,
    if(suppressed, NULL, active_users) AS active,
    if(suppressed OR entitled_users = 0, NULL, active_users / entitled_users) AS rate,
    if(is_total, unentitled_users, NULL) AS unentitled
FROM
(
    SELECT
        period_from,
        grouping(group_of_user) = 1 AS is_total,
        group_of_user AS group_name,
        sum(people) AS entitled_users,
        sum(active_people) AS active_users,
        sum(strangers) AS unentitled_users,
        entitled_users > 0 AND entitled_users < {{min_group_size}} AS too_small,
        too_small OR (NOT is_total AND 2 = row_number() OVER (PARTITION BY period_from, is_total ORDER BY too_small DESC, entitled_users, group_name)
            AND 1 = sum(too_small) OVER (PARTITION BY period_from, is_total)) AS suppressed
    FROM
    (
        SELECT
            period_from,
            group_of_user,
            countIf(standing > 1) AS people,
            countIf(standing > 1 AND is_active) AS active_people,
            countIf(standing = 0) AS strangers
        FROM
        (
            SELECT period_from, max(row_standing) AS standing, max(row_active) AS is_active, argMax(row_group, row_standing) AS group_of_user
            FROM
            (
                SELECT
                    greatest({from:Date}, grain_from) AS period_from,
                    reinterpretAsUInt64(user) AS user_key,
                    if(kind = 'person', toUInt32(entitled_from) + 2, 1) AS row_standing,
                    0 AS row_active,
                    if(kind = 'person', multiIf({by:String} = 'unit', unit, {by:String} = 'role', role, {by:String} = 'tier', tier,
                        {by:String} = 'site', site, {by:String} = 'phase', phase, ''), '') AS row_group
                FROM roster
                ARRAY JOIN if({grain:String} NOT IN ('day', 'week', 'month'), [{from:Date}],
                    arrayDistinct(arrayMap(
                        day -> multiIf({grain:String} = 'day', day,
                            {grain:String} = 'week', day - (toDayOfWeek(day) + 7 - first_weekday) % 7,
                            toStartOfMonth(day)),
                        arrayMap(offset -> {from:Date} + offset, range(toUInt32({to:Date} - {from:Date})))))) AS grain_from
                WHERE system = {system:String} AND version = current_roster
                    AND entitled_from < least({to:Date}, multiIf({grain:String} = 'day', grain_from + 1, {grain:String} = 'week', grain_from + 7,
                        {grain:String} = 'month', addMonths(grain_from, 1), {to:Date}))
                    AND entitled_to > greatest({from:Date}, grain_from) AND entitled_from < entitled_to
                UNION ALL
                SELECT
                    greatest({from:Date}, multiIf({grain:String} = 'day', local_date,
                        {grain:String} = 'week', local_date - (toDayOfWeek(local_date) + 7 - first_weekday) % 7,
                        {grain:String} = 'month', toStartOfMonth(local_date), {from:Date})),
                    reinterpretAsUInt64(user), 0, 1, ''
                FROM user_days
                WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
                    AND if({measure:String} = 'login', logins, clicks) > 0
            )
            GROUP BY period_from, user_key
        )
        GROUP BY period_from, group_of_user
    )
    GROUP BY GROUPING SETS ((period_from, group_of_user), (period_from))
    HAVING is_total OR (entitled_users > 0 AND {by:String} IN ('unit', 'role', 'tier', 'site', 'phase'))
)
