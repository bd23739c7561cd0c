-- M17: M3 on each of the first `days` days since the go-live of each phase that the definition has, before `until`. Day 0 is the day of go-live.
--   Day n: adoption over the last 28 days that end with it, none of them before go-live; a person counts in the phase of the last roster row valid then.
--   measure: as in adoption.
-- Suppressed (all NULL): what adoption by phase would suppress in the same window, so that the two cannot be subtracted.
CREATE OR REPLACE VIEW phases AS
WITH
    {{zone}} AS current_zone,
    {{roster}} AS current_roster,
    {{split}} AS split, -- split
    {{withheld_of_phases}} AS withheld, -- filtered
    (SELECT argMax(phases, version) FROM systems WHERE system = {system:String}) AS defined_phases,
    (SELECT arrayFlatten(arrayMap(p -> arrayMap(n -> (p.phase, n, greatest(p.go_live, p.go_live + n - 27), p.go_live + n + 1),
        range(toUInt32(greatest(0, least({days:UInt16}, {until:Date} - p.go_live))))), defined_phases))) AS points,
    (SELECT arrayDistinct(arrayMap(point -> (point.3, point.4), points))) AS periods
SELECT
    phase_name AS phase,
    day_number AS day,
    point_period.1 AS period_from,
    point_period.2 AS period_to,
    is_suppressed AS suppressed,
    if(is_suppressed, NULL, entitled_users) AS entitled,
    if(is_suppressed, NULL, active_users) AS active,
    if(is_suppressed OR entitled_users = 0, NULL, active_users / entitled_users) AS rate
FROM
(
    SELECT point.1 AS phase_name, toUInt16(point.2) AS day_number, (point.3, point.4) AS point_period
    FROM (SELECT arrayJoin(points) AS point)
) AS points_of_phase
LEFT JOIN
(
    SELECT
        phase_of_users,
        period,
        bitmapCardinality(entitled_set) AS entitled_users,
        bitmapAndCardinality(entitled_set, active_set) AS active_users,
        entitled_users < {{min_group_size}} AS too_small,
        too_small OR (2 = row_number() OVER (PARTITION BY period ORDER BY too_small DESC, entitled_users, phase_of_users)
            AND 1 = sum(too_small) OVER (PARTITION BY period))
            OR has(withheld, (indexOf(periods, period), 0, phase_of_users)) OR has(withheld, (indexOf(periods, period), 1, '')) -- filtered
            AS is_suppressed
    FROM
    (
        SELECT phase_of_users, period, {{users of groupBitmapMergeState(members)}} AS entitled_set
        FROM
        (
            SELECT toString(phase) AS phase_of_users, entitled_from, entitled_to, next_from, groupBitmapState(ordinal) AS members
            FROM roster
            WHERE system = {system:String} AND version = current_roster AND kind = 'person' AND entitled_from < entitled_to
                AND {{chosen}} -- filtered
            GROUP BY phase, entitled_from, entitled_to, next_from
        )
        ARRAY JOIN arrayFilter(p -> entitled_from < p.2 AND entitled_to > p.1 AND next_from >= p.2, periods) AS period
        GROUP BY phase_of_users, period
    ) AS entitled_of_period
    LEFT JOIN
    (
        SELECT period, {{users of groupBitmapMergeState(users)}} AS active_set
        FROM day_users
        ARRAY JOIN arrayFilter(p -> local_date >= p.1 AND local_date < p.2, periods) AS period
        WHERE system = {system:String} AND zone = current_zone AND local_date >= arrayMin(periods.1) AND local_date < arrayMax(periods.2)
            AND activity = if({measure:String} = 'login', 'login', 'click')
        GROUP BY period
    ) AS activity_of_period USING (period)
) AS groups_of_period ON phase_of_users = phase_name AND period = point_period
