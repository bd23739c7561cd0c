-- What each working day said of each target and group. A day that is evaluated again replaces itself. `decided` is the state decided last ('undecided':
-- none), which undecided days leave as it is; `days` are working days in a row below the ramp or clear of it; `since` is the first day of `state`.
-- alert_id is that of the change of state made by this day, empty where it made none. Undecided days, and with them suppressed groups, have no numbers.
CREATE TABLE IF NOT EXISTS target_days
(
    system       LowCardinality(String),
    target       LowCardinality(String),
    group_name   LowCardinality(String),
    day          Date,
    metric       LowCardinality(String),
    dimension    LowCardinality(String),
    state        LowCardinality(String),
    decided      LowCardinality(String),
    days         UInt32,
    since        Date,
    previous     LowCardinality(String),
    reason       LowCardinality(String),
    rate         Nullable(Float64),
    expected     Nullable(Float64),
    eligible     Nullable(UInt64),
    day_value    Nullable(Float64),
    usual_value  Nullable(Float64),
    alert_id     String,
    evaluated_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(evaluated_at)
ORDER BY (system, target, group_name, day)
