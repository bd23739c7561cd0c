-- M3 for everyone to see: one row for each period and group, and is_total = 1 for the whole system. A group of fewer than {{min_group_size}} entitled
-- people has no numbers, and neither has the next smallest where it would be the only one, because total minus the others would tell it.
-- unentitled = active without a roster row; it stands in the total only and is never hidden: it is about no group.
CREATE OR REPLACE VIEW adoption AS
SELECT
    period_from,
    group_name,
    is_total,
    too_small OR (is_total = 0 AND small_groups = 1 AND place = 2) AS suppressed,
    if(suppressed, NULL, entitled_users) AS entitled,
    if(suppressed, NULL, active_users) AS active,
    if(suppressed OR entitled_users = 0, NULL, active_users / entitled_users) AS rate,
    if(is_total, unentitled_users, NULL) AS unentitled
FROM
(
    SELECT
        *,
        entitled_users > 0 AND entitled_users < {{min_group_size}} AS too_small,
        sum(too_small) OVER (PARTITION BY period_from, is_total) AS small_groups,
        row_number() OVER (PARTITION BY period_from, is_total ORDER BY too_small DESC, entitled_users, group_name) AS place
    FROM adoption_exact(system = {system:String}, from = {from:Date}, to = {to:Date}, by = {by:String}, measure = {measure:String}, grain = {grain:String})
    WHERE is_total = 1 OR (entitled_users > 0 AND {by:String} != 'none')
)
