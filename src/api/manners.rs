//! What holds for every answer: headers that protect a browser, a deadline, OPTIONS.

use std::time::Duration;

use anyhow::anyhow;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::Error;

/// Answers are data: nothing in them may run, load anything, or stand in a frame.
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'";
/// The pages under `/docs` run the scripts that are delivered with them, and nothing else.
const DOCS_POLICY: &str = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

const ALWAYS: [(HeaderName, HeaderValue); 4] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// Outside of compression.
pub async fn protect(request: Request, next: Next) -> Response {
    let is_page = request.uri().path().starts_with("/docs");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.extend(ALWAYS.map(|(name, value)| (Some(name), value)));
    let policy = if is_page { DOCS_POLICY } else { POLICY };
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static(if is_page { "no-cache" } else { "no-store" }));
    // Equal tags promise equal bytes, which the same answer compressed does not have (RFC 9110, 8.8.1).
    if headers.contains_key(CONTENT_ENCODING)
        && let Some(tag) = headers
            .get(ETAG)
            .and_then(|tag| tag.to_str().ok())
            .filter(|tag| tag.starts_with('"'))
        && let Ok(weak) = HeaderValue::try_from(format!("W/{tag}"))
    {
        headers.insert(ETAG, weak);
    }
    response
}

/// Gives a request up, and with it what it asks of ClickHouse, which has the same limit for each question.
pub async fn within(State(deadline): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(deadline, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Error::Deadline(anyhow!("the request took longer than {deadline:?}")).into_response(),
    }
}

/// Beside `Allow`, which the router adds.
pub async fn other_method(method: Method) -> Response {
    match method {
        Method::OPTIONS => StatusCode::NO_CONTENT.into_response(),
        method => Error::WrongMethod(method.to_string()).into_response(),
    }
}
