CREATE TABLE IF NOT EXISTS roster_versions
(
    system      LowCardinality(String),
    version     UInt64,
    imported_at DateTime64(3, 'UTC'),
    rows        UInt64,
    users       UInt64,
    sha256      String
)
ENGINE = MergeTree
ORDER BY (system, version)
