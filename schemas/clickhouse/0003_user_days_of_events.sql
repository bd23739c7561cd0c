CREATE MATERIALIZED VIEW IF NOT EXISTS user_days_of_events TO user_days AS
SELECT
    system, zone, toUInt8(0) AS rebuilt, user, local_date,
    count() AS events,
    countIf(type = 'login' AND outcome = 'success') AS logins,
    countIf(type = 'login' AND outcome = 'failure') AS failed_logins,
    countIf(type = 'feature_click') AS clicks,
    groupBitOr(if(type = 'feature_click', toUInt32(bitShiftLeft(toUInt32(1), local_hour)), toUInt32(0))) AS click_hours,
    min(time) AS first_time,
    max(time) AS last_time
FROM events
GROUP BY system, zone, user, local_date
