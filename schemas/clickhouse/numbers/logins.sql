-- M5: on how many working days of [from, to) each entitled person logged in successfully, as a distribution per group (`by` as in adoption) and for the
-- whole system (is_total). `never` = no successful login on any day before `to`, counted inside days_0 too. Suppressed as in adoption.
CREATE OR REPLACE VIEW logins AS
WITH
    (SELECT argMax(zone, version) FROM systems WHERE system = {system:String}) AS current_zone,
    (SELECT max(version) FROM roster_versions WHERE system = {system:String}) AS current_roster
SELECT
    is_total,
    group_name,
    too_small OR (NOT is_total AND small_groups = 1 AND place = 2) AS suppressed,
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
        *,
        entitled_users > 0 AND entitled_users < {{min_group_size}} AS too_small,
        sum(too_small) OVER (PARTITION BY is_total) AS small_groups,
        row_number() OVER (PARTITION BY is_total ORDER BY too_small DESC, entitled_users, group_name) AS place
    FROM
    (
        SELECT
            grouping(group_of_user) = 1 AS is_total,
            group_of_user AS group_name,
            count() AS entitled_users,
            countIf(first_login = 0) AS never_users,
            countIf(login_days = 0) AS users_0,
            countIf(login_days BETWEEN 1 AND 3) AS users_1_3,
            countIf(login_days BETWEEN 4 AND 10) AS users_4_10,
            avg(login_days) AS mean_days,
            quantileExactInclusive(0.5)(login_days) AS median_days
        FROM
        (
            SELECT
                argMax(row_group, row_rank) AS group_of_user,
                max(row_login) AS first_login,
                groupBitmapIf(row_day, row_day > 0) AS login_days
            FROM
            (
                SELECT
                    user,
                    multiIf({by:String} = 'unit', unit, {by:String} = 'role', role, {by:String} = 'tier', tier,
                        {by:String} = 'site', site, {by:String} = 'phase', phase, '') AS row_group,
                    toUInt32(entitled_from) + 1 AS row_rank,
                    0 AS row_login,
                    toUInt32(0) AS row_day
                FROM roster
                WHERE system = {system:String} AND version = current_roster AND kind = 'person'
                    AND entitled_from < {to:Date} AND entitled_to > {from:Date} AND entitled_from < entitled_to
                UNION ALL
                SELECT user, '', 0, 1, if(local_date IN
                    (
                        SELECT day
                        FROM
                        (
                            SELECT
                                arrayJoin(arrayMap(offset -> {from:Date} + offset, range(toUInt32({to:Date} - {from:Date})))) AS day,
                                if(count() = 0, [1, 2, 3, 4, 5], argMax(weekdays, version)) AS working_weekdays,
                                argMax(holidays, version) AS free_days,
                                argMax(extra_working_days, version) AS extra_days
                            FROM systems
                            WHERE system = {system:String}
                        )
                        WHERE has(extra_days, day) OR (has(working_weekdays, toDayOfWeek(day)) AND NOT has(free_days, day))
                    ), toUInt32(local_date), 0)
                FROM user_days
                WHERE system = {system:String} AND zone = current_zone AND local_date < {to:Date} AND logins > 0
            )
            GROUP BY user
            HAVING max(row_rank) > 0
        )
        GROUP BY GROUPING SETS ((group_of_user), ())
    )
    WHERE is_total OR {by:String} IN ('unit', 'role', 'tier', 'site', 'phase')
)
