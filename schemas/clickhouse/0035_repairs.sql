-- What the reconciler did to a local day; the newest row of a day tells its state. `begun` is written before a rollup is changed, with what is
-- added to it (rows of differences) and removed from it (keys that no event stands for); `pending` days are looked at again by the next run.
CREATE TABLE IF NOT EXISTS repairs
(
    system     LowCardinality(String),
    zone       LowCardinality(String),
    local_date Date,
    at         DateTime64(3, 'UTC'),
    state      Enum8('pending' = 1, 'begun' = 2, 'done' = 3),
    rollup     LowCardinality(String),
    added      UInt64,
    removed    UInt64
)
ENGINE = MergeTree
ORDER BY (system, zone, local_date, at)
TTL toDate(at) + INTERVAL 12 MONTH
