//! Ingest against the real broker and the real engine.
