//! The program against the real broker and the real engine. A missing component fails a test; nothing is skipped.

mod api;
mod definitions;
mod engine;
mod harness;
mod import;
mod ingest;
mod kafka;
mod numbers;
mod proxy;
mod simulate;
mod up;
