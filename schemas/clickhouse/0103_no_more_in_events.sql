-- `raw_events` takes the place of `events`: a worker of the version before, that was not stopped, must not store what would not be brought over.
ALTER TABLE events ADD CONSTRAINT IF NOT EXISTS raw_events_took_its_place CHECK ingested_at < toDateTime64(0, 3)
