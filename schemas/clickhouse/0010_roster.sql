-- Who is entitled, with which dimensions, on the days [entitled_from, entitled_to). An open end is 2149-06-06, the last day a Date holds.
-- `next_from` is the first day of the user's next row of the same kind, also 2149-06-06 where there is none: the row that forms a user's group in a window
-- that ends with the day before `to` is the one with entitled_from < to <= next_from (product.md, roster).
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
    entitled_to   Date,
    next_from     Date
)
ENGINE = MergeTree
ORDER BY (system, version, user, entitled_from)
