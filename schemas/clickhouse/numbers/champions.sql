-- M22: how many of the persons entitled in the calendar month that begins on `month` are champions, per group (`by` as in adoption) and in the whole
-- system (is_total). parts/champion_people says who is one. Suppressed as in adoption.
CREATE OR REPLACE VIEW champions AS
WITH
    {{split}} AS split, -- split
    [({month:Date}, addMonths({month:Date}, 1))] AS periods, -- filtered
    {{withheld}} AS withheld, -- filtered
    {{zone}} AS current_zone,
    {{definition}} AS current_definition,
    {{roster}} AS current_roster
SELECT
    is_total,
    group_name,
    suppressed,
    if(suppressed, NULL, entitled_users) AS entitled,
    if(suppressed, NULL, champion_users) AS champions,
    if(suppressed OR entitled_users = 0, NULL, champion_users / entitled_users) AS share
FROM
(
    SELECT
        grouping(group_of_user) = 1 AS is_total,
        group_of_user AS group_name,
        count() AS entitled_users,
        countIf(is_champion) AS champion_users,
        entitled_users > 0 AND entitled_users < {{min_group_size}} AS too_small,
        too_small OR (NOT is_total AND 2 = row_number() OVER (PARTITION BY is_total ORDER BY too_small DESC, entitled_users, group_name)
            AND 1 = sum(too_small) OVER (PARTITION BY is_total))
            OR has(withheld, (1, is_total, group_name)) OR has(withheld, (1, 1, '')) -- filtered
            AS suppressed
    FROM {{champion_people}}
    GROUP BY GROUPING SETS ((group_of_user), ())
    HAVING is_total OR {by:String} IN ('unit', 'role', 'tier', 'site', 'phase')
)
