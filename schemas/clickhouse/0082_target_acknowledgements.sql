-- Who has taken note of which change of state, and what they said; the newest of an alert counts.
CREATE TABLE IF NOT EXISTS target_acknowledgements
(
    alert_id String,
    system   LowCardinality(String),
    at       DateTime64(3, 'UTC'),
    who      String,
    comment  String
)
ENGINE = MergeTree
ORDER BY (system, alert_id, at)
