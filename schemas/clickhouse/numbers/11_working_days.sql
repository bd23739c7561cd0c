-- The working days of a system in [from, to): its weekdays without holidays, and the extra working days.
CREATE OR REPLACE VIEW working_days AS
SELECT day
FROM (SELECT arrayJoin(arrayMap(offset -> {from:Date} + offset, range(toUInt32({to:Date} - {from:Date})))) AS day) AS days
CROSS JOIN system_now(system = {system:String}) AS calendar
WHERE has(extra_days, day) OR (has(working_weekdays, toDayOfWeek(day)) AND NOT has(free_days, day))
