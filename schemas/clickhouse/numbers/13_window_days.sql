-- The days of [from, to), each with the period of the grain ('' = the whole window, day, week, month) that it lies in, clipped to the window (M4).
CREATE OR REPLACE VIEW window_days AS
SELECT
    day,
    greatest({from:Date}, multiIf(
        {grain:String} = 'day', day,
        {grain:String} = 'week', day - (toDayOfWeek(day) + 7 - first_weekday) % 7,
        {grain:String} = 'month', toStartOfMonth(day),
        {from:Date})) AS period_from,
    max(day) OVER (PARTITION BY period_from) + 1 AS period_to
FROM (SELECT arrayJoin(arrayMap(offset -> {from:Date} + offset, range(toUInt32({to:Date} - {from:Date})))) AS day) AS days
CROSS JOIN system_now(system = {system:String}) AS calendar
