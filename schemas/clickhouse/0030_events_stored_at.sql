-- When ClickHouse stored the row, by its own clock. `ingested_at` is the worker's: a batch that had to wait is stored long after it.
ALTER TABLE events ADD COLUMN IF NOT EXISTS stored_at DateTime64(3, 'UTC') DEFAULT ingested_at CODEC(Delta, ZSTD(1))
