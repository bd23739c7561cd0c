CREATE MATERIALIZED VIEW IF NOT EXISTS feature_hours_of_raw_events TO feature_hours AS
SELECT system, zone, toUInt8(0) AS rebuilt, feature, local_date, local_hour, count() AS clicks
FROM raw_events
WHERE type = 'feature_click'
GROUP BY system, zone, feature, local_date, local_hour
