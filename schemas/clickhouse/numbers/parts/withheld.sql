-- What must not be told of a question with a filter, in each of `periods` (pairs of days that the number which holds this text defines): the total
-- (period, 1, ''), with which every group falls, and groups (period, 0, group). Nothing where there is no filter.
--   The filter's values and the group are conditions; several values of one dimension are asked one by one. People who meet some conditions are told only
--   where they are told with any of these left out (every subset is looked at), and, along each dimension (axis) of them, alone among its values:
--   dirty     the persons of the value who meet the other conditions, the others of the value, the others who meet the conditions, or all the rest are
--             somebody, but fewer than {{min_group_size}}: one is the difference of answers with a condition more or less
--   withheld  the dirty values, and further ones from the smallest until those are two or more and both sides of them have {{min_group_size}} persons
--             or nobody, so that what is dirty does not follow from the whole less the values that are told
-- axis 0 is the dimension of the groups, whose values all count as asked for; the others are those of the filter, in its whole (of_all) and within a group.
WITH
    arrayDistinct(tupleElement({filter:Array(Tuple(String, String))}, 1)) AS dimensions,
    (SELECT arrayFlatten(arrayMap(s -> arrayMap(a -> (2 * s + 1, a), arrayFilter(a -> bitTest(2 * s + 1, a), range(length(dimensions) + 1))),
        range(bitShiftLeft(1, length(dimensions)))))) AS looks
SELECT groupUniqArray((toUInt32(period_number), toUInt8(axis > 0 AND of_all), if(axis > 0, group_of_scope, axis_value)))
FROM
(
    SELECT
        *,
        is_dirty OR (max(is_dirty) OVER (PARTITION BY period_number, of_all, group_of_scope, subset, axis, others)
            AND (place = 2 OR before_in < {{min_group_size}} OR (before_out > 0 AND before_out < {{min_group_size}}))) AS is_withheld
    FROM
    (
        SELECT
            *,
            row_number() OVER (PARTITION BY period_number, of_all, group_of_scope, subset, axis, others ORDER BY is_dirty DESC, people, axis_value) AS place,
            sum(people) OVER (PARTITION BY period_number, of_all, group_of_scope, subset, axis, others ORDER BY is_dirty DESC, people, axis_value
                ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) - people AS before_in,
            sum(of_value - people) OVER (PARTITION BY period_number, of_all, group_of_scope, subset, axis, others ORDER BY is_dirty DESC, people, axis_value
                ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) - (of_value - people) AS before_out
        FROM
        (
            SELECT
                *,
                arrayExists(n -> n > 0 AND n < {{min_group_size}}, [people, of_value - people, meeting - people, everybody - of_value - meeting + people]) AS is_dirty
            FROM
            (
                SELECT
                    *,
                    sum(people) OVER (PARTITION BY period_number, of_all, subset, axis, axis_value) AS of_value,
                    sum(people) OVER (PARTITION BY period_number, of_all, group_of_scope, subset, axis, others) AS meeting,
                    sum(people) OVER (PARTITION BY period_number, of_all, subset, axis) AS everybody
                FROM
                (
                    SELECT
                        period_number,
                        of_all,
                        look.1 AS subset,
                        look.2 AS axis,
                        if(of_all, '', group_of_people) AS group_of_scope,
                        if(axis = 0, group_of_people, place_values[axis]) AS axis_value,
                        -- For each dimension which of its values is met, 0 for none; of those that are left out and of the axis 1.
                        arrayMap((which, i) -> if(i = axis OR NOT bitTest(subset, i), 1, which), asked, arrayEnumerate(asked)) AS others,
                        axis = 0 OR asked[axis] > 0 AS is_asked,
                        toInt64(sum(people_of_place)) AS people
                    FROM
                    (
                        SELECT
                            period_number,
                            group_of_people,
                            place_values,
                            arrayMap((d, v) -> indexOf({filter:Array(Tuple(String, String))}, (d, v)), dimensions, place_values) AS asked,
                            sum(rows_of_place) AS people_of_place
                        FROM
                        (
                            SELECT
                                entitled_from,
                                entitled_to,
                                next_from,
                                toString({{group}}) AS group_of_people,
                                arrayMap(d -> [toString(unit), toString(role), toString(tier), toString(site), toString(phase)]
                                    [indexOf(['unit', 'role', 'tier', 'site', 'phase'], d)], dimensions) AS place_values,
                                count() AS rows_of_place
                            FROM roster
                            WHERE system = {system:String} AND version = current_roster AND kind = 'person' AND entitled_from < entitled_to
                                AND notEmpty(dimensions)
                            GROUP BY entitled_from, entitled_to, next_from, group_of_people, place_values
                        )
                        ARRAY JOIN arrayFilter((i, p) -> entitled_from < p.2 AND entitled_to > p.1 AND next_from >= p.2, arrayEnumerate(periods), periods) AS period_number
                        GROUP BY period_number, group_of_people, place_values
                    )
                    ARRAY JOIN looks AS look
                    ARRAY JOIN if(look.2 = 0, [1], [1, 0]) AS of_all
                    GROUP BY period_number, of_all, subset, axis, group_of_scope, axis_value, others, is_asked
                )
            )
        )
        WHERE NOT has(others, 0)
    )
)
WHERE is_withheld AND is_asked
