//! The program against the real broker and the real engine. A missing component fails a test; nothing is skipped.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; helpers outside of test functions too"
)]

mod access;
mod alerting;
mod api;
mod audit;
mod backup;
mod cluster;
mod collector;
#[path = "../common/mod.rs"]
mod common;
mod definitions;
mod deploy;
mod doctor;
mod engine;
mod erase;
mod flows;
mod harness;
mod import;
mod ingest;
mod kafka;
mod manners;
mod numbers;
mod oidc;
mod ordinals;
mod people;
mod phases;
mod privacy;
mod random_clicks;
mod reader;
mod reconcile;
mod reference;
mod rejected;
mod rotation;
mod rows;
mod secret;
mod simulate;
mod split;
mod standing;
mod target_numbers;
mod targets;
mod up;
mod upgrade;
mod wire;
