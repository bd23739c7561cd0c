-- What each user did on each local day: the exact sets behind every rate. `click_hours` has bit h set when the user clicked in
-- local hour h. `rebuilt` rows were derived again from `events` whose worker used another zone than the system has now.
CREATE TABLE IF NOT EXISTS user_days
(
    system        LowCardinality(String),
    zone          LowCardinality(String),
    rebuilt       UInt8,
    user          FixedString(16),
    local_date    Date,
    events        SimpleAggregateFunction(sum, UInt64),
    logins        SimpleAggregateFunction(sum, UInt64),
    failed_logins SimpleAggregateFunction(sum, UInt64),
    clicks        SimpleAggregateFunction(sum, UInt64),
    click_hours   SimpleAggregateFunction(groupBitOr, UInt32),
    first_time    SimpleAggregateFunction(min, DateTime64(3, 'UTC')),
    last_time     SimpleAggregateFunction(max, DateTime64(3, 'UTC'))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(local_date)
ORDER BY (system, zone, local_date, user, rebuilt)
SETTINGS non_replicated_deduplication_window = 10000
