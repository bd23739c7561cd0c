-- What events that are stored while this runs are missing is added by the next run of the reconciler, which looks at their days. Rows of erased users
-- have the ordinal that what is left of their events has, or a number that is nobody's.
INSERT INTO feature_user_days (system, zone, rebuilt, feature, ordinal, local_date, clicks)
SELECT system, zone, rebuilt, feature, if(known.ordinal > 0, known.ordinal, bitOr(reinterpretAsUInt64(substring(user, 1, 8)), 9223372036854775808)), local_date, clicks
FROM feature_days
LEFT JOIN
(
    SELECT user, min(ordinal) AS ordinal
    FROM (SELECT user, ordinal FROM ordinals UNION ALL SELECT user, ordinal FROM erased_events)
    GROUP BY user
) AS known USING (user)
WHERE (SELECT count() FROM feature_user_days) = 0
