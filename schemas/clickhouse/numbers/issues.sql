-- M19: one row for each issue that feedback in [from, to) names: a category, together with the feature where one is named (else '').
--   reporters: users who named it; per_100_active: of 100 users who clicked anything (M2). Every user counts, also one without a roster row.
--   breadth: that of the feature (M7). An issue without a feature concerns the whole system: then the share of the entitled who clicked anything (M3).
--   weight: reporters × breadth, what issues are ranked by; NULL where the breadth is unknown
-- An issue of fewer than {{min_group_size}} reporters is not shown. One more row (is_rest) tells how many there are (rest_issues) and how many different
-- users named them, that only if they are not too few themselves.
-- Suppressed (all NULL, no issues): a system of fewer than {{min_group_size}} entitled people. A breadth is NULL where fewer are expected to use the feature.
CREATE OR REPLACE VIEW issues AS
WITH
    {{zone}} AS current_zone,
    if(current_zone = '', 'UTC', current_zone) AS timezone,
    {{definition}} AS current_definition,
    {{roster}} AS current_roster,
    {{split}} AS split, -- split
    toDateTime64({from:Date}, 3, timezone) AS from_time,
    toDateTime64({to:Date}, 3, timezone) AS to_time,
    (
        SELECT
        (
            groupArrayIf((issue_category, issue_feature, length(issue_users)), length(issue_users) >= {{min_group_size}}),
            length(arrayDistinct(arrayFlatten(groupArrayIf(issue_users, length(issue_users) < {{min_group_size}})))),
            countIf(length(issue_users) < {{min_group_size}})
        )
        FROM
        (
            SELECT toString(category) AS issue_category, toString(feature) AS issue_feature, groupUniqArray({{first ordinal}}) AS issue_users
            FROM raw_events
            WHERE system = {system:String} AND type = 'feedback' AND category != '' AND time >= from_time AND time < to_time
            GROUP BY issue_category, issue_feature
        )
    ) AS named,
    (SELECT arrayMap(issue -> issue.2, named.1)) AS named_features
SELECT
    if(too_small, '', issue.1) AS category,
    if(too_small, '', issue.2) AS feature,
    issue.1 = '' AS is_rest,
    too_small AS suppressed,
    if(too_small OR (is_rest AND issue.3 > 0 AND issue.3 < {{min_group_size}}), NULL, issue.3) AS reporters,
    if(too_small, NULL, active_users) AS active,
    if(active_users = 0, NULL, 100 * reporters / active_users) AS per_100_active,
    if(too_small OR is_rest OR of_feature.2 < {{min_group_size}}, NULL, of_feature.3 / of_feature.2) AS breadth,
    reporters * breadth AS weight,
    if(too_small OR NOT is_rest, NULL, named.3) AS rest_issues
FROM
(
    SELECT issue, too_small, active_users, arrayFirst(b -> b.1 = issue.2, breadths) AS of_feature
    FROM
    (
        SELECT
            groupArray((used_feature, expected_people, expected_users)) AS breadths,
            max(entitled_people) AS entitled_users,
            max(if(used_feature = '', used_by, 0)) AS active_users,
            entitled_users > 0 AND entitled_users < {{min_group_size}} AS too_small
        FROM
        (
            SELECT
                used_feature,
                any(set_size) AS used_by,
                sum(role_size) AS entitled_people,
                sumIf(role_size, empty(roles) OR has(roles, role)) AS expected_people,
                sumIf(bitmapAndCardinality(used_set, role_set), empty(roles) OR has(roles, role)) AS expected_users
            FROM
            (
                SELECT
                    used_feature,
                    groupArrayArray(row_roles) AS roles,
                    {{users of groupBitmapMergeState(row_users)}} AS used_set,
                    bitmapCardinality(used_set) AS set_size
                FROM
                (
                    SELECT toString(listed.1) AS used_feature, listed.4 AS row_roles, bitmapBuild(CAST([], 'Array(UInt64)')) AS row_users
                    FROM systems
                    ARRAY JOIN features AS listed
                    WHERE system = {system:String} AND version = current_definition AND has(named_features, listed.1)
                    UNION ALL
                    SELECT toString(feature), [], users
                    FROM feature_users
                    WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date} AND has(named_features, feature)
                    UNION ALL
                    SELECT '', [], users
                    FROM day_users
                    WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} AND local_date < {to:Date} AND activity = 'click'
                )
                GROUP BY used_feature
            ) AS uses
            CROSS JOIN
            (
                SELECT
                    role,
                    countIf(kind = 'person') AS role_size,
                    {{users of groupBitmapStateIf(ordinal, kind = 'person')}} AS role_set
                FROM roster
                WHERE system = {system:String} AND version = current_roster
                    AND entitled_from < {to:Date} AND entitled_to > {from:Date} AND next_from >= {to:Date} AND entitled_from < entitled_to
                GROUP BY role
                UNION ALL
                SELECT '', 0, bitmapBuild(CAST([], 'Array(UInt64)'))
            ) AS people
            GROUP BY used_feature
        )
    )
    ARRAY JOIN arrayConcat(if(too_small, [], named.1), [('', '', named.2)]) AS issue
)
