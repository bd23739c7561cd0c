//! Uptake: is enterprise software really used after go-live?
//!
//! The modules, in the order the data flows:
//!
//! ```text
//! simulate, import ─► Kafka ─► ingest ─► store (ClickHouse) ─► measure ─► api, targets
//! ```
//!
//! `reconcile` compares what `ingest` stored with what was counted of it.
//!
//! `doctor` asks all of them what is wrong.
//!
//! Imports point one way: `main → ingest | api | targets | import | rejected | simulate → reconcile | measure → store → event → config`.

pub mod access;
pub mod api;
pub mod calendar;
pub mod columns;
pub mod config;
pub mod definition;
pub mod doctor;
pub mod embedded;
pub mod erase;
pub mod error;
pub mod event;
pub mod identify;
pub mod import;
pub mod ingest;
pub mod lifecycle;
pub mod measure;
pub mod metrics;
pub mod ops;
pub mod pseudonym;
pub mod reconcile;
pub mod rejected;
pub mod roster;
pub mod rotate;
pub mod simulate;
pub mod store;
pub mod targets;
pub mod telemetry;
pub mod training;
