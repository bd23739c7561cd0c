-- M1 to M3: for each period, one row for every group and one for the whole system (is_total).
--   periods: the days, weeks or months (grain) of the window, clipped to it (M4), or the whole window.
--   by: unit, role, tier, site or phase; anything else gives totals only. A group is formed from the person's last roster row valid in the period.
--   measure: login counts successful logins as activity, anything else feature clicks.
-- Suppressed (all NULL): a group, or a system, of fewer than {{min_group_size}} entitled people; and the next smallest group where only one is that
-- small, because the total less the others would tell it. `unentitled` = active without any roster row in the period; such users belong to no
-- group, so it stands in the total, where it is never hidden. Service accounts on the roster are neither entitled nor unentitled.
CREATE OR REPLACE VIEW adoption AS
WITH
    {{zone}} AS current_zone,
    {{roster}} AS current_roster,
    {{split}} AS split,
    {{periods}} AS periods,
    {{withheld}} AS withheld
SELECT
    periods[period_number].1 AS period_from,
    periods[period_number].2 AS period_to,
    is_total,
    group_name,
    suppressed,
    if(suppressed, NULL, entitled_users) AS entitled,
    if(suppressed, NULL, active_users) AS active,
    if(suppressed OR entitled_users = 0, NULL, active_users / entitled_users) AS rate,
    if(is_total AND NOT {{filtered}}, unentitled_users, NULL) AS unentitled
FROM
(
    SELECT
        period_number,
        grouping(group_of_user) = 1 AS is_total,
        group_of_user AS group_name,
        sum(is_person) AS entitled_users,
        sum(is_person AND is_active) AS active_users,
        toUInt64(any(active_set_size) - uniqExactIf(first_ordinal, is_active)) AS unentitled_users,
        entitled_users > 0 AND entitled_users < {{min_group_size}} AS too_small,
        too_small OR (NOT is_total AND 2 = row_number() OVER (PARTITION BY period_number, is_total ORDER BY too_small DESC, entitled_users, group_name)
            AND 1 = sum(too_small) OVER (PARTITION BY period_number, is_total))
            OR has(withheld, (period_number, is_total, group_name)) OR has(withheld, (period_number, 1, '')) AS suppressed
    FROM
    (
        SELECT
            period_number,
            group_of_user,
            is_person,
            first_ordinal,
            bitmapContains(active_set, first_ordinal) AS is_active,
            bitmapCardinality(active_set) AS active_set_size
        FROM
        (
            SELECT
                period_number,
                kind = 'person' AS is_person,
                if(is_person, {{group}}, '') AS group_of_user,
                transform(ordinal, split.1, split.2, ordinal) AS first_ordinal
            FROM roster
            ARRAY JOIN periods AS period, arrayEnumerate(periods) AS period_number
            WHERE system = {system:String} AND version = current_roster
                AND entitled_from < period.2 AND entitled_to > period.1 AND next_from >= period.2 AND entitled_from < entitled_to AND {{chosen}}
        ) AS roster_of_period
        FULL JOIN
        (
            SELECT period_number, bitmapTransform(groupBitmapMergeState(users), split.1, split.2) AS active_set
            FROM day_users
            ARRAY JOIN arrayFilter((i, p) -> local_date >= p.1 AND local_date < p.2, arrayEnumerate(periods), periods) AS period_number
            WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
                AND activity = if({measure:String} = 'login', 'login', 'click')
            GROUP BY period_number
        ) AS activity_of_period USING (period_number)
    )
    GROUP BY GROUPING SETS ((period_number, group_of_user), (period_number))
    HAVING is_total OR (entitled_users > 0 AND {by:String} IN ('unit', 'role', 'tier', 'site', 'phase'))
)
