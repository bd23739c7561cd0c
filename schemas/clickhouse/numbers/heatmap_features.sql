-- M12: one cell for each feature (catalogued, or clicked in the window) and each group (`by` as in adoption) with entitled people.
--   users ÷ entitled = breadth: the persons of the group who clicked the feature
--   expected_breadth: those of them whose role is expected to use the feature ÷ all of the group whose role is; not_expected: there is none such
-- Suppressed (all NULL): a group of fewer than {{min_group_size}} entitled people, and the next smallest where only one is that small. In other groups
-- `expected` and `expected_breadth` are NULL where fewer than {{min_group_size}}, but not all of the group, are expected: they are a group too.
CREATE OR REPLACE VIEW heatmap_features AS
WITH
    (SELECT argMax(zone, version) FROM systems WHERE system = {system:String}) AS current_zone,
    (SELECT max(version) FROM systems WHERE system = {system:String}) AS current_definition,
    (SELECT max(version) FROM roster_versions WHERE system = {system:String}) AS current_roster,
    people AS
    (
        SELECT
            user,
            argMax(role, entitled_from) AS role_of_user,
            argMax(multiIf({by:String} = 'unit', unit, {by:String} = 'role', role, {by:String} = 'tier', tier,
                {by:String} = 'site', site, {by:String} = 'phase', phase, ''), entitled_from) AS group_of_user
        FROM roster
        WHERE system = {system:String} AND version = current_roster AND kind = 'person'
            AND entitled_from < {to:Date} AND entitled_to > {from:Date} AND entitled_from < entitled_to
        GROUP BY user
    )
SELECT
    feature,
    group_name,
    is_suppressed AS suppressed,
    NOT suppressed AND expected_people = 0 AS not_expected,
    suppressed OR (expected_people > 0 AND expected_people < {{min_group_size}} AND expected_people < people_of_group) AS expected_hidden,
    if(suppressed, NULL, users_of_group) AS users,
    if(suppressed, NULL, people_of_group) AS entitled,
    if(suppressed, NULL, users_of_group / people_of_group) AS breadth,
    if(expected_hidden, NULL, expected_people) AS expected,
    if(expected_hidden OR expected_people = 0, NULL, expected_users / expected_people) AS expected_breadth
FROM
(
    SELECT
        feature,
        group_of_user AS group_name,
        people_of_group,
        arraySum(used_sizes) AS users_of_group,
        too_small OR (small_groups = 1 AND place = 2) AS is_suppressed,
        arraySum(arrayMap((role, n) -> if(empty(roles) OR has(roles, role), n, 0), role_names, role_sizes)) AS expected_people,
        arraySum(arrayMap((role, n) -> if(empty(roles) OR has(roles, role), n, 0), used_roles, used_sizes)) AS expected_users
    FROM
    (
        SELECT feature, arrayFlatten(groupArray(row_roles)) AS roles
        FROM
        (
            SELECT toString(listed.1) AS feature, listed.4 AS row_roles
            FROM systems
            ARRAY JOIN features AS listed
            WHERE system = {system:String} AND version = current_definition
            UNION ALL
            SELECT DISTINCT toString(feature), []
            FROM feature_hours
            WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
        )
        GROUP BY feature
    ) AS listed_features
    CROSS JOIN
    (
        SELECT
            group_of_user,
            groupArray(toString(role_of_user)) AS role_names,
            groupArray(n) AS role_sizes,
            sum(n) AS people_of_group,
            people_of_group < {{min_group_size}} AS too_small,
            sum(too_small) OVER () AS small_groups,
            row_number() OVER (ORDER BY too_small DESC, people_of_group, group_of_user) AS place
        FROM (SELECT toString(group_of_user) AS group_of_user, role_of_user, count() AS n FROM people GROUP BY group_of_user, role_of_user)
        GROUP BY group_of_user
    ) AS groups
    LEFT JOIN
    (
        SELECT
            feature AS used_feature,
            group_of_user AS using_group,
            groupArray(toString(role_of_user)) AS used_roles,
            groupArray(n) AS used_sizes
        FROM
        (
            SELECT toString(feature) AS feature, toString(group_of_user) AS group_of_user, role_of_user, count() AS n
            FROM
            (
                SELECT feature, user
                FROM feature_days
                WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
                GROUP BY feature, user
            ) AS uses
            INNER JOIN people ON uses.user = people.user
            GROUP BY feature, group_of_user, role_of_user
        )
        GROUP BY feature, group_of_user
    ) AS used ON feature = used_feature AND group_of_user = using_group
)
