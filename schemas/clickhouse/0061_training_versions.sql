CREATE TABLE IF NOT EXISTS training_versions
(
    system      LowCardinality(String),
    version     UInt64,
    imported_at DateTime64(3, 'UTC'),
    users       UInt64,
    sha256      String
)
ENGINE = MergeTree
ORDER BY (system, version)
