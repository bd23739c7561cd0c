-- Who is entitled, with which dimensions, on the days [entitled_from, entitled_to). An open end is 2149-06-06, the last day a Date holds.
-- A row belongs to one version of the roster and is never changed; a version counts once it stands in roster_versions.
CREATE TABLE IF NOT EXISTS roster
(
    system        LowCardinality(String),
    version       UInt64,
    user          FixedString(16),
    ordinal       UInt64,
    kind          Enum8('person' = 1, 'service' = 2),
    unit          LowCardinality(String),
    role          LowCardinality(String),
    tier          LowCardinality(String),
    site          LowCardinality(String),
    phase         LowCardinality(String),
    entitled_from Date,
    entitled_to   Date
)
ENGINE = MergeTree
ORDER BY (system, version, user, entitled_from)
