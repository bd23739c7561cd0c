-- M7 to M10: one row for each feature that is catalogued or was clicked in [from, to). The window before is the one of equal length that ends at `from`.
--   expected_users ÷ expected = breadth: entitled persons whose role is expected to use the feature (all, where no role is declared)
--   users, adopted: entitled persons, whatever their role; adopted = on two or more days of the window's last 28
--   clicks, depth: of every user, also of those without a roster row
--   unused, declining: of a feature meant to be used monthly, quarterly or yearly (cadence) a window that is shorter than that proves neither: it is unused
--   where nobody clicked it in the whole month, quarter or year before `to` and it was out by then, and it is not declining
-- Sets of users come from feature_users, one for each day; folding them keeps who was seen and who was seen again. Depth needs the clicks of each user and
-- day, which feature_days holds.
-- These sets hold everybody also where a filter asks about some: they only meet sets of people, and those whom it leaves in the window before are others.
-- Suppressed (numbers NULL): fewer than {{min_group_size}} people expected, or entitled at all. Without any roster clicks and depth are shown.
CREATE OR REPLACE VIEW features AS
WITH
    {{zone}} AS current_zone,
    {{definition}} AS current_definition,
    {{roster}} AS current_roster,
    {{split}} AS split,
    bitmapBuild(CAST([], 'Array(UInt64)')) AS nobody,
    {from:Date} - ({to:Date} - {from:Date}) AS before_from,
    greatest({from:Date}, {to:Date} - 28) AS late_from,
    [({from:Date}, {to:Date}), (before_from, {from:Date})] AS periods,
    {{withheld_of_roles}} AS withheld,
    {{chosen_set}} AS chosen_set,
    people AS
    (
        SELECT
            grouping(role) = 1 AS every_role,
            role,
            countIf(is_now) AS people_now,
            countIf(is_before) AS people_before,
            if(empty(split.1), groupBitmapStateIf(ordinal, is_now), bitmapTransform(groupBitmapStateIf(ordinal, is_now), split.1, split.2)) AS set_now,
            if(empty(split.1), groupBitmapStateIf(ordinal, is_before), bitmapTransform(groupBitmapStateIf(ordinal, is_before), split.1, split.2)) AS set_before
        FROM
        (
            SELECT
                role,
                ordinal,
                entitled_to > {from:Date} AND entitled_from < {to:Date} AND next_from >= {to:Date} AS is_now,
                entitled_to > before_from AND entitled_from < {from:Date} AND next_from >= {from:Date} AS is_before
            FROM roster
            WHERE system = {system:String} AND version = current_roster AND kind = 'person' AND entitled_from < entitled_to AND {{chosen}}
        )
        GROUP BY GROUPING SETS ((role), ())
    )
SELECT
    feature,
    splitByChar('.', feature)[1] AS module,
    title,
    catalogued,
    released,
    cadence,
    is_suppressed AS suppressed,
    if(is_suppressed, NULL, users_now) AS users,
    if(is_suppressed, NULL, expected_users_now) AS expected_users,
    if(is_suppressed, NULL, expected_now) AS expected,
    if(is_suppressed, NULL, breadth_now) AS breadth,
    if(is_suppressed, NULL, clicks_now) AS clicks,
    if(is_suppressed, NULL, median_clicks) AS depth,
    if(is_suppressed, NULL, adopted_now) AS adopted,
    if(is_unknown_before, NULL, breadth_before) AS previous_breadth,
    if(is_unknown_before, NULL, breadth_change) AS change,
    NOT is_suppressed AND is_unused AS unused,
    NOT is_unknown_before AND is_declining AS declining
