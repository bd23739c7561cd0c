-- M12: one cell for each feature (catalogued, or clicked in the window) and each group (`by` as in adoption) with entitled people.
--   users ÷ entitled = breadth: the persons of the group who clicked the feature
--   expected_breadth: those of them whose role is expected to use the feature ÷ all of the group whose role is; not_expected: there is none such
-- Suppressed (all NULL): a group of fewer than {{min_group_size}} entitled people, and the next smallest where only one is that small. In other groups
-- `expected` and `expected_breadth` are NULL where fewer than {{min_group_size}}, but not all of the group, are expected: they are a group too.
CREATE OR REPLACE VIEW heatmap_features AS
WITH
    {{split}} AS split, -- split
    [({from:Date}, {to:Date})] AS periods, -- filtered
    {{withheld}} AS withheld, -- filtered
    {{zone}} AS current_zone,
    {{definition}} AS current_definition,
    {{roster}} AS current_roster,
    bitmapBuild(CAST([], 'Array(UInt64)')) AS nobody
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
        of_group.1 AS group_name,
        of_group.2 AS people,
        of_group.3 AS is_suppressed,
        arrayMap(role -> empty(roles) OR has(roles, role), of_group.4) AS are_expected,
        arrayMap(set_of_place -> bitmapAndCardinality(users_of_feature, set_of_place), of_group.6) AS users_of_places,
        arraySum(users_of_places) AS users_of_group,
        arraySum((n, is_expected) -> n * is_expected, of_group.5, are_expected) AS expected_people,
        arraySum((n, is_expected) -> n * is_expected, users_of_places, are_expected) AS expected_users
    FROM
    (
        SELECT
            feature,
            groupArrayArray(row_roles) AS roles,
            {{users of groupBitmapMergeState(row_users)}} AS users_of_feature
        FROM
        (
            SELECT toString(listed.1) AS feature, listed.4 AS row_roles, nobody AS row_users
            FROM systems
            ARRAY JOIN features AS listed
            WHERE system = {system:String} AND version = current_definition
            UNION ALL
            SELECT toString(feature), [], users
            FROM feature_users
            WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date}
        )
        GROUP BY feature
    ) AS uses
    CROSS JOIN
    (
        SELECT groupArray((group_of_users, people, is_suppressed, roles_of_group, sizes, sets)) AS groups
        FROM
        (
            SELECT
                group_of_users,
                sum(n) AS people,
                people < {{min_group_size}} AS too_small,
                too_small OR (2 = row_number() OVER (ORDER BY too_small DESC, people, group_of_users) AND 1 = sum(too_small) OVER ())
                    OR has(withheld, (1, 0, group_of_users)) OR has(withheld, (1, 1, '')) -- filtered
                    AS is_suppressed,
                groupArray(role_of_users) AS roles_of_group,
                groupArray(n) AS sizes,
                groupArray(set_of_users) AS sets
            FROM
            (
                SELECT
                    toString({{group}}) AS group_of_users,
                    toString(role) AS role_of_users,
                    count() AS n,
                    {{users of groupBitmapState(ordinal)}} AS set_of_users
                FROM roster
                WHERE system = {system:String} AND version = current_roster AND kind = 'person'
                    AND entitled_from < {to:Date} AND entitled_to > {from:Date} AND next_from >= {to:Date} AND entitled_from < entitled_to
                        AND {{chosen}} -- filtered
                GROUP BY group_of_users, role_of_users
            )
            GROUP BY group_of_users
        )
    ) AS everybody
    ARRAY JOIN groups AS of_group
)
