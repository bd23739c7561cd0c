CREATE MATERIALIZED VIEW IF NOT EXISTS feature_users_of_raw_events TO feature_users AS
SELECT system, zone, toUInt8(0) AS rebuilt, feature, local_date, groupBitmapState(ordinal) AS users
FROM raw_events
WHERE type = 'feature_click'
GROUP BY system, zone, feature, local_date
