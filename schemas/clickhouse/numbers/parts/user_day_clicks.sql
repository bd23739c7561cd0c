-- The clicks of each user on each feature and day of [from, to), one row for each of the three; `current_zone`, `split` and `chosen_set` are names that the
-- number which holds this text defines. The key of feature_user_days begins with the day, so FINAL has to merge next to nothing and costs a tenth of a
-- GROUP BY. Only a day that was counted under another zone in part has rows that FINAL keeps apart (`rebuilt`), and so have users with several ordinals;
-- those are grouped. A day is left out as a number: ClickHouse 24.8 leaves out the whole month of a `local_date NOT IN`, as of the partition's key.
WITH rebuilt_days AS
(
    SELECT local_date
    FROM feature_hours
    WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
    GROUP BY local_date
    HAVING min(rebuilt) != max(rebuilt)
)
SELECT feature, clicks AS day_clicks
FROM feature_user_days FINAL
WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
    AND empty(split.1) -- split
    AND bitmapContains(assumeNotNull(chosen_set), {{first ordinal}}) -- filtered
    AND toUInt16(local_date) NOT IN (SELECT toUInt16(local_date) FROM rebuilt_days)
UNION ALL
SELECT feature, sum(clicks)
FROM feature_user_days
WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
    AND bitmapContains(assumeNotNull(chosen_set), {{first ordinal}}) -- filtered
    AND (
        notEmpty(split.1) OR -- split
        local_date IN (SELECT local_date FROM rebuilt_days))
GROUP BY feature, {{first ordinal}}, local_date
