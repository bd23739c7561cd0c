-- M23: what the trainings held in [from, to) changed, per role and over all roles (is_total).
--   breadth: features used ÷ features expected of the role (catalogued, released 28 days or more before the training, naming the role or no role)
--   change: breadth in the 28 days after the training less breadth in the 28 days before it; the day of the training belongs to neither
--   trained: persons trained, and entitled on the first and on the last of these 57 days with the same role
--   untrained: for each day of training such persons of the same role without a training until the end of its 57 days. Where they are fewer than
--     {{min_group_size}}, or two, nothing can be compared, and the training is left out; so is one whose 57 days end after the day before `through`
--   effect: the mean change of the trained less that of the untrained, each day of training weighted with its trained
--   trained_variance, untrained_variance: of these two means. The untrained of several days are much the same persons, so within a role the
--     errors of their means are added up as if they always erred together. least_untrained: the fewest that a training was compared with
-- Suppressed (NULL): a role of fewer than {{min_group_size}} trained, and the next smallest where only one is that small.
CREATE OR REPLACE VIEW training_effect AS
WITH
    {{zone}} AS current_zone,
    {{definition}} AS current_definition,
    {{roster}} AS current_roster,
    {{split}} AS split, -- split
    (SELECT max(version) FROM training_versions WHERE system = {system:String}) AS current_training,
    bitmapBuild(CAST([], 'Array(UInt64)')) AS nobody,
    (
        SELECT arraySort(groupUniqArray(trained_on))
        FROM training
        WHERE system = {system:String} AND version = current_training AND trained_on >= {from:Date} AND trained_on < {to:Date}
            AND trained_on + 29 <= {through:Date}
    ) AS training_days
SELECT
    is_total,
    role_name,
    suppressed,
    suppressed OR trained_people = 0 AS unknown,
    if(suppressed, NULL, trained_people) AS trained,
    if(unknown, NULL, mean_of_trained) AS trained_change,
    if(unknown, NULL, mean_of_untrained) AS untrained_change,
    if(unknown, NULL, mean_of_trained - mean_of_untrained) AS effect,
    if(unknown OR trained_people = 1, NULL, greatest(0, (squares - trained_people * pow(effect, 2)) / (trained_people - 1) / trained_people)) AS trained_variance,
    if(unknown, NULL, squared_errors / pow(trained_people, 2)) AS untrained_variance,
    if(unknown, NULL, fewest_untrained) AS least_untrained
