-- M13: how many of the persons entitled on the day `on` are in each state of their lifecycle, per group (`by` as in adoption) and in the whole system
-- (is_total). Everybody is in exactly one state; parts/lifecycle_people says in which. Suppressed as in adoption.
CREATE OR REPLACE VIEW lifecycle AS
WITH
    {{split}} AS split, -- split
    [({on:Date}, {on:Date} + 1)] AS periods, -- filtered
    {{withheld}} AS withheld, -- filtered
    {{zone}} AS current_zone,
    {{roster}} AS current_roster
SELECT
    is_total,
    group_name,
    suppressed,
    if(suppressed, NULL, entitled_users) AS entitled,
    if(suppressed, NULL, never_users) AS never,
    if(suppressed, NULL, new_users) AS new,
    if(suppressed, NULL, returning_users) AS returning,
    if(suppressed, NULL, resurrected_users) AS resurrected,
    if(suppressed, NULL, at_risk_users) AS at_risk,
    if(suppressed, NULL, dormant_users) AS dormant
FROM
(
    SELECT
        grouping(group_of_user) = 1 AS is_total,
        group_of_user AS group_name,
        count() AS entitled_users,
        countIf(state = 'never') AS never_users,
        countIf(state = 'new') AS new_users,
        countIf(state = 'returning') AS returning_users,
        countIf(state = 'resurrected') AS resurrected_users,
        countIf(state = 'at_risk') AS at_risk_users,
        countIf(state = 'dormant') AS dormant_users,
        entitled_users > 0 AND entitled_users < {{min_group_size}} AS too_small,
        too_small OR (NOT is_total AND 2 = row_number() OVER (PARTITION BY is_total ORDER BY too_small DESC, entitled_users, group_name)
            AND 1 = sum(too_small) OVER (PARTITION BY is_total))
            OR has(withheld, (1, is_total, group_name)) OR has(withheld, (1, 1, '')) -- filtered
            AS suppressed
    FROM {{lifecycle_people}}
    GROUP BY GROUPING SETS ((group_of_user), ())
    HAVING is_total OR {by:String} IN ('unit', 'role', 'tier', 'site', 'phase')
)
