-- M5: on how many working days of [from, to) each entitled person logged in successfully, as a distribution per group (`by` as in adoption) and for the
-- whole system (is_total). `never` = no successful login on any day before `to`, counted inside days_0 too. Suppressed as in adoption.
CREATE OR REPLACE VIEW logins AS
WITH
    {{zone}} AS current_zone,
    {{roster}} AS current_roster,
    {{split}} AS split, -- split
    [({from:Date}, {to:Date})] AS periods, -- filtered
    {{withheld}} AS withheld, -- filtered
    {{calendar}} AS calendar,
    {from:Date} AS calendar_from,
    {to:Date} AS calendar_to,
    {{working_days}} AS working_days
SELECT
    is_total,
    group_name,
    suppressed,
    if(suppressed, NULL, entitled_users) AS entitled,
    if(suppressed, NULL, never_users) AS never,
    if(suppressed, NULL, users_0) AS days_0,
    if(suppressed, NULL, users_1_3) AS days_1_3,
    if(suppressed, NULL, users_4_10) AS days_4_10,
    if(suppressed, NULL, entitled_users - users_0 - users_1_3 - users_4_10) AS days_11,
    if(suppressed OR entitled_users = 0, NULL, mean_days) AS mean,
    if(suppressed OR entitled_users = 0, NULL, median_days) AS median
FROM
(
    SELECT
        grouping(group_of_user) = 1 AS is_total,
        group_of_user AS group_name,
        count() AS entitled_users,
        countIf(ever = 0) AS never_users,
        countIf(login_days = 0) AS users_0,
        countIf(login_days BETWEEN 1 AND 3) AS users_1_3,
        countIf(login_days BETWEEN 4 AND 10) AS users_4_10,
        avg(login_days) AS mean_days,
        quantileExactInclusive(0.5)(login_days) AS median_days,
        entitled_users > 0 AND entitled_users < {{min_group_size}} AS too_small,
        too_small OR (NOT is_total AND 2 = row_number() OVER (PARTITION BY is_total ORDER BY too_small DESC, entitled_users, group_name)
            AND 1 = sum(too_small) OVER (PARTITION BY is_total))
            OR has(withheld, (1, is_total, group_name)) OR has(withheld, (1, 1, '')) -- filtered
            AS suppressed
    FROM
    (
        SELECT max(row_group) AS group_of_user, max(row_ever) AS ever, sum(row_days) AS login_days
        FROM
        (
            SELECT
                {{first ordinal}} AS first_ordinal,
                {{group}} AS row_group,
                1 AS is_person,
                0 AS row_ever,
                0 AS row_days
            FROM roster
            WHERE system = {system:String} AND version = current_roster AND kind = 'person'
                AND entitled_from < {to:Date} AND entitled_to > {from:Date} AND next_from >= {to:Date} AND entitled_from < entitled_to
                    AND {{chosen}} -- filtered
            UNION ALL
            SELECT arrayJoin(bitmapToArray({{users of groupBitmapMergeState(users)}})), '', 0, 1, 0
            FROM day_users
            WHERE system = {system:String} AND zone = current_zone AND local_date < {to:Date} AND activity = 'login'
            UNION ALL
            SELECT arrayJoin(bitmapToArray({{users of groupBitmapMergeState(users)}})), '', 0, 0, 1
            FROM day_users
            WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
                AND activity = 'login' AND has(working_days, local_date)
            GROUP BY local_date
        )
        GROUP BY first_ordinal
        HAVING max(is_person)
    )
    GROUP BY GROUPING SETS ((group_of_user), ())
    HAVING is_total OR {by:String} IN ('unit', 'role', 'tier', 'site', 'phase')
)
