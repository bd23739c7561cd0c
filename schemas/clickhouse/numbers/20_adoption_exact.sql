-- M1 to M3, exact: for each period of the grain, every group and the whole system (is_total = 1). A group is formed from the roster row valid on the
-- last day of the period, or the person's last row valid in it. `unentitled_users` are active without any roster row in the period: they belong to no
-- group. Service accounts on the roster are neither entitled nor unentitled.
-- Activity meets the roster in one aggregation by user, because that costs half of what a join of the two does.
CREATE OR REPLACE VIEW adoption_exact AS
SELECT
    period_from,
    group_name,
    grouping(group_name) = 1 AS is_total,
    countIf(standing = 2) AS entitled_users,
    countIf(standing = 2 AND active) AS active_users,
    countIf(standing = 0) AS unentitled_users
FROM
(
    SELECT period_from, max(row_standing) AS standing, max(row_active) AS active, argMax(row_group, row_rank) AS group_name
    FROM
    (
        SELECT
            period_from,
            user,
            toUInt8(if(kind = 'person', 2, 1)) AS row_standing,
            toUInt8(0) AS row_active,
            multiIf({by:String} = 'unit', unit, {by:String} = 'role', role, {by:String} = 'tier', tier,
                    {by:String} = 'site', site, {by:String} = 'phase', phase, '') AS row_group,
            if(kind = 'person', toUInt64(least(entitled_to, period_to)) * 65536 + toUInt64(entitled_from), 0) AS row_rank
        FROM roster
        CROSS JOIN
        (
            SELECT DISTINCT period_from, period_to
            FROM window_days(system = {system:String}, from = {from:Date}, to = {to:Date}, grain = {grain:String})
        ) AS periods
        WHERE system = {system:String}
            AND version = (SELECT max(version) FROM roster_versions WHERE system = {system:String})
            AND entitled_from < period_to AND entitled_to > period_from AND entitled_from < entitled_to
        UNION ALL
        SELECT
            greatest({from:Date}, multiIf(
                {grain:String} = 'day', local_date,
                {grain:String} = 'week', local_date - (toDayOfWeek(local_date) + 7
                    - (SELECT if(count() = 0, 1, argMax(week_start, version)) FROM systems WHERE system = {system:String})) % 7,
                {grain:String} = 'month', toStartOfMonth(local_date),
                {from:Date})) AS period_from,
            user, 0, 1, '', 0
        FROM user_days
        WHERE system = {system:String}
            AND zone = (SELECT argMax(zone, version) FROM systems WHERE system = {system:String})
            AND local_date >= {from:Date} AND local_date < {to:Date}
            AND if({measure:String} = 'login', logins, clicks) > 0
    )
    GROUP BY period_from, user
)
GROUP BY GROUPING SETS ((period_from, group_name), (period_from))
