-- Where each target and group stood after the last working day until `on` that was evaluated: one row for each, of the targets that the definition has.
--   dimension: unit, role, tier, site, phase, or none for a target of the whole system, whose group_name is empty
--   since: first day of the state; days: working days in a row below the ramp (behind) or clear of it (recovering)
--   expected: what the rate should be by then (M20); target_rate: what it should be in the end; eligible: people whom the rate is about
--   day_rate, usual_rate: after a sudden drop, the rate of that day alone and the median of the last four same weekdays
-- An undecided day has no numbers (all NULL). Nothing is said of a suppressed group, nor of any group of a target that was evaluated while smaller groups
-- than {{min_group_size}} were shown: which of them would be suppressed now is known when the target is evaluated again.
CREATE OR REPLACE VIEW targets AS
WITH
    (
        SELECT JSONExtract(max(definition), 'targets', 'Array(Tuple(id String, target Float64))')
        FROM systems
        WHERE system = {system:String} AND version = {{definition}}
    ) AS defined
SELECT
    target,
    metric,
    dimension,
    group_name,
    day,
    is_suppressed AS suppressed,
    if(is_suppressed, 'undecided', state_then) AS state,
    if(is_suppressed, day, first_day_of_state) AS since,
    if(is_suppressed, 0, days_in_a_row) AS days,
    if(is_suppressed, 'suppressed', reason_then) AS reason,
    if(is_suppressed, NULL, rate_then) AS rate,
    if(is_suppressed, NULL, expected_then) AS expected,
    if(is_suppressed, NULL, people) AS eligible,
    if(is_suppressed, NULL, rate_of_day) AS day_rate,
    if(is_suppressed, NULL, rate_of_usual_day) AS usual_rate,
    defined.2[indexOf(defined.1, target)] AS target_rate
FROM
(
    SELECT
        target,
        metric,
        dimension,
        group_name,
        day,
        state AS state_then,
        since AS first_day_of_state,
        days AS days_in_a_row,
        reason AS reason_then,
        rate AS rate_then,
        expected AS expected_then,
        eligible AS people,
        day_value AS rate_of_day,
        usual_value AS rate_of_usual_day,
        reason_then = 'suppressed' OR max(ifNull(people < {{min_group_size}}, 0)) OVER (PARTITION BY target) AS is_suppressed
    FROM target_days FINAL
    WHERE system = {system:String} AND has(defined.1, target)
        AND day = (SELECT maxIf(day, working) FROM target_runs FINAL WHERE system = {system:String} AND day <= {on:Date})
)
