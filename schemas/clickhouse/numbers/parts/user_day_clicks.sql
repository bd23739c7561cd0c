-- The clicks of each user on each feature and day of [from, to), one row for each of the three; `current_zone` is a name that the number which holds this
-- text defines. The key of feature_days begins with the day, so FINAL has to merge next to nothing and costs a tenth of a GROUP BY. Only a day that was
-- counted under another zone in part has rows that FINAL keeps apart (`rebuilt`); those days are grouped.
WITH split_days AS
(
    SELECT local_date
    FROM feature_hours
    WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
    GROUP BY local_date
    HAVING min(rebuilt) != max(rebuilt)
)
SELECT feature, clicks AS day_clicks
FROM feature_days FINAL
WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
    AND {{is_chosen_user}} -- filtered
    AND local_date NOT IN (SELECT local_date FROM split_days)
UNION ALL
SELECT feature, sum(clicks)
FROM feature_days
WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
    AND {{is_chosen_user}} -- filtered
    AND local_date IN (SELECT local_date FROM split_days)
GROUP BY feature, user, local_date
