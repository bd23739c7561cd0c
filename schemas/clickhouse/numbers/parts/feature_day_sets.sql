-- The users of each feature on each day of [before_from, to), one row for each of both; `current_zone`, `split` and `before_from` are names that the number
-- which holds this text defines.
SELECT feature, local_date AS day, {{users of groupBitmapMergeState(users)}} AS used
FROM feature_users
WHERE system = {system:String} AND zone = current_zone AND local_date >= before_from AND local_date < {to:Date}
GROUP BY feature, local_date
