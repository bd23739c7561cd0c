-- Every version of every system definition; the newest one counts. One row is one version, so that a definition applies whole or not at all.
-- weekdays: 1 = Monday … 7 = Sunday. week_start likewise.
CREATE TABLE IF NOT EXISTS systems
(
    system             LowCardinality(String),
    version            UInt64,
    applied_at         DateTime64(3, 'UTC'),
    name               String,
    zone               String,
    week_start         UInt8,
    weekdays           Array(UInt8),
    holidays           Array(Date),
    extra_working_days Array(Date),
    phases             Array(Tuple(phase String, name String, go_live Date, kpi_met Nullable(Bool))),
    features           Array(Tuple(feature String, title String, released Nullable(Date), roles Array(String), cadence String)),
    definition         String CODEC(ZSTD(3))
)
ENGINE = MergeTree
ORDER BY (system, version)
