//! One row of `events` in ClickHouse's RowBinary.

use super::envelope::Position;
use super::users::User;
use super::zones::SystemZone;
use crate::event::{Body, Event};

/// The columns in the order in which [`encode`] writes them.
pub const COLUMNS: &str = "ordinal, type, outcome, score, system, time, user, feature, session, element, method, category, \
    comment, source, identity, zone, local_date, local_hour, kafka_topic, kafka_partition, kafka_offset, ingested_at";

/// Appends one row, which begins with the ordinal of its user.
pub fn encode(
    out: &mut Vec<u8>,
    event: &Event<'_>,
    user: &User,
    zone: &SystemZone,
    topic: &str,
    position: Position,
    ingested_ms: i64,
) {
    let local = zone.zone.local_hour(event.time_ms);
    let labels = Labels::of(&event.body);
    out.extend_from_slice(&user.ordinal.to_le_bytes());
    out.extend_from_slice(&[labels.kind, labels.outcome, labels.score]);
    string(out, &event.system);
    out.extend_from_slice(&event.time_ms.to_le_bytes());
    out.extend_from_slice(&user.pseudonym.0);
    for text in [
        labels.feature,
        labels.session,
        labels.element,
        labels.method,
        labels.category,
        labels.comment,
    ] {
        string(out, text);
    }
    string(out, &event.source);
    out.extend_from_slice(&event.identity.0.to_be_bytes());
    string(out, &zone.name);
    out.extend_from_slice(&local.date.to_le_bytes());
    out.push(local.hour);
    string(out, topic);
    out.extend_from_slice(&(position.partition as u16).to_le_bytes());
    out.extend_from_slice(&(position.offset as u64).to_le_bytes());
    out.extend_from_slice(&ingested_ms.to_le_bytes());
}

/// The columns that depend on the type of the event; what a type does not have is empty or 0.
#[derive(Default)]
struct Labels<'a> {
    kind: u8,
    outcome: u8,
    score: u8,
    feature: &'a str,
    session: &'a str,
    element: &'a str,
    method: &'a str,
    category: &'a str,
    comment: &'a str,
}

impl<'a> Labels<'a> {
    fn of(body: &'a Body<'_>) -> Self {
        match body {
            Body::Login {
                success,
                session,
                method,
            } => Self {
                kind: 1,
                outcome: if *success { 1 } else { 2 },
                session: session.as_deref().unwrap_or_default(),
                method: method.as_deref().unwrap_or_default(),
                ..Self::default()
            },
            Body::FeatureClick {
                feature,
                session,
                element,
            } => Self {
                kind: 2,
                feature,
                session: session.as_deref().unwrap_or_default(),
                element: element.as_deref().unwrap_or_default(),
                ..Self::default()
            },
            Body::Feedback {
                score,
                category,
                feature,
                comment,
            } => Self {
                kind: 3,
                score: score.unwrap_or_default(),
                category: category.as_deref().unwrap_or_default(),
                feature: feature.as_deref().unwrap_or_default(),
                comment: comment.as_deref().unwrap_or_default(),
                ..Self::default()
            },
        }
    }
}

/// Length as LEB128, then the bytes.
fn string(out: &mut Vec<u8>, text: &str) {
    let mut length = text.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(text.as_bytes());
}
