-- What a dashboard offers to choose from, and what its texts need; no number, and no parameters. One row for each system that is defined.
--   first_weekday: 1 = Monday … 7 = Sunday; min_group_size: groups of fewer people are suppressed
CREATE OR REPLACE VIEW system_list AS
SELECT
    system,
    argMax(name, version) AS title,
    argMax(zone, version) AS timezone,
    greatest(argMax(week_start, version), 1) AS first_weekday,
    argMax(phases, version) AS defined_phases,
    {{min_group_size}} AS min_group_size
FROM systems
GROUP BY system
