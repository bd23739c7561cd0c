-- How many events of each source came, by the quarter of an hour in which they happened and the hour in which they were stored: which sources fell
-- silent, and which months changed late. A quarter of an hour lies within one local day of every time zone, so a new time zone changes nothing here.
-- An event that is stored again after a crash is counted again: good for shares and for "something came", not for counting.
CREATE TABLE IF NOT EXISTS arrivals
(
    system      LowCardinality(String),
    source      LowCardinality(String),
    quarter     DateTime('UTC') CODEC(Delta, ZSTD(1)),
    stored_hour DateTime('UTC') CODEC(Delta, ZSTD(1)),
    events      UInt64
)
ENGINE = SummingMergeTree
PARTITION BY toYYYYMM(quarter)
ORDER BY (system, quarter, source, stored_hour)
SETTINGS non_replicated_deduplication_window = 10000
