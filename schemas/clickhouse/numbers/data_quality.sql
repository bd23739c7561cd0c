-- How far the numbers of a window can be trusted, as one row (product.md, Trust). Dead letters that do not tell their system count for every system; those that were sent again do not count.
-- users_not_on_roster: users with any event and no roster row, of a person or a service account, on any day of the window.
CREATE OR REPLACE VIEW data_quality AS
WITH
    {{zone}} AS current_zone,
    if(current_zone = '', 'UTC', current_zone) AS timezone,
    {{roster}} AS current_roster,
    {{split}} AS split, -- split
    {{definition}} AS current_definition
SELECT complete_through, consumer_lag, dead_letters, uncatalogued_click_share, users_not_on_roster, rebuilding
FROM {{ingest_state}} AS state CROSS JOIN {{window_quality}} AS quality
