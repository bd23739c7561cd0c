//! The program against the real broker and the real engine. A missing component fails a test; nothing is skipped.

mod definitions;
mod engine;
mod harness;
mod import;
mod kafka;
mod up;
