-- Every person entitled in the calendar month that begins on `month`, and whether the person is a champion (M22): both in that month and in the one
-- before, each by its own roster,
--   of the top tenth by working days with a click: as many days as the last of the first tenth (rounded up) of the persons entitled in it, or more, and
--   of a breadth of 75 % or more: features used ÷ features expected of the person's role. Expected are the catalogued features released before the end
--   of the month that name the role, or no role at all. Who has no expected feature is no champion.
-- active_days, used and expected are those of the month, and of champions only.
WITH
    {{calendar}} AS calendar,
    addMonths({month:Date}, -1) AS calendar_from,
    addMonths({month:Date}, 1) AS calendar_to,
    {{working_days}} AS working_days,
    bitmapBuild(CAST([], 'Array(UInt64)')) AS nobody
SELECT
    people.user AS user,
    people.group_of_user AS group_of_user,
    champions.months = 2 AS is_champion,
    champions.days_now AS active_days,
    champions.used_now AS used,
    champions.expected_now AS expected
FROM
(
    SELECT user, {{first ordinal}} AS first_ordinal, {{group}} AS group_of_user
    FROM roster
    WHERE system = {system:String} AND version = current_roster AND kind = 'person'
        AND entitled_from < calendar_to AND entitled_to > {month:Date} AND next_from >= calendar_to AND entitled_from < entitled_to
            AND {{chosen}} -- filtered
) AS people
LEFT JOIN
(
    SELECT
        first_ordinal,
        count() AS months,
        maxIf(days, is_now) AS days_now,
        maxIf(used_features, is_now) AS used_now,
        maxIf(expected_features, is_now) AS expected_now
    FROM
    (
        SELECT is_now, first_ordinal, any(leader_days) AS days, count() AS used_features, any(features_of_role) AS expected_features
        FROM
        (
            SELECT leaders.is_now AS is_now, leaders.role AS role, leaders.days AS leader_days, count() AS features_of_role,
                groupArrayArray(bitmapToArray(bitmapAnd(used_set, leader_set))) AS uses
            FROM
            (
                SELECT is_now, person.1 AS role, person.2 AS days, groupBitmapState(person.3) AS leader_set
                FROM
                (
                    SELECT is_now, groupArray((role_of_user, days_of_user, first_ordinal)) AS persons,
                        arrayReverseSort(arrayMap(person -> person.2, persons))[intDiv(length(persons) + 9, 10)] AS least_days
                    FROM
                    (
                        SELECT is_now, first_ordinal, max(row_role) AS role_of_user, sum(row_days) AS days_of_user
                        FROM
                        (
                            SELECT is_now, {{first ordinal}} AS first_ordinal, 1 AS is_person, toString(role) AS row_role, 0 AS row_days
                            FROM roster
                            ARRAY JOIN [0, 1] AS is_now
                            WHERE system = {system:String} AND version = current_roster AND kind = 'person' AND entitled_from < entitled_to
                                AND entitled_from < if(is_now, calendar_to, {month:Date}) AND next_from >= if(is_now, calendar_to, {month:Date})
                                AND entitled_to > if(is_now, {month:Date}, calendar_from)
                            UNION ALL
                            SELECT local_date >= {month:Date}, arrayJoin(bitmapToArray({{users of groupBitmapMergeState(users)}})), 0, '', 1
                            FROM day_users
                            WHERE system = {system:String} AND zone = current_zone AND local_date >= calendar_from AND local_date < calendar_to
                                AND activity = 'click' AND has(working_days, local_date)
                            GROUP BY local_date
                        )
                        GROUP BY is_now, first_ordinal
                        HAVING max(is_person)
                    )
                    GROUP BY is_now
                )
                ARRAY JOIN arrayFilter(person -> person.2 >= least_days AND person.2 > 0, persons) AS person
                GROUP BY is_now, role, days
            ) AS leaders
            INNER JOIN
            (
                SELECT is_now, feature, groupArrayArray(row_roles) AS roles, {{users of groupBitmapMergeState(row_users)}} AS used_set
                FROM
                (
                    SELECT is_now, toString(listed.1) AS feature, 1 AS is_expected, listed.4 AS row_roles, nobody AS row_users
                    FROM systems
                    ARRAY JOIN features AS listed
                    ARRAY JOIN [0, 1] AS is_now
                    WHERE system = {system:String} AND version = current_definition
                        AND ifNull(listed.3 < if(is_now, calendar_to, {month:Date}), 1)
                    UNION ALL
                    SELECT local_date >= {month:Date}, toString(feature), 0, [], users
                    FROM feature_users
                    WHERE system = {system:String} AND zone = current_zone AND local_date >= calendar_from AND local_date < calendar_to
                )
                GROUP BY is_now, feature
                HAVING max(is_expected)
            ) AS features ON leaders.is_now = features.is_now
            WHERE empty(roles) OR has(roles, leaders.role)
            GROUP BY is_now, role, leader_days
        )
        ARRAY JOIN uses AS first_ordinal
        GROUP BY is_now, first_ordinal
        HAVING 4 * used_features >= 3 * expected_features
    )
    GROUP BY first_ordinal
) AS champions ON people.first_ordinal = champions.first_ordinal
