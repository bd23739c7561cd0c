-- What changed final months of [from, to): a month is final 7 days after its end, local time. One row for each month and each hour in which something
-- did: `late_events` were stored, or a definition or a roster (not the first) came into force, which may change every month.
CREATE OR REPLACE VIEW revisions AS
WITH
    {{zone}} AS current_zone,
    if(current_zone = '', 'UTC', current_zone) AS timezone,
    (SELECT arrayDistinct(arrayMap(offset -> toStartOfMonth({from:Date} + offset), range(toUInt32({to:Date} - {from:Date}))))) AS months
SELECT
    changed_month AS month,
    changed_hour AS changed_at,
    sum(stored_events) AS late_events,
    max(is_definition) AS definition_changed,
    max(is_roster) AS roster_changed
FROM
(
    SELECT
        toStartOfMonth(toTimeZone(quarter, timezone)) AS changed_month,
        stored_hour AS changed_hour,
        sum(events) AS stored_events,
        0 AS is_definition,
        0 AS is_roster
    FROM arrivals
    WHERE system = {system:String} AND quarter >= toDateTime(toStartOfMonth({from:Date}), timezone)
        AND quarter < toDateTime(addMonths(toStartOfMonth({to:Date} - 1), 1), timezone) AND stored_hour >= quarter + 7 * 86400
    GROUP BY changed_month, changed_hour
    UNION ALL
    SELECT arrayJoin(months), toStartOfHour(fromUnixTimestamp64Micro(toInt64(version), 'UTC')), 0, 1, 0
    FROM systems
    WHERE system = {system:String} AND version > (SELECT min(version) FROM systems WHERE system = {system:String})
    UNION ALL
    SELECT arrayJoin(months), toStartOfHour(fromUnixTimestamp64Micro(toInt64(version), 'UTC')), 0, 0, 1
    FROM roster_versions
    WHERE system = {system:String} AND version > (SELECT min(version) FROM roster_versions WHERE system = {system:String})
)
WHERE changed_hour >= toDateTime(addMonths(changed_month, 1) + 7, timezone)
GROUP BY changed_month, changed_hour
