-- Which local days of a system's targets have been evaluated, written after everything else of the day. Days that were not complete are evaluated
-- again, as long as they are not too long ago.
CREATE TABLE IF NOT EXISTS target_runs
(
    system       LowCardinality(String),
    day          Date,
    definition   UInt64,
    working      Bool,
    complete     Bool,
    reason       String,
    evaluated_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(evaluated_at)
ORDER BY (system, day)
