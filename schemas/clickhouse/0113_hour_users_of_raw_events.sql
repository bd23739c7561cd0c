CREATE MATERIALIZED VIEW IF NOT EXISTS hour_users_of_raw_events TO hour_users AS
SELECT system, zone, toUInt8(0) AS rebuilt, local_date, local_hour, groupBitmapState(ordinal) AS users
FROM raw_events
WHERE type = 'feature_click'
GROUP BY system, zone, local_date, local_hour
