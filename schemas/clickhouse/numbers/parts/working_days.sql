-- The working days of [calendar_from, calendar_to), two names that the number which holds this text defines.
SELECT groupArrayIf(day, has(extra_days, day) OR (has(working_weekdays, toDayOfWeek(day)) AND NOT has(free_days, day)))
FROM
(
    SELECT
        arrayJoin(arrayMap(offset -> calendar_from + offset, range(toUInt32(calendar_to - calendar_from)))) AS day,
        if(count() = 0, [1, 2, 3, 4, 5], argMax(weekdays, version)) AS working_weekdays,
        argMax(holidays, version) AS free_days,
        argMax(extra_working_days, version) AS extra_days
    FROM systems
    WHERE system = {system:String}
)
