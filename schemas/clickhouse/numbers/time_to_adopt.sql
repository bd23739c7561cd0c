-- M9: after how many days persons first used `feature`, one row for each number of days: `adopted` did then, `censored` had not by then and were not
-- watched any longer.
--   Of persons who are entitled in [from, to) and whose role is expected to use the feature (all, where no role is declared).
--   Days are counted from the latest of the go-live of the person's phase, the release of the feature, and the first day on which the person was
--   entitled; who used it before is counted at 0. A person is watched until `to`, or until the end of the entitlement. Whose days begin later
--   than that is left out.
-- Suppressed (one row, all NULL): fewer than {{min_group_size}} such persons, or entitled people at all.
CREATE OR REPLACE VIEW time_to_adopt AS
WITH
    {{zone}} AS current_zone,
    {{definition}} AS current_definition,
    {{roster}} AS current_roster,
    {{split}} AS split, -- split
    [({from:Date}, {to:Date})] AS periods, -- filtered
    {{withheld_of_roles}} AS withheld, -- filtered
    (
        SELECT
        (
            arrayFirst(listed -> listed.1 = {feature:String}, any(features)).4,
            ifNull(arrayFirst(listed -> listed.1 = {feature:String}, any(features)).3, toDate(0)),
            arrayMap(p -> p.1, any(phases)),
            arrayMap(p -> p.3, any(phases))
        )
        FROM systems
        WHERE system = {system:String} AND version = current_definition
    ) AS defined
SELECT
    too_small AS suppressed,
    if(too_small, NULL, after.1) AS days,
    if(too_small, NULL, after.2) AS adopted,
    if(too_small, NULL, after.3) AS censored
FROM
(
    SELECT
        groupArrayIf((days_watched, adopters, waiting), adopters + waiting > 0) AS afters,
        sum(adopters + waiting) AS watched_people,
        sum(people) AS entitled_people,
        (entitled_people > 0 AND entitled_people < {{min_group_size}}) OR (watched_people > 0 AND watched_people < {{min_group_size}})
            OR has(withheld, (1, 1, '')) OR arrayExists(role -> has(withheld, (1, 0, role)), defined.1) -- filtered
            AS too_small
    FROM
    (
        SELECT
            if(used, greatest(toInt32(first_use) - toInt32(begin), 0), toInt32(end) - toInt32(begin)) AS days_watched,
            countIf(is_watched AND used) AS adopters,
            countIf(is_watched AND NOT used) AS waiting,
            count() AS people
        FROM
        (
            SELECT
                begin,
                end,
                is_expected AND begin < end AS is_watched,
                first_use > toDate(0) AND first_use < end AS used,
                first_use
            FROM
            (
                SELECT
                    {{first ordinal}} AS first_ordinal,
                    greatest(min(entitled_from), defined.2, transform(maxIf(toString(phase), is_last), defined.3, defined.4, toDate(0))) AS begin,
                    least(maxIf(entitled_to, is_last), {to:Date}) AS end,
                    empty(defined.1) OR has(defined.1, maxIf(toString(role), is_last)) AS is_expected
                FROM
                (
                    SELECT ordinal, role, phase, entitled_from, entitled_to, entitled_to > {from:Date} AND next_from >= {to:Date} AS is_last
                        , {{chosen}} AS is_chosen -- filtered
                    FROM roster
                    WHERE system = {system:String} AND version = current_roster AND kind = 'person' AND entitled_from < {to:Date} AND entitled_from < entitled_to
                )
                GROUP BY first_ordinal
                HAVING max(
                    is_chosen AND -- filtered
                    is_last)
            ) AS persons
            LEFT JOIN
            (
                SELECT arrayJoin(bitmapToArray(used_set)) AS first_ordinal, min(local_date) AS first_use
                FROM
                (
                    SELECT local_date, {{users of groupBitmapMergeState(users)}} AS used_set
                    FROM feature_users
                    WHERE system = {system:String} AND zone = current_zone AND local_date < {to:Date} AND feature = {feature:String}
                    GROUP BY local_date
                )
                GROUP BY first_ordinal
            ) AS uses USING (first_ordinal)
        )
        GROUP BY days_watched
    )
)
ARRAY JOIN if(too_small, [(0, toUInt64(0), toUInt64(0))], afters) AS after
