-- Every version of every bearer token of the API, by name; the newest one counts. The token itself is nowhere: sha256 is what it is known by.
-- Empty systems or units: all of them. An empty expires_at: never.
CREATE TABLE IF NOT EXISTS tokens
(
    name       String,
    version    UInt64,
    created_at DateTime64(3, 'UTC'),
    expires_at Nullable(DateTime64(3, 'UTC')),
    revoked    Bool,
    sha256     FixedString(32),
    roles      Array(String),
    systems    Array(String),
    units      Array(String)
)
ENGINE = MergeTree
ORDER BY (name, version)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
