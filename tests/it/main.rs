//! The program against the real broker and the real engine. A missing component fails a test; nothing is skipped.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod engine;
mod harness;
mod kafka;
mod up;
