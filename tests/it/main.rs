//! The program against the real broker and the real engine. A missing component fails a test; nothing is skipped.

mod api;
mod engine;
mod harness;
mod kafka;
mod simulate;
mod numbers;
mod up;
