INSERT INTO arrivals
SELECT system, source, toStartOfFifteenMinutes(time) AS quarter, toStartOfHour(stored_at) AS stored_hour, count()
FROM events
WHERE (SELECT count() FROM arrivals) = 0
GROUP BY system, source, quarter, stored_hour
