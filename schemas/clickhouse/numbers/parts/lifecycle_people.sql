-- Every person entitled on the day `on` and the one state that the person is in. The first that applies:
--   never        no event of any kind until that day
--   dormant      no click in the last 28 days: also who never clicked, but logged in
--   at_risk      no click since the seventh working day back, that day included: a stop weighs more than how somebody came, so newcomers too.
--                With fewer than seven working days in the last 28 nobody is: who has no click in 28 days is dormant
--   new          no click before the last 28 days
--   resurrected  28 or more days without a click before the first one of the last 28 days: was dormant the day before it
--   returning    everybody else
-- The last 28 days end with `on`; both kinds of days are counted back from it. Only what is kept of single users is known.
WITH
    {{calendar}} AS calendar,
    {on:Date} - 27 AS calendar_from,
    {on:Date} + 1 AS calendar_to,
    arrayReverseSort({{working_days}})[7] AS quiet_from,
    (
        SELECT
        (
            {{users of groupBitmapMergeState(users)}},
            {{users of groupBitmapMergeStateIf(users, activity = 'click' AND local_date > {on:Date} - 28)}},
            {{users of groupBitmapMergeStateIf(users, activity = 'click' AND local_date >= quiet_from)}},
            {{users of groupBitmapMergeStateIf(users, activity = 'click' AND local_date <= {on:Date} - 28)}}
        )
        FROM day_users
        WHERE system = {system:String} AND zone = current_zone AND local_date <= {on:Date}
    ) AS sets,
    (
        SELECT groupBitmapMergeState(bitmapAndnot(set_of_day, set_before))
        FROM
        (
            SELECT groupBitmapMergeStateIf(day_set, back = 0) AS set_of_day, groupBitmapMergeStateIf(day_set, back > 0) AS set_before
            FROM
            (
                SELECT local_date, {{users of groupBitmapMergeState(users)}} AS day_set
                FROM day_users
                WHERE system = {system:String} AND zone = current_zone AND local_date > {on:Date} - 56 AND local_date <= {on:Date} AND activity = 'click'
                GROUP BY local_date
            )
            ARRAY JOIN range(29) AS back
            WHERE local_date + back > {on:Date} - 28 AND local_date + back <= {on:Date}
            GROUP BY local_date + back
        )
    ) AS came_back
SELECT
    user,
    {{first ordinal}} AS first_ordinal,
    {{group}} AS group_of_user,
    multiIf(
        NOT bitmapContains(sets.1, first_ordinal), 'never',
        NOT bitmapContains(sets.2, first_ordinal), 'dormant',
        NOT bitmapContains(sets.3, first_ordinal), 'at_risk',
        NOT bitmapContains(sets.4, first_ordinal), 'new',
        bitmapContains(came_back, first_ordinal), 'resurrected',
        'returning') AS state
FROM roster
WHERE system = {system:String} AND version = current_roster AND kind = 'person'
    AND entitled_from <= {on:Date} AND entitled_to > {on:Date}
        AND {{chosen}} -- filtered
