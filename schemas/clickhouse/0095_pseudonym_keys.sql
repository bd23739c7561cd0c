-- By what the secret that pseudonyms are made with is recognised: a keyed hash of a text that is always the same.
CREATE TABLE IF NOT EXISTS pseudonym_keys
(
    fingerprint FixedString(16),
    since       DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY fingerprint
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
