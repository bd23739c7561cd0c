-- While the secret is rotated: what each pseudonym and each tombstone becomes. Empty before and after.
CREATE TABLE IF NOT EXISTS rotating
(
    before FixedString(16),
    after  FixedString(16)
)
ENGINE = MergeTree
ORDER BY before
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
