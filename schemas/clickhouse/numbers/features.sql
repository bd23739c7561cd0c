-- M7 to M10: one row for each feature that is catalogued or was clicked in [from, to). The window before is the one of equal length that ends at `from`.
--   expected_users ÷ expected = breadth: entitled persons whose role is expected to use the feature (all, where no role is declared)
--   users, adopted: entitled persons, whatever their role; adopted = on two or more days of the window's last 28
--   clicks, depth: of every user, also of those without a roster row
-- Depth needs the clicks of each user and day: FINAL merges rows that are sorted already, at a tenth of what a GROUP BY of them costs. Only a day that
-- was counted under another zone in part has rows that FINAL keeps apart (`rebuilt`); those days are grouped.
-- Suppressed (numbers NULL): fewer than {{min_group_size}} people expected, or entitled at all. Without any roster clicks and depth are shown.
CREATE OR REPLACE VIEW features AS
WITH
    (SELECT argMax(zone, version) FROM systems WHERE system = {system:String}) AS current_zone,
    (SELECT max(version) FROM systems WHERE system = {system:String}) AS current_definition,
    (SELECT max(version) FROM roster_versions WHERE system = {system:String}) AS current_roster,
    {from:Date} - ({to:Date} - {from:Date}) AS before_from,
    people AS
    (
        SELECT
            user,
            max(entitled_to > {from:Date} AND entitled_from < {to:Date}) AS entitled_now,
            argMaxIf(role, entitled_from, entitled_to > {from:Date} AND entitled_from < {to:Date}) AS role_now,
            max(entitled_to > before_from AND entitled_from < {from:Date}) AS entitled_before,
            argMaxIf(role, entitled_from, entitled_to > before_from AND entitled_from < {from:Date}) AS role_before
        FROM roster
        WHERE system = {system:String} AND version = current_roster AND kind = 'person'
            AND entitled_from < {to:Date} AND entitled_to > before_from AND entitled_from < entitled_to
        GROUP BY user
    ),
    split_days AS
    (
        SELECT local_date
        FROM feature_hours
        WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
        GROUP BY local_date
        HAVING min(rebuilt) != max(rebuilt)
    ),
    (SELECT (groupArray(role_now), groupArray(n)) FROM (SELECT role_now, count() AS n FROM people WHERE entitled_now GROUP BY role_now)) AS roles_now,
    (SELECT (groupArray(role_before), groupArray(n)) FROM (SELECT role_before, count() AS n FROM people WHERE entitled_before GROUP BY role_before)) AS roles_before
SELECT
    feature,
    splitByChar('.', feature)[1] AS module,
    title,
    catalogued,
    released,
    (expected_now > 0 AND expected_now < {{min_group_size}}) OR (arraySum(roles_now.2) > 0 AND arraySum(roles_now.2) < {{min_group_size}}) AS suppressed,
    if(suppressed, NULL, users_now) AS users,
    if(suppressed, NULL, expected_users_now) AS expected_users,
    if(suppressed, NULL, expected_now) AS expected,
    if(suppressed OR expected_now = 0, NULL, expected_users_now / expected_now) AS breadth,
    if(suppressed, NULL, clicks_now) AS clicks,
    if(suppressed OR clicks_now = 0, NULL, median_clicks) AS depth,
    if(suppressed, NULL, adopted_now) AS adopted,
    suppressed OR expected_before = 0 OR expected_before < {{min_group_size}} AS unknown_before,
    if(unknown_before, NULL, expected_users_before / expected_before) AS previous_breadth,
    if(unknown_before OR expected_users_before = 0 OR expected_now = 0, NULL, breadth / previous_breadth - 1) AS change,
    NOT suppressed AND catalogued AND clicks_now = 0 AND ifNull(released < {to:Date}, 1) AS unused,
    NOT unknown_before AND expected_users_before > 0 AND expected_now > 0
        AND 5 * expected_users_now * expected_before <= 4 * expected_users_before * expected_now AS declining
FROM
(
    SELECT
        feature,
        max(in_catalogue) AS catalogued,
        max(row_title) AS title,
        max(row_released) AS released,
        arrayFlatten(groupArray(row_roles)) AS roles,
        arraySum(arrayMap((role, n) -> if(empty(roles) OR has(roles, role), n, 0), roles_now.1, roles_now.2)) AS expected_now,
        arraySum(arrayMap((role, n) -> if(empty(roles) OR has(roles, role), n, 0), roles_before.1, roles_before.2)) AS expected_before,
        sum(row_users_now) AS users_now,
        sum(row_adopted) AS adopted_now,
        arraySum(arrayMap((role, n) -> if(empty(roles) OR has(roles, role), n, 0), groupArray(row_role_now), groupArray(row_users_now))) AS expected_users_now,
        arraySum(arrayMap((role, n) -> if(empty(roles) OR has(roles, role), n, 0), groupArray(row_role_before), groupArray(row_users_before))) AS expected_users_before,
        sum(row_clicks) AS clicks_now,
        max(row_depth) AS median_clicks
    FROM
    (
        SELECT
            toString(listed.1) AS feature, 1 AS in_catalogue, listed.2 AS row_title, listed.3 AS row_released, listed.4 AS row_roles,
            '' AS row_role_now, '' AS row_role_before, 0 AS row_users_now, 0 AS row_users_before, 0 AS row_adopted, 0 AS row_clicks, 0. AS row_depth
        FROM systems
        ARRAY JOIN features AS listed
        WHERE system = {system:String} AND version = current_definition
        UNION ALL
        SELECT
            toString(feature), 0, '', NULL, [], toString(role_now), toString(role_before),
            countIf(used_now AND entitled_now), countIf(used_before AND entitled_before), countIf(used_twice AND entitled_now), 0, 0.
        FROM
        (
            SELECT
                feature,
                user,
                max(local_date >= {from:Date}) AS used_now,
                max(local_date < {from:Date}) AS used_before,
                minIf(local_date, local_date >= greatest({from:Date}, {to:Date} - 28)) < maxIf(local_date, local_date >= greatest({from:Date}, {to:Date} - 28)) AS used_twice
            FROM feature_days
            WHERE system = {system:String} AND zone = current_zone AND local_date >= before_from AND local_date < {to:Date}
            GROUP BY feature, user
        ) AS uses
        INNER JOIN people ON uses.user = people.user
        GROUP BY feature, role_now, role_before
        UNION ALL
        SELECT toString(feature), 0, '', NULL, [], '', '', 0, 0, 0, sum(day_clicks), quantileExactInclusive(0.5)(day_clicks)
        FROM
        (
            SELECT feature, clicks AS day_clicks
            FROM feature_days FINAL
            WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
                AND local_date NOT IN (SELECT local_date FROM split_days)
            UNION ALL
            SELECT feature, sum(clicks)
            FROM feature_days
            WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
                AND local_date IN (SELECT local_date FROM split_days)
            GROUP BY feature, user, local_date
        )
        GROUP BY feature
    )
    GROUP BY feature
)
WHERE catalogued OR clicks_now > 0