FROM
(
    SELECT
        grouping(role) = 1 AS is_total,
        role AS role_name,
        sum(trained_of_role) AS trained_people,
        sum(trained_sum) / trained_people AS mean_of_trained,
        sum(untrained_sum) / trained_people AS mean_of_untrained,
        sum(squares_of_role) AS squares,
        sum(pow(error_of_role, 2)) AS squared_errors,
        min(untrained_of_role) AS fewest_untrained,
        trained_people > 0 AND trained_people < {{min_group_size}} AS too_small,
        too_small OR (NOT is_total AND 2 = row_number() OVER (PARTITION BY is_total ORDER BY too_small DESC, trained_people, role_name)
            AND 1 = sum(too_small) OVER (PARTITION BY is_total)) AS suppressed
    FROM
    (
        SELECT
            role,
            sum(trained_count) AS trained_of_role,
            sum(trained_changes) AS trained_sum,
            sum(trained_count * untrained_mean) AS untrained_sum,
            sum(trained_squares - 2 * untrained_mean * trained_changes + trained_count * pow(untrained_mean, 2)) AS squares_of_role,
            sum(trained_count * sqrt(greatest(0, untrained_squares - untrained_count * pow(untrained_mean, 2)) / (untrained_count - 1) / untrained_count)) AS error_of_role,
            min(untrained_count) AS untrained_of_role
        FROM
        (
            SELECT
                training_day,
                role,
                anyIf(people_count, is_trained) AS trained_count,
                anyIf(people_count, NOT is_trained) AS untrained_count,
                sumIf(change, is_trained) / any(expected) AS trained_changes,
                sumIf(change * change, is_trained) / pow(any(expected), 2) AS trained_squares,
                sumIf(change, NOT is_trained) / any(expected) / untrained_count AS untrained_mean,
                sumIf(change * change, NOT is_trained) / pow(any(expected), 2) AS untrained_squares
            FROM
            (
                SELECT training_day, role, is_trained, people_count, expected, sum(step.2) AS change
                FROM
                (
                    SELECT
                        people.training_day AS training_day,
                        people.role AS role,
                        people.is_trained AS is_trained,
                        people.people_count AS people_count,
                        count() AS expected,
                        groupArrayArray(bitmapToArray(bitmapAnd(people_set, bitmapAndnot(set_after, set_before)))) AS gained,
                        groupArrayArray(bitmapToArray(bitmapAnd(people_set, bitmapAndnot(set_before, set_after)))) AS lost
                    FROM
                    (
                        SELECT training_day, role_at_end AS role, is_trained, count() AS people_count, groupBitmapState(first_ordinal) AS people_set
                        FROM
                        (
                            SELECT
                                entitled.training_day AS training_day, entitled.first_ordinal AS first_ordinal, role_at_end,
                                trainings.first_ordinal != 0 AND trainings.trained_on = entitled.training_day AS is_trained,
                                trainings.first_ordinal = 0 OR trainings.trained_on >= entitled.training_day + 29 AS is_untrained
                            FROM
                            (
                                SELECT training_day, first_ordinal, anyIf(row_role, at_end) AS role_at_end
                                FROM
                                (
                                    SELECT
                                        training_day,
                                        {{first ordinal}} AS first_ordinal,
                                        toString(role) AS row_role,
                                        entitled_from <= training_day - 28 AND entitled_to > training_day - 28 AS at_start,
                                        entitled_from <= training_day + 28 AND entitled_to > training_day + 28 AS at_end
                                    FROM roster
                                    ARRAY JOIN training_days AS training_day
                                    WHERE system = {system:String} AND version = current_roster AND kind = 'person' AND (at_start OR at_end)
                                )
                                GROUP BY training_day, first_ordinal
                                HAVING max(at_start) AND max(at_end) AND role_at_end = anyIf(row_role, at_start)
                            ) AS entitled
                            LEFT JOIN
                            (
                                SELECT {{first ordinal}} AS first_ordinal, trained_on
                                FROM training
                                WHERE system = {system:String} AND version = current_training
                            ) AS trainings ON entitled.first_ordinal = trainings.first_ordinal
                        )
                        WHERE is_trained OR is_untrained
                        GROUP BY training_day, role_at_end, is_trained
                    ) AS people
                    INNER JOIN
                    (
                        SELECT
                            training_day,
                            feature,
                            groupArrayArray(row_roles) AS roles,
                            {{users of groupBitmapMergeState(row_before)}} AS set_before,
                            {{users of groupBitmapMergeState(row_after)}} AS set_after
                        FROM
                        (
                            SELECT training_day, toString(listed.1) AS feature, 1 AS is_expected, listed.4 AS row_roles, nobody AS row_before, nobody AS row_after
                            FROM systems
                            ARRAY JOIN features AS listed
                            ARRAY JOIN training_days AS training_day
                            WHERE system = {system:String} AND version = current_definition AND ifNull(listed.3 <= training_day - 28, 1)
                            UNION ALL
                            SELECT training_day, toString(feature), 0, [], groupBitmapMergeStateIf(users, local_date < training_day), groupBitmapMergeStateIf(users, local_date > training_day)
                            FROM feature_users
                            ARRAY JOIN arrayFilter(day -> abs(local_date - day) BETWEEN 1 AND 28, training_days) AS training_day
                            WHERE system = {system:String} AND zone = current_zone AND local_date >= {from:Date} - 28 AND local_date <= {to:Date} + 27
                            GROUP BY training_day, feature
                        )
                        GROUP BY training_day, feature
                        HAVING max(is_expected)
                    ) AS uses ON people.training_day = uses.training_day
                    WHERE empty(roles) OR has(roles, people.role)
                    GROUP BY training_day, role, is_trained, people_count
                )
                ARRAY JOIN arrayConcat(arrayMap(ordinal -> (ordinal, 1), gained), arrayMap(ordinal -> (ordinal, -1), lost), [(0, 0)]) AS step
                GROUP BY training_day, role, is_trained, people_count, expected, step.1
            )
            GROUP BY training_day, role
            HAVING trained_count > 0 AND untrained_count >= greatest(2, {{min_group_size}})
        )
        GROUP BY role
    )
    GROUP BY GROUPING SETS ((role), ())
)
