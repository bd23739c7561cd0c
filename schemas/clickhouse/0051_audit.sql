-- Who changed what, and when. An entry is written before the change (`begun`) and again after it, with what came of it: the later step of an id
-- counts. Ids are UUIDs of version 7, so their order is that of time. detail: JSON.
CREATE TABLE IF NOT EXISTS audit
(
    id      String,
    step    UInt8,
    at      DateTime64(3, 'UTC'),
    kind    LowCardinality(String),
    who     String,
    roles   Array(String),
    action  LowCardinality(String),
    object  String,
    outcome LowCardinality(String),
    detail  String CODEC(ZSTD(3))
)
ENGINE = ReplacingMergeTree(step)
ORDER BY id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
