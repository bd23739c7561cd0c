-- The newest definition of a system, as exactly one row. An undefined system has defined = 0, zone '' (its events are counted in UTC),
-- weeks that start on Monday and work from Monday to Friday.
CREATE OR REPLACE VIEW system_now AS
SELECT
    count() > 0 AS defined,
    argMax(zone, version) AS current_zone,
    if(count() = 0, toUInt8(1), argMax(week_start, version)) AS first_weekday,
    if(count() = 0, [1, 2, 3, 4, 5]::Array(UInt8), argMax(weekdays, version)) AS working_weekdays,
    argMax(holidays, version) AS free_days,
    argMax(extra_working_days, version) AS extra_days
FROM systems
WHERE system = {system:String}
