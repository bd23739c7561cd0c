-- M12: one cell for each feature (catalogued, or clicked in the window) and each group (`by` as in adoption) with entitled people.
--   users ÷ entitled = breadth: the persons of the group who clicked the feature
--   expected_breadth: those of them whose role is expected to use the feature ÷ all of the group whose role is; not_expected: there is none such
-- Suppressed (all NULL): a group of fewer than {{min_group_size}} entitled people, and the next smallest where only one is that small. In other groups
-- `expected` and `expected_breadth` are NULL where fewer than {{min_group_size}}, but not all of the group, are expected: they are a group too.
CREATE OR REPLACE VIEW heatmap_features AS
WITH
    {{zone}} AS current_zone,
    {{definition}} AS current_definition,
    {{roster}} AS current_roster,
    {{split}} AS split,
    [({from:Date}, {to:Date})] AS periods,
    {{withheld}} AS withheld,
    (
        SELECT groupArray((group_of_users, role_names, role_sizes, people, is_suppressed))
        FROM
        (
            SELECT
                group_of_users,
                groupArray(role_of_users) AS role_names,
                groupArray(n) AS role_sizes,
                sum(n) AS people,
                people < {{min_group_size}} AS too_small,
                too_small OR (2 = row_number() OVER (ORDER BY too_small DESC, people, group_of_users) AND 1 = sum(too_small) OVER ())
                    OR has(withheld, (1, 0, group_of_users)) OR has(withheld, (1, 1, '')) AS is_suppressed
            FROM
            (
                SELECT toString(place.1) AS group_of_users, toString(place.2) AS role_of_users, count() AS n
                FROM
                (
                    SELECT ({{group}}, role) AS place
                    FROM roster
                    WHERE system = {system:String} AND version = current_roster AND kind = 'person'
                        AND entitled_from < {to:Date} AND entitled_to > {from:Date} AND next_from >= {to:Date} AND entitled_from < entitled_to AND {{chosen}}
                )
                GROUP BY place
            )
            GROUP BY group_of_users
        )
    ) AS groups
SELECT
    feature,
    group_name,
    is_suppressed AS suppressed,
    NOT suppressed AND expected_people = 0 AS not_expected,
    suppressed OR (expected_people > 0 AND (expected_people < {{min_group_size}} OR {{filtered}}) AND expected_people < people) AS expected_hidden,
    if(suppressed, NULL, users_of_group) AS users,
    if(suppressed, NULL, people) AS entitled,
    if(suppressed, NULL, users_of_group / people) AS breadth,
    if(expected_hidden, NULL, expected_people) AS expected,
    if(expected_hidden OR expected_people = 0, NULL, expected_users / expected_people) AS expected_breadth
FROM
(
    SELECT
        feature,
        group_name,
        max(row_people) AS people,
        max(row_suppressed) AS is_suppressed,
        max(row_expected) AS expected_people,
        groupArrayArray(row_roles) AS roles,
        sum(row_users) AS users_of_group,
        arraySum(arrayMap((role, n) -> if(empty(roles) OR has(roles, role), n, 0), groupArray(row_role), groupArray(row_users))) AS expected_users
    FROM
    (
        SELECT
            feature,
            of_group.1 AS group_name,
            of_group.4 AS row_people,
            of_group.5 AS row_suppressed,
            arraySum(arrayMap((role, n) -> if(empty(row_roles) OR has(row_roles, role), n, 0), of_group.2, of_group.3)) AS row_expected,
            row_roles,
            '' AS row_role,
            0 AS row_users
        FROM
        (
            SELECT feature, groupArrayArray(declared_roles) AS row_roles
            FROM
            (
                SELECT toString(listed.1) AS feature, listed.4 AS declared_roles
                FROM systems
                ARRAY JOIN features AS listed
                WHERE system = {system:String} AND version = current_definition
                UNION ALL
                SELECT DISTINCT toString(feature), []
                FROM feature_hours
                WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
            )
            GROUP BY feature
        )
        ARRAY JOIN groups AS of_group
        UNION ALL
        SELECT toString(any(uses.feature)), toString(any(people.group_of_user)), 0, 0, 0, [], toString(any(people.role)), count()
        FROM
        (
            SELECT feature, arrayJoin(bitmapToArray(bitmapTransform(groupBitmapMergeState(users), split.1, split.2))) AS first_ordinal
            FROM feature_users
            WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
            GROUP BY feature
        ) AS uses
        INNER JOIN
        (
            SELECT transform(ordinal, split.1, split.2, ordinal) AS first_ordinal, {{group}} AS group_of_user, role, cityHash64(group_of_user, role) AS place_key
            FROM roster
            WHERE system = {system:String} AND version = current_roster AND kind = 'person'
                AND entitled_from < {to:Date} AND entitled_to > {from:Date} AND next_from >= {to:Date} AND entitled_from < entitled_to AND {{chosen}}
        ) AS people ON uses.first_ordinal = people.first_ordinal
        GROUP BY cityHash64(uses.feature), people.place_key
    )
    GROUP BY feature, group_name
)
