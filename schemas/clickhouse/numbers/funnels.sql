-- M15: one row for each of `steps` (2 to 10 different features), numbered from 1.
--   A run is a click of the first step in [from, to) and, of each further step, the first click that is not before the one of the step before and at
--   most within_s seconds after the run began, up to the first step that has none. Clicks at the same moment may stand for successive steps.
--   A user counts for every step that any of his runs reaches. Times are those of his run that reached most steps; of several, of the one that
--   was complete first, and began last. median_seconds: since the click of the step before, of all users who reached this one.
-- A repeated event changes nothing. Every user counts, also one without a roster row.
-- Suppressed (all NULL): a step that somebody, but fewer than {{min_group_size}} users reached, and every step of a system of fewer entitled people.
CREATE OR REPLACE VIEW funnels AS
WITH
    {{zone}} AS current_zone,
    if(current_zone = '', 'UTC', current_zone) AS timezone,
    {{roster}} AS current_roster,
    {{split}} AS split, -- split
    [({from:Date}, {to:Date})] AS periods, -- filtered
    {{withheld_of_all}} AS withheld, -- filtered
    {{chosen_set}} AS chosen_set, -- filtered
    {steps:Array(String)} AS steps,
    toUInt64({within_s:UInt32}) * 1000 AS within_ms,
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
                    AND {{chosen}} -- filtered
            LIMIT {{min_group_size}}
        )
    )) AS entitled_users
SELECT
    step,
    steps[step] AS feature,
    (entitled_users > 0 AND entitled_users < {{min_group_size}}) OR (reached[step] > 0 AND reached[step] < {{min_group_size}})
        OR has(withheld, (1, 1, '')) -- filtered
        AS suppressed,
    if(suppressed, NULL, reached[step]) AS users,
    if(suppressed OR reached[1] = 0, NULL, reached[step] / reached[1]) AS conversion,
    if(suppressed OR step = 1 OR reached[step - 1] = 0, NULL, reached[step] / reached[step - 1]) AS step_conversion,
    if(suppressed OR step = 1 OR reached[step] = 0, NULL, medians[step] / 1000) AS median_seconds
FROM
(
    SELECT countForEach(waits) AS reached, quantileExactInclusiveForEach(0.5)(waits) AS medians
    FROM
    (
        -- The times between the clicks of each user's run; first_starts holds, for each step he reached, the start of the run that was first to.
        SELECT
            arrayDifference(arrayFold(
                (run, next_step) -> arrayPushBack(run, arrayFirst(p -> p.2 = next_step AND p.1 >= run[-1], points).1),
                range(2, 1 + length(first_starts)), [first_starts[-1]])) AS waits
        FROM
        (
            -- last_starts: for each click of a step the latest start of a run that it continues, else 0.
            SELECT
                points,
                arrayFilter(start -> start > 0, arrayFold(
                    (state, next_step) ->
                    (
                        arrayMap((p, start) -> if(p.2 = next_step AND start > 0 AND p.1 - start <= within_ms, start, 0), points, arrayFill(start -> start > 0, state.1)) AS last_starts,
                        arrayPushBack(state.2, arrayFirst(start -> start > 0, last_starts))
                    ),
                    range(2, 1 + length(steps)),
                    (arrayMap(p -> if(p.2 = 1, p.1, 0), points) AS starts, [arrayFirst(start -> start > 0, starts)])).2) AS first_starts
            FROM
            (
                SELECT arraySort(groupArray((toUInt64(toUnixTimestamp64Milli(time)), toUInt64(indexOf(steps, feature))))) AS points
                FROM raw_events
                WHERE system = {system:String} AND type = 'feature_click' AND feature IN {steps:Array(String)}
                    AND bitmapContains(assumeNotNull(chosen_set), {{first ordinal}}) -- filtered
                    AND time >= from_time AND time <= to_time + toIntervalSecond({within_s:UInt32})
                    AND (feature != steps[1] OR time < to_time)
                GROUP BY {{first ordinal}}
                HAVING arrayExists(p -> p.2 = 1, points)
            )
        )
    )
)
ARRAY JOIN arrayEnumerate(steps) AS step
