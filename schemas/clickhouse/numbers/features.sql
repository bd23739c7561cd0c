-- M7 to M10: one row for each feature that is catalogued or was clicked in [from, to). The window before is the one of equal length that ends at `from`.
--   expected_users ÷ expected = breadth: entitled persons whose role is expected to use the feature (all, where no role is declared)
--   users, adopted: entitled persons, whatever their role; adopted = on two or more days of the window's last 28
--   clicks, depth: of every user, also of those without a roster row
-- Depth needs the clicks of each user and day. The key begins with the day, so FINAL has to merge next to nothing and costs a tenth of a GROUP BY. Only a
-- day that was counted under another zone in part has rows that FINAL keeps apart (`rebuilt`); those days are grouped.
-- Features and users are grouped by 64-bit keys (cityHash64 of the name, the first half of the pseudonym): that costs half of grouping by the texts.
-- Suppressed (numbers NULL): fewer than {{min_group_size}} people expected, or entitled at all. Without any roster clicks and depth are shown.
CREATE OR REPLACE VIEW features AS
WITH
    {{zone}} AS current_zone,
    {{definition}} AS current_definition,
    {{roster}} AS current_roster,
    {from:Date} - ({to:Date} - {from:Date}) AS before_from,
    greatest({from:Date}, {to:Date} - 28) AS late_from,
    people AS
    (
        SELECT
            reinterpretAsUInt64(user) AS user_key,
            max(entitled_to > {from:Date} AND entitled_from < {to:Date}) AS entitled_now,
            argMaxIf(role, entitled_from, entitled_to > {from:Date} AND entitled_from < {to:Date}) AS role_now,
            max(entitled_to > before_from AND entitled_from < {from:Date}) AS entitled_before,
            argMaxIf(role, entitled_from, entitled_to > before_from AND entitled_from < {from:Date}) AS role_before
        FROM roster
        WHERE system = {system:String} AND version = current_roster AND kind = 'person'
            AND entitled_from < {to:Date} AND entitled_to > before_from AND entitled_from < entitled_to
        GROUP BY user_key
    ),
    split_days AS
    (
        SELECT local_date
        FROM feature_hours
        WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
        GROUP BY local_date
        HAVING min(rebuilt) != max(rebuilt)
    ),
    (
        SELECT (groupArray(role), groupArray(now), groupArray(before))
        FROM
        (
            SELECT standing.1 AS role, sum(standing.2) AS now, sum(standing.3) AS before
            FROM (SELECT arrayJoin([(toString(role_now), entitled_now, 0), (toString(role_before), 0, entitled_before)]) AS standing FROM people)
            GROUP BY role
        )
    ) AS roles_of_people
SELECT
    feature,
    splitByChar('.', feature)[1] AS module,
    title,
    catalogued,
    released,
    (expected_now > 0 AND expected_now < {{min_group_size}}) OR (arraySum(roles_of_people.2) > 0 AND arraySum(roles_of_people.2) < {{min_group_size}}) AS suppressed,
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
        max(row_feature) AS feature,
        max(in_catalogue) AS catalogued,
        max(row_title) AS title,
        max(row_released) AS released,
        arrayFlatten(groupArray(row_roles)) AS roles,
        arraySum(arrayMap((role, n) -> if(empty(roles) OR has(roles, role), n, 0), roles_of_people.1, roles_of_people.2)) AS expected_now,
        arraySum(arrayMap((role, n) -> if(empty(roles) OR has(roles, role), n, 0), roles_of_people.1, roles_of_people.3)) AS expected_before,
        sum(row_users_now) AS users_now,
        sum(row_adopted) AS adopted_now,
        arraySum(arrayMap((role, n) -> if(empty(roles) OR has(roles, role), n, 0), groupArray(row_role_now), groupArray(row_users_now))) AS expected_users_now,
        arraySum(arrayMap((role, n) -> if(empty(roles) OR has(roles, role), n, 0), groupArray(row_role_before), groupArray(row_users_before))) AS expected_users_before,
        sum(row_clicks) AS clicks_now,
        max(row_depth) AS median_clicks
    FROM
    (
        SELECT
            cityHash64(listed.1) AS feature_key, toString(listed.1) AS row_feature, 1 AS in_catalogue, listed.2 AS row_title, listed.3 AS row_released, listed.4 AS row_roles,
            '' AS row_role_now, '' AS row_role_before, 0 AS row_users_now, 0 AS row_users_before, 0 AS row_adopted, 0 AS row_clicks, 0. AS row_depth
        FROM systems
        ARRAY JOIN features AS listed
        WHERE system = {system:String} AND version = current_definition
        UNION ALL
        SELECT
            feature_key, '', 0, '', NULL, [], toString(any(role_now)), toString(any(role_before)),
            countIf(last_day >= {from:Date} AND entitled_now), countIf(used_before AND entitled_before),
            countIf(last_day >= late_from AND first_late_day < last_day AND entitled_now), 0, 0.
        FROM
        (
            SELECT
                cityHash64(feature) AS feature_key,
                reinterpretAsUInt64(user) AS user_key,
                max(local_date) AS last_day,
                min(local_date) < {from:Date} AS used_before,
                minIf(local_date, local_date >= late_from) AS first_late_day
            FROM feature_days
            WHERE system = {system:String} AND zone = current_zone AND local_date >= before_from AND local_date < {to:Date}
            GROUP BY feature_key, user_key
        ) AS uses
        INNER JOIN people ON uses.user_key = people.user_key
        GROUP BY feature_key, cityHash64(role_now, role_before)
        UNION ALL
        SELECT cityHash64(feature), toString(feature), 0, '', NULL, [], '', '', 0, 0, 0, sum(day_clicks), quantileExactInclusive(0.5)(day_clicks)
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
    GROUP BY feature_key
)
WHERE catalogued OR clicks_now > 0
