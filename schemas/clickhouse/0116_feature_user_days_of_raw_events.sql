CREATE MATERIALIZED VIEW IF NOT EXISTS feature_user_days_of_raw_events TO feature_user_days AS
SELECT system, zone, toUInt8(0) AS rebuilt, feature, ordinal, local_date, count() AS clicks
FROM raw_events
WHERE type = 'feature_click'
GROUP BY system, zone, feature, ordinal, local_date
