-- M7 to M10: one row for each feature that is catalogued or was clicked in [from, to). The window before is the one of equal length that ends at `from`.
--   expected_users ÷ expected = breadth: entitled persons whose role is expected to use the feature (all, where no role is declared)
--   users, adopted: entitled persons, whatever their role; adopted = on two or more days of the window's last 28
--   clicks, depth: of every user, also of those without a roster row
--   unused, declining: of a feature meant to be used monthly, quarterly or yearly (cadence) a window that is shorter than that proves neither: it is unused
--   where nobody clicked it in the whole month, quarter or year before `to` and it was out by then, and it is not declining
-- Sets of users come from feature_users, one for each day; folding them keeps who was seen and who was seen again. Depth needs the clicks of each user and
-- day, which feature_user_days holds.
-- These sets hold everybody also where a filter asks about some: they only meet sets of people, and those whom it leaves in the window before are others.
-- `people` are for each role its name, how many there are now and were before, and the sets of both.
-- Suppressed (numbers NULL): fewer than {{min_group_size}} people expected, or entitled at all. Without any roster clicks and depth are shown.
CREATE OR REPLACE VIEW features AS
WITH
    {{zone}} AS current_zone,
    {{definition}} AS current_definition,
    {{roster}} AS current_roster,
    {{split}} AS split, -- split
    [({from:Date}, {to:Date}), (before_from, {from:Date})] AS periods, -- filtered
    {{withheld_of_roles}} AS withheld, -- filtered
    {{chosen_set}} AS chosen_set, -- filtered
    bitmapBuild(CAST([], 'Array(UInt64)')) AS nobody,
    {from:Date} - ({to:Date} - {from:Date}) AS before_from,
    greatest({from:Date}, {to:Date} - 28) AS late_from
SELECT
    feature,
    splitByChar('.', feature)[1] AS module,
    title,
    catalogued,
    released,
    cadence,
    suppressed,
    if(suppressed, NULL, users_now) AS users,
    if(suppressed, NULL, expected_users_now) AS expected_users,
    if(suppressed, NULL, expected_now) AS expected,
    if(suppressed, NULL, breadth_now) AS breadth,
    if(suppressed, NULL, clicks_now) AS clicks,
    if(suppressed OR clicks_now = 0, NULL, median_clicks) AS depth,
    if(suppressed, NULL, adopted_now) AS adopted,
    if(unknown_before, NULL, breadth_before) AS previous_breadth,
    if(unknown_before, NULL, breadth_now / nullIf(breadth_before, 0) - 1) AS change,
    NOT suppressed AND is_unused AS unused,
    NOT unknown_before AND is_declining AS declining
FROM
(
    SELECT
        feature,
        title,
        catalogued,
        released,
        cadence,
        users_now,
        adopted_now,
        clicks_now,
        median_clicks,
        expected_now,
        expected_users_now,
        is_suppressed AS suppressed,
        is_suppressed OR expected_before < {{min_group_size}}
            OR is_hidden_before -- filtered
            AS unknown_before,
        expected_users_now / nullIf(expected_now, 0) AS breadth_now,
        expected_users_before / nullIf(expected_before, 0) AS breadth_before,
        catalogued AND clicks_now = 0 AND last_before < if(comes_up, {from:Date}, addMonths({to:Date}, -cadence_months))
            AND ifNull(released < if(comes_up, {to:Date}, addMonths({to:Date}, -cadence_months) + 1), 1) AS is_unused,
        comes_up AND expected_users_before > 0 AND expected_now > 0
            AND 5 * expected_users_now * expected_before <= 4 * expected_users_before * expected_now AS is_declining
    FROM
    (
        SELECT
            feature,
            title,
            catalogued,
            released,
            cadence,
            cadence_months,
            last_before,
            clicks_now,
            median_clicks,
            arrayFilter(p -> empty(roles) OR has(roles, p.1), people) AS expected_people,
            arraySum(p -> bitmapAndCardinality(users_of_feature, p.4), people) AS users_now,
            arraySum(p -> bitmapAndCardinality(repeated_users, p.4), people) AS adopted_now,
            arraySum(expected_people.2) AS expected_now,
            arraySum(expected_people.3) AS expected_before,
            arraySum(p -> bitmapAndCardinality(users_of_feature, p.4), expected_people) AS expected_users_now,
            arraySum(p -> bitmapAndCardinality(users_before, p.5), expected_people) AS expected_users_before,
            has(withheld, (2, 1, '')) OR hasAny(arrayMap(r -> (toUInt32(2), toUInt8(0), r), roles), withheld) AS is_hidden_before, -- filtered
            addMonths({from:Date}, cadence_months) <= {to:Date} AS comes_up,
            (arraySum(expected_people.2) BETWEEN 1 AND {{min_group_size}} - 1) OR (arraySum(people.2) BETWEEN 1 AND {{min_group_size}} - 1)
                OR has(withheld, (1, 1, '')) OR hasAny(arrayMap(r -> (toUInt32(1), toUInt8(0), r), roles), withheld) -- filtered
                AS is_suppressed
        FROM
        (
            SELECT
                feature,
                max(row_title) AS title,
                max(row_catalogued) AS catalogued,
                max(row_released) AS released,
                max(row_cadence) AS cadence,
                transform(max(row_cadence), ['monthly', 'quarterly', 'yearly'], [1, 3, 12], 0) AS cadence_months,
                max(row_last) AS last_before,
                groupArrayArray(row_roles) AS roles,
                groupBitmapMergeState(row_now) AS users_of_feature,
                groupBitmapMergeState(row_twice) AS repeated_users,
                groupBitmapMergeState(row_before) AS users_before,
                sum(row_clicks) AS clicks_now,
                max(row_depth) AS median_clicks
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
                    AND bitmapHasAny({{users of users}}, assumeNotNull(chosen_set)) -- filtered
                GROUP BY feature
                UNION ALL
                SELECT toString(feature), 0, '', NULL, [], nobody, nobody, nobody,
                    sum(day_clicks), quantileExactInclusive(0.5)(day_clicks), '', toDate(0)
                FROM {{user_day_clicks}}
                GROUP BY feature
            )
            GROUP BY feature
            HAVING catalogued OR clicks_now > 0
        ) AS uses
        CROSS JOIN
        (
            SELECT groupArray((role_of_people, people_now, people_before, set_now, set_before)) AS people
            FROM
            (
                SELECT
                    toString(role) AS role_of_people,
                    countIf(is_now) AS people_now,
                    countIf(is_before) AS people_before,
                    {{users of groupBitmapStateIf(ordinal, is_now)}} AS set_now,
                    {{users of groupBitmapStateIf(ordinal, is_before)}} AS set_before
                FROM
                (
                    SELECT
                        role,
                        ordinal,
                        entitled_to > {from:Date} AND entitled_from < {to:Date} AND next_from >= {to:Date} AS is_now,
                        entitled_to > before_from AND entitled_from < {from:Date} AND next_from >= {from:Date} AS is_before
                    FROM roster
                    WHERE system = {system:String} AND version = current_roster AND kind = 'person' AND entitled_from < entitled_to
                        AND {{chosen}} -- filtered
                )
                GROUP BY role
            )
        ) AS everybody
    )
)