FROM
(
    SELECT
        feature,
        title,
        catalogued,
        released,
        cadence,
        users_now,
        expected_users_now,
        expected_now,
        clicks_now,
        adopted_now,
        (expected_now > 0 AND expected_now < {{min_group_size}}) OR (entitled_now > 0 AND entitled_now < {{min_group_size}})
            OR arrayExists(w -> w.1 = 1 AND (w.2 = 1 OR has(roles_expected, w.3)), withheld) AS is_suppressed,
        is_suppressed OR expected_before < {{min_group_size}} OR arrayExists(w -> w.1 = 2 AND (w.2 = 1 OR has(roles_expected, w.3)), withheld) AS is_unknown_before,
        if(clicks_now = 0, NULL, depth_now) AS median_clicks,
        expected_users_now / nullIf(expected_now, 0) AS breadth_now,
        expected_users_before / nullIf(expected_before, 0) AS breadth_before,
        breadth_now / nullIf(breadth_before, 0) - 1 AS breadth_change,
        addMonths({from:Date}, cadence_months) <= {to:Date} AS comes_up,
        if(comes_up, {from:Date}, addMonths({to:Date}, -cadence_months)) AS due_from,
        catalogued AND clicks_now = 0 AND last_before < due_from AND ifNull(released < if(comes_up, {to:Date}, due_from + 1), 1) AS is_unused,
        comes_up AND expected_users_before > 0 AND expected_now > 0
            AND 5 * expected_users_now * expected_before <= 4 * expected_users_before * expected_now AS is_declining
    FROM
    (
        SELECT
            feature,
            any(feature_title) AS title,
            any(in_catalogue) AS catalogued,
            any(feature_released) AS released,
            any(feature_cadence) AS cadence,
            transform(cadence, ['monthly', 'quarterly', 'yearly'], [1, 3, 12], 0) AS cadence_months,
            any(feature_last) AS last_before,
            any(roles) AS roles_expected,
            maxIf(people_now, expected.1) AS entitled_now,
            maxIf(bitmapAndCardinality(users_of_feature, set_now), expected.1) AS users_now,
            maxIf(bitmapAndCardinality(repeated_users, set_now), expected.1) AS adopted_now,
            any(feature_clicks) AS clicks_now,
            any(feature_depth) AS depth_now,
            sumIf(people_now, expected.3) AS expected_now,
            sumIf(people_before, expected.3) AS expected_before,
            sumIf(bitmapAndCardinality(users_of_feature, set_now), expected.3) AS expected_users_now,
            sumIf(bitmapAndCardinality(users_before, set_before), expected.3) AS expected_users_before
        FROM
        (
            SELECT
                feature,
                max(row_title) AS feature_title,
                max(row_catalogued) AS in_catalogue,
                max(row_released) AS feature_released,
                max(row_cadence) AS feature_cadence,
                max(row_last) AS feature_last,
                arrayFlatten(groupArray(row_roles)) AS roles,
                groupBitmapMergeState(row_now) AS users_of_feature,
                groupBitmapMergeState(row_twice) AS repeated_users,
                groupBitmapMergeState(row_before) AS users_before,
                sum(row_clicks) AS feature_clicks,
                max(row_depth) AS feature_depth
            FROM
            (
                SELECT
                    toString(listed.1) AS feature, 1 AS row_catalogued, listed.2 AS row_title, listed.3 AS row_released, listed.4 AS row_roles,
                    nobody AS row_now, nobody AS row_twice, nobody AS row_before, 0 AS row_clicks, 0. AS row_depth, listed.5 AS row_cadence, toDate(0) AS row_last
                FROM systems
                ARRAY JOIN features AS listed
                WHERE system = {system:String} AND version = current_definition
                UNION ALL
                SELECT
                    toString(feature), 0, '', NULL, [],
                    groupBitmapMergeStateIf(used, day >= {from:Date}),
                    arrayFold((seen, day_set) -> (bitmapOr(seen.1, day_set), bitmapOr(seen.2, bitmapAnd(seen.1, day_set))),
                        groupArrayIf(used, day >= late_from), (nobody, nobody)).2,
                    groupBitmapMergeStateIf(used, day < {from:Date}),
                    0, 0., '', toDate(0)
                FROM {{feature_day_sets}}
                GROUP BY feature
                UNION ALL
                SELECT toString(feature), 0, '', NULL, [], nobody, nobody, nobody, 0, 0., '', max(local_date)
                FROM feature_users
                WHERE system = {system:String} AND zone = current_zone AND local_date >= addMonths({to:Date}, -12) AND local_date < {from:Date}
                    AND (NOT {{filtered}} OR bitmapHasAny(bitmapTransform(users, split.1, split.2), assumeNotNull(chosen_set)))
                GROUP BY feature
                UNION ALL
                SELECT toString(feature), 0, '', NULL, [], nobody, nobody, nobody,
                    sum(day_clicks), quantileExactInclusive(0.5)(day_clicks), '', toDate(0)
                FROM {{user_day_clicks}}
                GROUP BY feature
            )
            GROUP BY feature
        )
        ARRAY JOIN arrayConcat([(1, '', empty(roles))], arrayMap(r -> (0, r, 1), arrayDistinct(roles))) AS expected
        LEFT JOIN people ON people.every_role = expected.1 AND people.role = expected.2
        GROUP BY feature
    )
    WHERE catalogued OR clicks_now > 0
)
