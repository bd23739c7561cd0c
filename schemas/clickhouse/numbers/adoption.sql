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
    {{split}} AS split, -- split
    {{withheld}} AS withheld, -- filtered
    {{periods}} AS periods
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
        group_of_set.1 AS is_total,
        group_of_set.2 AS group_name,
        bitmapCardinality(group_of_set.3) AS entitled_users,
        bitmapAndCardinality(group_of_set.3, active_set) AS active_users,
        unentitled_users,
        entitled_users > 0 AND entitled_users < {{min_group_size}} AS too_small,
        too_small OR (NOT is_total AND 2 = row_number() OVER (PARTITION BY period_number, is_total ORDER BY too_small DESC, entitled_users, group_name)
            AND 1 = sum(too_small) OVER (PARTITION BY period_number, is_total))
            OR has(withheld, (period_number, is_total, group_name)) OR has(withheld, (period_number, 1, '')) -- filtered
            AS suppressed
    FROM
    (
        SELECT
            period_number,
            groupBitmapMergeStateIf(users_of_part, part = 'activity') AS active_set,
            groupBitmapMergeStateIf(users_of_part, part = 'person') AS everybody,
            bitmapAndnotCardinality(active_set, groupBitmapMergeStateIf(users_of_part, part != 'activity')) AS unentitled_users,
            arrayPushBack(groupArrayIf((0, group_of_part, users_of_part), part = 'person'), (1, '', everybody)) AS sets
        FROM
        (
            SELECT period_number, part, group_of_part, {{users of groupBitmapMergeState(users_of_row)}} AS users_of_part
            FROM
            (
                -- The row that forms somebody's group in a period is the one with valid_from < its end <= valid_last; activity of a day is valid on it.
                SELECT
                    toString(kind) AS part,
                    toString(if(kind = 'person', {{group}}, '')) AS group_of_part,
                    entitled_from AS valid_from,
                    entitled_to AS valid_to,
                    next_from AS valid_last,
                    groupBitmapState(ordinal) AS users_of_row
                FROM roster
                WHERE system = {system:String} AND version = current_roster
                    AND entitled_from < {to:Date} AND entitled_to > {from:Date} AND entitled_from < entitled_to
                        AND {{chosen}} -- filtered
                GROUP BY part, group_of_part, valid_from, valid_to, valid_last
                UNION ALL
                SELECT 'activity', '', local_date, local_date + 1, toDate('2149-06-06'), users
                FROM day_users
                WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
                    AND activity = if({measure:String} = 'login', 'login', 'click')
            )
            ARRAY JOIN arrayFilter((i, p) -> valid_from < p.2 AND valid_to > p.1 AND valid_last >= p.2, arrayEnumerate(periods), periods) AS period_number
            GROUP BY period_number, part, group_of_part
        )
        GROUP BY period_number
    )
    ARRAY JOIN sets AS group_of_set
    WHERE is_total OR {by:String} IN ('unit', 'role', 'tier', 'site', 'phase')
)
