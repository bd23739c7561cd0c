-- Who was erased: a keyed hash of the pseudonym, and the time before which nothing of that user is counted any more. The newest time counts. Kept
-- for good: the topic of events, or a copy of it, may be read again at any time.
CREATE TABLE IF NOT EXISTS erased
(
    tombstone FixedString(16),
    before    DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(before)
ORDER BY tombstone
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
