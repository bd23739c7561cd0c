CREATE MATERIALIZED VIEW IF NOT EXISTS arrivals_of_raw_events TO arrivals AS
SELECT system, source, toStartOfFifteenMinutes(time) AS quarter, toStartOfHour(stored_at) AS stored_hour, count() AS events
FROM raw_events
GROUP BY system, source, quarter, stored_hour
