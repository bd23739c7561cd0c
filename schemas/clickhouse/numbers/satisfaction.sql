-- M18: one row for every group (`by` as in adoption) and one for the whole system (is_total), of the feedback in [from, to) that has a score.
--   satisfied ÷ scored = rate: scores of 4 or 5 among all that entitled persons gave; somebody may give several
--   respondents ÷ entitled = response_rate: persons who gave at least one score
--   unentitled: scores of users without a roster row in the window, of the total only and in none of the other numbers
-- Suppressed (all NULL): what adoption would suppress in the same window, so that the two cannot be subtracted, and a group, or a system, in which
-- somebody but fewer than {{min_group_size}} answered. What is suppressed must not follow from the total less the others: where it is only one group, or
-- all of them together have fewer than {{min_group_size}} respondents, the group with the next fewest respondents is suppressed too.
CREATE OR REPLACE VIEW satisfaction AS
WITH
    {{zone}} AS current_zone,
    if(current_zone = '', 'UTC', current_zone) AS timezone,
    {{roster}} AS current_roster,
    {{split}} AS split, -- split
    [({from:Date}, {to:Date})] AS periods, -- filtered
    {{withheld}} AS withheld, -- filtered
    toDateTime64({from:Date}, 3, timezone) AS from_time,
    toDateTime64({to:Date}, 3, timezone) AS to_time
SELECT
    is_total,
    group_name,
    suppressed,
    if(suppressed, NULL, entitled_users) AS entitled,
    if(suppressed, NULL, responding_users) AS respondents,
    if(suppressed OR entitled_users = 0, NULL, responding_users / entitled_users) AS response_rate,
    if(suppressed, NULL, scores) AS scored,
    if(suppressed, NULL, good_scores) AS satisfied,
    if(suppressed OR scores = 0, NULL, good_scores / scores) AS rate,
    if(is_total AND NOT {{filtered}}, unentitled_scores, NULL) AS unentitled
FROM
(
    SELECT
        is_total,
        group_name,
        entitled_users,
        responding_users,
        scores,
        good_scores,
        unentitled_scores,
        sum(too_small) OVER (PARTITION BY is_total) AS small_groups,
        sum(too_small * responding_users) OVER (PARTITION BY is_total) AS small_respondents,
        too_small OR (NOT is_total AND small_groups > 0 AND (small_groups = 1 OR small_respondents < {{min_group_size}})
            AND 1 + small_groups = row_number() OVER (PARTITION BY is_total ORDER BY too_small DESC, responding_users = 0, responding_users, entitled_users, group_name))
            OR has(withheld, (1, is_total, group_name)) OR has(withheld, (1, 1, '')) -- filtered
            AS suppressed
    FROM
    (
        SELECT
            grouping(group_of_user) = 1 AS is_total,
            group_of_user AS group_name,
            sum(is_person) AS entitled_users,
            sum(is_person AND user_scores > 0) AS responding_users,
            sumIf(user_scores, is_person) AS scores,
            sumIf(user_good_scores, is_person) AS good_scores,
            sumIf(user_scores, NOT on_roster) AS unentitled_scores,
            entitled_users > 0 AND entitled_users < {{min_group_size}} AS few_people,
            few_people OR (responding_users > 0 AND responding_users < {{min_group_size}})
                OR (NOT is_total AND 2 = row_number() OVER (PARTITION BY is_total ORDER BY few_people DESC, entitled_users, group_name)
                    AND 1 = sum(few_people) OVER (PARTITION BY is_total)) AS too_small
        FROM
        (
            SELECT
                max(row_group) AS group_of_user,
                max(row_person) AS is_person,
                max(row_listed) AS on_roster,
                sum(row_scores) AS user_scores,
                sum(row_good_scores) AS user_good_scores
            FROM
            (
                SELECT {{first ordinal}} AS first_ordinal, kind = 'person' AS row_person, if(row_person, {{group}}, '') AS row_group, 1 AS row_listed, 0 AS row_scores, 0 AS row_good_scores
                FROM roster
                WHERE system = {system:String} AND version = current_roster
                    AND entitled_from < {to:Date} AND entitled_to > {from:Date} AND next_from >= {to:Date} AND entitled_from < entitled_to
                        AND {{chosen}} -- filtered
                UNION ALL
                SELECT {{first ordinal}} AS first_ordinal, 0, '', 0, uniqExact(identity), uniqExactIf(identity, score >= 4)
                FROM raw_events
                WHERE system = {system:String} AND type = 'feedback' AND score > 0 AND time >= from_time AND time < to_time
                GROUP BY first_ordinal
            )
            GROUP BY first_ordinal
        )
        GROUP BY GROUPING SETS ((group_of_user), ())
        HAVING is_total OR (entitled_users > 0 AND {by:String} IN ('unit', 'role', 'tier', 'site', 'phase'))
    )
)
