-- Who was trained on which day. A row belongs to one version of a system's trainings and is never changed; a version counts once it stands in
-- training_versions, and the newest one counts alone.
CREATE TABLE IF NOT EXISTS training
(
    system     LowCardinality(String),
    version    UInt64,
    user       FixedString(16),
    ordinal    UInt64,
    trained_on Date
)
ENGINE = MergeTree
ORDER BY (system, version, user)
