-- Who was active on each local day, by the kind of activity: a successful login, a click, or any other event.
-- A set of users holds their ordinals. To add a user twice changes nothing, so these rollups cannot count twice. `rebuilt` rows were derived again
-- from `events` whose worker used another zone than the system has now.
CREATE TABLE IF NOT EXISTS day_users
(
    system     LowCardinality(String),
    zone       LowCardinality(String),
    rebuilt    UInt8,
    local_date Date,
    activity   Enum8('click' = 1, 'login' = 2, 'other' = 3),
    users      AggregateFunction(groupBitmap, UInt64)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(local_date)
ORDER BY (system, zone, local_date, activity, rebuilt)
SETTINGS non_replicated_deduplication_window = 10000
