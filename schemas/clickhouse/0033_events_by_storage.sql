ALTER TABLE events ADD INDEX IF NOT EXISTS by_storage stored_at TYPE minmax GRANULARITY 4
