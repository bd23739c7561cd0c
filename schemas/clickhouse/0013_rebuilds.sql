-- Rebuilds of a system's rollups after its time zone was defined or changed; the newest row of a system tells its state.
CREATE TABLE IF NOT EXISTS rebuilds
(
    system       LowCardinality(String),
    zone         String,
    started_at   DateTime64(3, 'UTC'),
    updated_at   DateTime64(3, 'UTC'),
    months_done  UInt32,
    months_total UInt32,
    finished     UInt8
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY (system, started_at)
