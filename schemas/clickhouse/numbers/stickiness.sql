-- M6: one row for each working day of [from, to) with the users active on it (dau), those active in the 28 days that end with it (mau) and dau ÷ mau, and
-- one for the whole window (is_total), whose ratio is the mean of the days' ratios. A day with nobody in its 28 days has no ratio and does not count.
--   ceiling: the ratio, if everybody of the 28 days had been active on each of their working days. On a working day that is 1, so the mean over
--   working days has the ceiling 1 whatever the calendar; there is none where the window has no working day.
-- Users as in M2: anybody with a click, with or without a roster row. Suppressed as in heatmap_hours.
CREATE OR REPLACE VIEW stickiness AS
WITH
    {{zone}} AS current_zone,
    {{roster}} AS current_roster,
    {{split}} AS split, -- split
    [({from:Date}, {to:Date})] AS periods, -- filtered
    {{withheld_of_all}} AS withheld, -- filtered
    {{chosen_set}} AS chosen_set, -- filtered
    {{calendar}} AS calendar,
    {from:Date} AS calendar_from,
    {to:Date} AS calendar_to,
    {{working_days}} AS working_days,
    assumeNotNull((
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
    )) AS entitled_users,
    entitled_users > 0 AND entitled_users < {{min_group_size}}
        OR has(withheld, (1, 1, '')) -- filtered
        AS suppressed
SELECT
    grouping(working_day) = 1 AS is_total,
    working_day,
    suppressed,
    if(suppressed OR is_total, NULL, sum(users_of_day)) AS dau,
    if(suppressed OR is_total, NULL, sum(users_of_28_days)) AS mau,
    if(suppressed, NULL, avg(users_of_day / nullIf(users_of_28_days, 0))) AS ratio,
    if(suppressed OR is_total = 0 OR countIf(working_day != '1970-01-01') = 0, NULL, 1.) AS ceiling
FROM
(
    SELECT
        local_date + back AS working_day,
        groupBitmapMergeIf(day_set, back = 0) AS users_of_day,
        groupBitmapMerge(day_set) AS users_of_28_days
    FROM
    (
        SELECT local_date, {{set of users}} AS day_set
        FROM day_users
        WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} - 27 AND local_date < {to:Date} AND activity = 'click'
        GROUP BY local_date
        UNION ALL
        SELECT arrayJoin(working_days), bitmapBuild(CAST([], 'Array(UInt64)'))
    )
    ARRAY JOIN range(28) AS back
    WHERE has(working_days, local_date + back)
    GROUP BY working_day
)
GROUP BY GROUPING SETS ((working_day), ())
