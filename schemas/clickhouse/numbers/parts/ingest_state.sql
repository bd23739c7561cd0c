-- How far ingest is, as one row; whether the counts of the system are being derived again, and whether any may have been.
SELECT
    if(count() = 0, NULL, min(complete_through)) AS complete_through,
    if(count() = 0, NULL, toUInt64(sum(greatest(toInt64(end_offset) - toInt64(committed_offset), 0)))) AS consumer_lag,
    assumeNotNull((
        SELECT (count() > 0 AND argMax(finished, (started_at, updated_at)) = 0, countIf(months_total > 0 OR finished = 0) > 0)
        FROM rebuilds FINAL
        WHERE system = {system:String}
    )) AS rebuilds_of_system,
    rebuilds_of_system.1 AS rebuilding,
    rebuilds_of_system.2 AS rebuilt
FROM ingest_progress FINAL
