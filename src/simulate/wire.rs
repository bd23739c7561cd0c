//! The messages as they stand on the topic: CloudEvents of the simulated events, and every kind of malformed one.

use jiff::Timestamp;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use super::behaviour::{Action, CATEGORIES, Event};
use super::catalogue::FEATURES;
use super::company::Company;
use super::deliveries::Content;

/// Every reason for which ingest refuses an event. The n-th malformed message has the n-th of them, over and over.
pub const REASONS: [&str; 10] = [
    "too_large",
    "invalid_utf8",
    "invalid_json",
    "not_cloudevent",
    "missing_field",
    "wrong_type",
    "invalid_value",
    "unknown_type",
    "time_in_future",
    "time_before_retention",
];

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'a str,
    id: &'a str,
    source: &'a str,
    r#type: &'a str,
    subject: &'a str,
    time: Timestamp,
    datacontenttype: &'a str,
    data: Data<'a>,
}

#[derive(Default, Serialize)]
struct Data<'a> {
    system: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    feature: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a str>,
}

/// Writes messages of one run. The same event always gives the same bytes, id included.
pub struct Encoder<'a> {
    company: &'a Company,
    source: String,
    /// Distinguishes the ids of runs whose events differ.
    run: u64,
}

impl<'a> Encoder<'a> {
    pub fn new(company: &'a Company) -> Self {
        let plan = &company.plan;
        let zone = plan.zone.iana_name().unwrap_or("UTC");
        let run = format!("{} {} {} {} {zone}", plan.system, plan.seed, plan.start, plan.days);
        Self {
            company,
            source: format!("/simulate/{}", plan.system),
            run: xxh3_64(run.as_bytes()),
        }
    }

    /// Replaces the content of `message`, and returns its key.
    pub fn message(&self, content: &Content, message: &mut Vec<u8>) -> &'a str {
        match content {
            Content::Event(event) | Content::Repeat(event) => {
                self.event(event, message);
                self.key(event)
            }
            Content::Malformed(event, number) => {
                self.malformed(event, *number, message);
                self.key(event)
            }
        }
    }

    fn key(&self, event: &Event) -> &'a str {
        &self.company.members[event.member as usize].subject
    }

    fn event(&self, event: &Event, message: &mut Vec<u8>) {
        let session = format!("{}-{}", self.key(event), event.day);
        let data = Data {
            system: &self.company.plan.system,
            ..Data::default()
        };
        let (r#type, data) = match event.action {
            Action::Login { success } => {
                let outcome = Some(if success { "success" } else { "failure" });
                let session = success.then_some(session.as_str());
                (
                    "usage.login.v1",
                    Data {
                        outcome,
                        session,
                        method: Some("password"),
                        ..data
                    },
                )
            }
            Action::Click { feature } => {
                let feature = Some(FEATURES[usize::from(feature)].key);
                (
                    "usage.feature_click.v1",
                    Data {
                        feature,
                        session: Some(&session),
                        ..data
                    },
                )
            }
            Action::Feedback { score, category } => {
                let score = (score > 0).then_some(score);
                let category = Some(CATEGORIES[usize::from(category)]);
                (
                    "usage.feedback.v1",
                    Data {
                        score,
                        category,
                        comment: Some("simulated / 模拟"),
                        ..data
                    },
                )
            }
        };
        self.write(event, "", r#type, data, message);
    }

    /// Writes a message to be refused, as [`reason`] says, with the subject and time of `event`.
    fn malformed(&self, event: &Event, number: u64, message: &mut Vec<u8>) {
        let reason = reason(number);
        let long = if reason == "too_large" {
            "x".repeat(70_000)
        } else {
            String::new()
        };
        let data = Data {
            system: &self.company.plan.system,
            feature: (reason != "missing_field").then_some("home.dashboard.open"),
            outcome: (reason == "too_large").then_some(&long),
            ..Data::default()
        };
        let r#type = if reason == "unknown_type" {
            "usage.page_view.v1"
        } else {
            "usage.feature_click.v1"
        };
        self.write(event, "-malformed", r#type, data, message);
        let time = format!("\"time\":\"{}\"", timestamp(event));
        match reason {
            "invalid_utf8" => replace(message, "home.dashboard", b"home.\xff\xfe"),
            "invalid_json" => message.truncate(message.len() - 1),
            "not_cloudevent" => replace(message, "\"1.0\"", b"\"0.3\""),
            "wrong_type" => replace(message, "\"home.dashboard.open\"", b"42"),
            "invalid_value" => replace(message, "home.dashboard.open", br"home\u0007open"),
            "time_in_future" => replace(message, &time, b"\"time\":\"2100-01-01T00:00:00Z\""),
            "time_before_retention" => replace(message, &time, b"\"time\":\"2001-01-01T00:00:00Z\""),
            _ => {}
        }
    }

    fn write(&self, event: &Event, suffix: &str, r#type: &str, data: Data<'_>, message: &mut Vec<u8>) {
        let subject = self.key(event);
        let id = format!("{:016x}-{subject}-{}-{}{suffix}", self.run, event.day, event.number);
        message.clear();
        let event = CloudEvent {
            specversion: "1.0",
            id: &id,
            source: &self.source,
            r#type,
            subject,
            time: timestamp(event),
            datacontenttype: "application/json",
            data,
        };
        serde_json::to_writer(message, &event).expect("a Vec takes every write, and these types serialise");
    }
}

/// Why the `number`-th malformed message is refused.
pub fn reason(number: u64) -> &'static str {
    REASONS[(number % REASONS.len() as u64) as usize]
}

fn timestamp(event: &Event) -> Timestamp {
    Timestamp::from_millisecond(event.time_ms).expect("simulated days are far from the ends of the calendar")
}

fn replace(message: &mut Vec<u8>, what: &str, with: &[u8]) {
    let at = message.windows(what.len()).position(|window| window == what.as_bytes());
    let at = at.expect("every malformed message is made from a well-formed one that holds this");
    message.splice(at..at + what.len(), with.iter().copied());
}
