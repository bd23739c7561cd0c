CREATE MATERIALIZED VIEW IF NOT EXISTS day_users_of_raw_events TO day_users AS
SELECT
    system, zone, toUInt8(0) AS rebuilt, local_date,
    CAST(multiIf(type = 'feature_click', 'click', type = 'login' AND outcome = 'success', 'login', 'other'),
        'Enum8(\'click\' = 1, \'login\' = 2, \'other\' = 3)') AS activity,
    groupBitmapState(ordinal) AS users
FROM raw_events
GROUP BY system, zone, local_date, activity
