//! `POST /api/v1/events`: CloudEvents over HTTP, answered after Kafka acknowledged them.
//!
//! A request is taken whole or not at all, by the same rules as ingest. Each event goes to Kafka with its own bytes.

mod collector;
mod modes;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, Uri};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

pub use self::collector::Collector;
use self::collector::{Delivery, Outgoing};
pub use self::modes::Mode;
use super::App;
use super::error::{Error, Fault, ProblemDetails};
use super::params::Parameters;
use super::systems::whole;
use crate::access::{Caller, Scope};
use crate::error::Problem;
use crate::event::{Event, Reject, TimeRange};

/// A larger body keeps a core busy for longer than those that answer requests should be.
const INLINE_BYTES: usize = 128 * 1024;

#[derive(Debug, Serialize, ToSchema)]
pub struct Accepted {
    /// How many events Kafka has. They are counted about a second later.
    #[schema(example = 1)]
    pub accepted: usize,
}

/// An event; docs/events.md says what its fields hold. Only documents: [`Event`] reads it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description for OpenAPI")]
pub struct CloudEvent {
    #[schema(example = "1.0")]
    specversion: String,
    /// With `source` the identity of the event: what is sent again counts once.
    #[schema(example = "01JD8Q2Z")]
    id: String,
    #[schema(example = "/erp/prod")]
    source: String,
    /// `usage.login.v1`, `usage.feature_click.v1` or `usage.feedback.v1`
    #[schema(example = "usage.feature_click.v1")]
    r#type: String,
    /// The user.
    #[schema(example = "u-1001")]
    subject: String,
    #[schema(value_type = String, format = DateTime, example = "2026-03-02T08:15:30.123Z")]
    time: Timestamp,
    #[schema(value_type = Object, example = json!({"system": "erp", "feature": "finance.invoice.approve"}))]
    data: (),
}

/// Sends events: one, a batch, or (`application/json` with `ce-*` headers) the data of one. All are taken, or none.
///
/// Answered after every replica of Kafka that must has them. Whatever the answer, the same request may be sent again:
/// an event is known by `source` and `id`, and counts once.
#[utoipa::path(
    post,
    path = "/api/v1/events",
    tag = "events",
    request_body(content(
        (CloudEvent = "application/cloudevents+json"),
        (Vec<CloudEvent> = "application/cloudevents-batch+json"),
        (Object = "application/json", example = json!({"system": "erp", "feature": "finance.invoice.approve"}))
    )),
    responses(
        (status = 202, description = "Kafka has all of them", body = Accepted, example = json!({"accepted": 2})),
        (
            status = 422,
            description = "None was taken: `errors` has an entry for each wrong event",
            body = ProblemDetails,
            content_type = "application/problem+json",
            example = json!({
                "type": "about:blank", "title": "Unprocessable Entity", "status": 422, "code": "invalid_events",
                "detail": "no event was taken: 1 event to correct",
                "errors": [{"index": 3, "reason": "invalid_value", "place": "data.outcome", "value": "\"ok\"",
                    "expected": "success or failure"}]
            })
        )
    )
)]
pub async fn post_events(
    State(app): State<App>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Accepted>), Error> {
    Parameters::of(&uri)?.finish()?;
    let collector = app.collector;
    let mode = Mode::of(&headers)?;
    let body = whole(body, collector.limits.max_body_bytes)?;
    let delivery = if body.len() <= INLINE_BYTES {
        take(&collector, &caller.systems, &mode, &body)
    } else {
        let collector = collector.clone();
        let taken = tokio::task::spawn_blocking(move || take(&collector, &caller.systems, &mode, &body));
        taken.await.map_err(|error| Error::Internal(error.into()))?
    }?;
    let accepted = delivery.events;
    collector.acknowledged(delivery).await?;
    Ok((StatusCode::ACCEPTED, Json(Accepted { accepted })))
}

/// Checks every event of the body, then queues them all.
fn take(collector: &Collector, systems: &Scope, mode: &Mode, body: &[u8]) -> Result<Delivery, Error> {
    let messages = mode.messages(body, collector.limits.max_events)?;
    let now_ms = Timestamp::now().as_millisecond();
    let times = TimeRange::at(now_ms, collector.retention_days, collector.rules.future_tolerance_ms);
    let mut events = Vec::with_capacity(messages.len());
    let mut faults = Vec::new();
    for (index, message) in messages.into_iter().enumerate() {
        match Event::read(mode.attributes(), message, collector.rules.max_event_bytes, times) {
            Ok(Event { system, .. }) if !systems.allows(&system) => {
                return Err(Error::Forbidden(format!(
                    "you may not send events of the system {system:?}"
                )));
            }
            Ok(Event { subject, .. }) => events.push(Outgoing { subject, message }),
            Err(reject) => faults.push(fault(index, reject)),
        }
    }
    if faults.is_empty() {
        return collector.queue(&events, mode.kafka_headers(), body.len());
    }
    for reason in faults.iter().filter_map(|fault| fault.reason) {
        collector.refused(reason, 1);
    }
    Err(Error::InvalidEvents(faults))
}

fn fault(index: usize, reject: Reject) -> Fault {
    // Over HTTP the header has another name than in Kafka.
    let place = match reject.place.strip_prefix("ce_") {
        Some(attribute) => format!("ce-{attribute}"),
        None => reject.place,
    };
    Fault {
        index: Some(index),
        reason: Some(reject.reason.code()),
        problem: Problem {
            place,
            value: reject.found,
            expected: reject.expected,
        },
    }
}
