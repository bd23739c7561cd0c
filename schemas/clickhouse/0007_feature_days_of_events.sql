CREATE MATERIALIZED VIEW IF NOT EXISTS feature_days_of_events TO feature_days AS
SELECT system, zone, toUInt8(0) AS rebuilt, feature, user, local_date, count() AS clicks
FROM events
WHERE type = 'feature_click'
GROUP BY system, zone, feature, user, local_date
