//! What is recorded of every request, and what becomes of a handler that panics.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use anyhow::anyhow;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::Error;
use crate::metrics::{Metrics, RouteLabel};

/// Counts and times requests by route pattern (never by path, which has no bound) and status.
pub async fn count(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("(none)", |matched| matched.as_str()).to_owned();
    let started = Instant::now();
    let response = next.run(request).await;
    let label = RouteLabel {
        route,
        status: response.status().as_u16(),
    };
    metrics.api.requests.get_or_create(&label).inc();
    let seconds = started.elapsed().as_secs_f64();
    metrics.api.request_seconds.get_or_create(&label).observe(seconds);
    response
}

/// A panic is a defect: it is logged with its message, and the client learns only that the request failed.
pub fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message");
    Error::Internal(anyhow!("panicked: {message}")).into_response()
}
