//! Logs: human-readable on a terminal, JSON otherwise or when asked; to stderr, so that stdout stays the command's own.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// `UPTAKE_LOG` filters as `tracing`'s directives do (default `info`); `UPTAKE_LOG_FORMAT=json|text` overrides the format.
pub fn init() {
    let filter = EnvFilter::try_from_env("UPTAKE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let json = match std::env::var("UPTAKE_LOG_FORMAT").as_deref() {
        Ok("json") => true,
        Ok(_) => false,
        Err(_) => !std::io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if json {
        builder.json().flatten_event(true).init()
    } else {
        builder.with_target(false).init()
    }
}
