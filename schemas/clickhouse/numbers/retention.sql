-- M14: one row for each whole week (by the system's first day of the week) in [from, to), the cohort of the users whose first click is in it.
--   size: how many they are; active: of them, those with a click in week 0 (all), 1, 2 … after, up to the last whole week of the window
--   shares: active ÷ size
-- First means: of what is kept of single users. Users as in M2. Suppressed (NULL): a cohort of fewer than {{min_group_size}} users, but not one of nobody.
CREATE OR REPLACE VIEW retention AS
WITH
    {{zone}} AS current_zone,
    {{roster}} AS current_roster,
    {{split}} AS split, -- split
    [({from:Date}, {to:Date})] AS periods, -- filtered
    {{withheld_of_all}} AS withheld, -- filtered
    {{chosen_set}} AS chosen_set, -- filtered
    {from:Date} + (7 - (toDayOfWeek({from:Date}) + 7 - {{week_start}}) % 7) % 7 AS first_day,
    intDiv(greatest(toInt32({to:Date} - first_day), 0), 7) AS week_count
SELECT
    first_day + 7 * cohort_week AS cohort,
    cohort_size > 0 AND cohort_size < {{min_group_size}}
        OR has(withheld, (1, 1, '')) -- filtered
        AS suppressed,
    if(suppressed, NULL, cohort_size) AS size,
    if(suppressed, [], arrayMap(later -> bitmapAndCardinality(cohort_set, later.2), arraySort(later -> later.1, later_sets))) AS active,
    arrayMap(n -> n / nullIf(size, 0), active) AS shares
FROM
(
    SELECT
        cohort_week,
        bitmapAndnot(groupBitmapMergeStateIf(week_set, week = cohort_week), groupBitmapMergeStateIf(week_set, week < cohort_week)) AS cohort_set,
        bitmapCardinality(cohort_set) AS cohort_size,
        groupArrayIf((week, week_set), week >= cohort_week) AS later_sets
    FROM
    (
        SELECT week, {{set of week_users}} AS week_set
        FROM
        (
            SELECT if(local_date < first_day, -1, toInt32(intDiv(toInt32(local_date - first_day), 7))) AS week, users AS week_users
            FROM day_users
            WHERE system = {system:String} AND zone = current_zone AND local_date < first_day + 7 * week_count AND activity = 'click'
            UNION ALL
            SELECT toInt32(arrayJoin(range(toUInt32(week_count)))), bitmapBuild(CAST([], 'Array(UInt64)'))
        )
        GROUP BY week
    )
    ARRAY JOIN range(toUInt32(week_count)) AS cohort_week
    GROUP BY cohort_week
)
