-- Finished runs of the reconciler. Every event stored before `through` has been compared; no day before `first_day` is ever compared, because its
-- raw events may have been deleted by retention.
CREATE TABLE IF NOT EXISTS reconcile_runs
(
    started_at  DateTime64(3, 'UTC'),
    finished_at DateTime64(3, 'UTC'),
    through     DateTime64(3, 'UTC'),
    first_day   Date,
    days        UInt64,
    rows        UInt64,
    differences UInt64,
    repaired    UInt64,
    pending     UInt64
)
ENGINE = MergeTree
ORDER BY started_at
