//! The parsed event. Parse once, never revalidate: an [`Event`] that exists is valid.
//!
//! CloudEvents 1.0 in JSON, structured (the whole event is the message) or binary (attributes in `ce_` headers, the data
//! is the message). The happy path borrows from the message and allocates nothing; what is wrong is found out on a second,
//! slower reading in `event/diagnose.rs`.

mod diagnose;
mod scan;
mod time;

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::Error as _;
use serde_json::value::RawValue;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

pub use diagnose::{Reason, Reject, named_system};
use diagnose::{bounded, invalid_value, missing, oversized, required, shown};

/// Bounds on lengths, in characters.
pub const MAX_ID: usize = 256;
pub const MAX_FEATURE: usize = 128;
pub const MAX_LABEL: usize = 128;
pub const MAX_COMMENT: usize = 2_000;
pub const MAX_SYSTEM: usize = 64;

const SPECVERSION: &str = "\"1.0\" (CloudEvents 1.0)";

/// One accepted event, borrowed from its message.
#[derive(Debug, Clone, PartialEq)]
pub struct Event<'a> {
    pub identity: Identity,
    /// Who sent it: a CloudEvents `source`.
    pub source: Cow<'a, str>,
    /// The user id as the system knows it. It goes no further than the pseudonym.
    pub subject: Cow<'a, str>,
    /// Milliseconds since the epoch, UTC.
    pub time_ms: i64,
    pub system: Cow<'a, str>,
    pub body: Body<'a>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Body<'a> {
    Login {
        success: bool,
        session: Option<Cow<'a, str>>,
        method: Option<Cow<'a, str>>,
    },
    FeatureClick {
        feature: Cow<'a, str>,
        session: Option<Cow<'a, str>>,
        element: Option<Cow<'a, str>>,
    },
    Feedback {
        score: Option<u8>,
        category: Option<Cow<'a, str>>,
        feature: Option<Cow<'a, str>>,
        comment: Option<Cow<'a, str>>,
    },
}

/// 64 bits that stand for `source` + `id`: two events with the same identity are the same event. It is compared with the last million of its partition,
/// so that one of 18 million million events may be taken for a repeat of another; what is stored is told apart by time as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity(pub u64);

impl Identity {
    pub fn of(source: &str, id: &str) -> Self {
        Self(xxh3_128_with_seed(id.as_bytes(), xxh3_64(source.as_bytes())) as u64)
    }
}

/// The times that are accepted, in milliseconds since the epoch: both ends belong to it.
#[derive(Debug, Clone, Copy)]
pub struct TimeRange {
    pub earliest_ms: i64,
    pub latest_ms: i64,
}

impl TimeRange {
    /// What is accepted at `now_ms`: from the retention of raw events up to the tolerance for clocks that are ahead.
    pub fn at(now_ms: i64, retention_days: u32, future_tolerance_ms: i64) -> Self {
        Self {
            earliest_ms: now_ms - i64::from(retention_days) * 86_400_000,
            latest_ms: now_ms + future_tolerance_ms,
        }
    }
}

/// The CloudEvents attributes that matter, wherever they stood.
#[derive(Debug, Default, Clone, Copy)]
pub struct Attributes<'a> {
    pub specversion: Option<&'a str>,
    pub id: Option<&'a str>,
    pub source: Option<&'a str>,
    pub kind: Option<&'a str>,
    pub subject: Option<&'a str>,
    pub time: Option<&'a str>,
}

impl<'a> Attributes<'a> {
    /// `name` without the prefix of its header; one that does not matter is left out.
    pub fn set(&mut self, name: &str, value: Option<&'a str>) {
        match name {
            "specversion" => self.specversion = value,
            "id" => self.id = value,
            "source" => self.source = value,
            "type" => self.kind = value,
            "subject" => self.subject = value,
            "time" => self.time = value,
            _ => {}
        }
    }

    /// Those in the `ce_` headers of a message; `None` without any, when it is in structured mode. A header that is not UTF-8
    /// counts as missing.
    pub fn of_headers<'h>(headers: impl Iterator<Item = (&'h str, Option<&'a [u8]>)>) -> Option<Self> {
        let mut attributes = None;
        for (name, value) in headers {
            if let Some(name) = name.strip_prefix("ce_") {
                let value = value.and_then(|bytes| std::str::from_utf8(bytes).ok());
                attributes.get_or_insert(Self::default()).set(name, value);
            }
        }
        attributes
    }
}

#[derive(Deserialize)]
struct Structured<'a> {
    #[serde(borrow)]
    specversion: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    subject: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct Login<'a> {
    #[serde(borrow)]
    system: Cow<'a, str>,
    #[serde(borrow)]
    outcome: Cow<'a, str>,
    #[serde(borrow, default)]
    session: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct FeatureClick<'a> {
    #[serde(borrow)]
    system: Cow<'a, str>,
    #[serde(borrow)]
    feature: Cow<'a, str>,
    #[serde(borrow, default)]
    session: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    element: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Feedback<'a> {
    #[serde(borrow)]
    system: Cow<'a, str>,
    #[serde(default)]
    score: Option<u64>,
    #[serde(borrow, default)]
    category: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    feature: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    comment: Option<Cow<'a, str>>,
}

impl<'a> Event<'a> {
    /// Reads a message of at most `max_bytes`: in binary mode with its attributes, in structured mode without.
    pub fn read(
        attributes: Option<Attributes<'a>>,
        message: &'a [u8],
        max_bytes: usize,
        times: TimeRange,
    ) -> Result<Self, Reject> {
        if let Some(reject) = oversized(message, max_bytes) {
            return Err(reject);
        }
        match attributes {
            Some(attributes) => Self::binary(attributes, message, times),
            None => Self::structured(message, times),
        }
    }

    /// Parses a structured-mode message.
    pub fn structured(message: &'a [u8], times: TimeRange) -> Result<Self, Reject> {
        let text = utf8(message)?;
        if let Some(event) = Self::quickly(text, times) {
            return Ok(event);
        }
        Self::slowly(text, times)
    }

    /// Most messages; `None` says nothing about the others.
    fn quickly(text: &'a str, times: TimeRange) -> Option<Self> {
        let scan::Scanned { attributes: a, data } = scan::structured(text)?;
        let kind = a.kind?;
        let attributes = [a.specversion?, a.id?, a.source?, kind, a.subject?, a.time?].map(Cow::Borrowed);
        let data = || match kind {
            "usage.feature_click.v1" => data.feature_click().map(FeatureClick::checked),
            "usage.login.v1" => data.login().map(Login::checked),
            _ => None,
        };
        let (system, body) = data()?.ok()?;
        Self::build(attributes, |_| Ok((system, body)), times).ok()
    }

    fn slowly(text: &'a str, times: TimeRange) -> Result<Self, Reject> {
        let e: Structured<'a> = object(text).map_err(|e| diagnose::structured(text, &e))?;
        Self::build(
            [e.specversion, e.id, e.source, e.kind, e.subject, e.time],
            |kind| parse_data(kind, e.data.get()),
            times,
        )
    }

    /// Parses a binary-mode message: attributes from the headers, data from the body.
    pub fn binary(attributes: Attributes<'a>, data: &'a [u8], times: TimeRange) -> Result<Self, Reject> {
        let text = utf8(data)?;
        let a = attributes;
        let get = |name, value: Option<&'a str>| {
            value
                .map(Cow::Borrowed)
                .ok_or_else(|| missing(name, "ce_", "a header in UTF-8"))
        };
        let attributes = [
            get("specversion", a.specversion)?,
            get("id", a.id)?,
            get("source", a.source)?,
            get("type", a.kind)?,
            get("subject", a.subject)?,
            get("time", a.time)?,
        ];
        Self::build(attributes, |kind| parse_data(kind, text), times)
    }

    /// `data` gives system and body of this type of event.
    fn build(
        attributes: [Cow<'a, str>; 6],
        data: impl FnOnce(&str) -> Result<(Cow<'a, str>, Body<'a>), Reject>,
        times: TimeRange,
    ) -> Result<Self, Reject> {
        let [specversion, id, source, kind, subject, time] = attributes;
        if specversion != "1.0" {
            return Err(Reject::new(
                Reason::NotCloudevent,
                "specversion",
                shown(&specversion),
                SPECVERSION,
            ));
        }
        required("id", &id, MAX_ID)?;
        required("source", &source, MAX_ID)?;
        required("subject", &subject, MAX_ID)?;
        let (system, body) = data(&kind)?;
        if !is_system_name(&system) {
            let expected = "1 to 64 of a-z, 0-9, _ and -, starting with a letter or digit";
            return Err(invalid_value("data.system", &system, expected));
        }
        let time_ms = parse_time(&time, times)?;
        Ok(Event {
            identity: Identity::of(&source, &id),
            source,
            subject,
            time_ms,
            system,
            body,
        })
    }
}

/// `[a-z0-9][a-z0-9_-]{0,63}`
pub fn is_system_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=MAX_SYSTEM).contains(&bytes.len())
        && bytes.first().is_some_and(plain)
        && bytes.iter().all(|b| plain(b) || matches!(b, b'_' | b'-'))
}

/// A feature key: 1 to 128 characters, none of them a control character.
pub fn is_feature(key: &str) -> bool {
    !key.is_empty() && bounded(key, MAX_FEATURE) && !key.chars().any(char::is_control)
}

fn utf8(bytes: &[u8]) -> Result<&str, Reject> {
    std::str::from_utf8(bytes).map_err(|e| {
        Reject::new(
            Reason::InvalidUtf8,
            diagnose::MESSAGE,
            format!("not UTF-8 at byte {}", e.valid_up_to()),
            "JSON in UTF-8",
        )
    })
}

/// Serde alone would also take an array, as the values of the fields in their order.
fn object<'a, T: Deserialize<'a>>(text: &'a str) -> serde_json::Result<T> {
    if text.trim_ascii_start().starts_with('{') {
        serde_json::from_str(text)
    } else {
        Err(serde_json::Error::custom("no object"))
    }
}

fn parse_data<'a>(kind: &str, data: &'a str) -> Result<(Cow<'a, str>, Body<'a>), Reject> {
    let wrong = |e: serde_json::Error| diagnose::data(kind, data, &e);
    match kind {
        "usage.feature_click.v1" => object::<FeatureClick<'a>>(data).map_err(wrong)?.checked(),
        "usage.login.v1" => object::<Login<'a>>(data).map_err(wrong)?.checked(),
        "usage.feedback.v1" => {
            let d: Feedback<'a> = object(data).map_err(wrong)?;
            optional("data.category", &d.category, MAX_LABEL)?;
            optional("data.comment", &d.comment, MAX_COMMENT)?;
            if let Some(key) = &d.feature {
                feature("data.feature", key)?;
            }
            let score = match d.score {
                None => None,
                Some(score @ 1..=5) => Some(score as u8),
                Some(score) => {
                    return Err(invalid_value(
                        "data.score",
                        &score.to_string(),
                        "a whole number from 1 to 5",
                    ));
                }
            };
            Ok((
                d.system,
                Body::Feedback {
                    score,
                    category: d.category,
                    feature: d.feature,
                    comment: d.comment,
                },
            ))
        }
        other => Err(Reject::new(
            Reason::UnknownType,
            "type",
            shown(other),
            "usage.login.v1, usage.feature_click.v1 or usage.feedback.v1",
        )),
    }
}

impl<'a> FeatureClick<'a> {
    fn checked(self) -> Result<(Cow<'a, str>, Body<'a>), Reject> {
        feature("data.feature", &self.feature)?;
        optional("data.session", &self.session, MAX_LABEL)?;
        optional("data.element", &self.element, MAX_LABEL)?;
        let body = Body::FeatureClick {
            feature: self.feature,
            session: self.session,
            element: self.element,
        };
        Ok((self.system, body))
    }
}

impl<'a> Login<'a> {
    fn checked(self) -> Result<(Cow<'a, str>, Body<'a>), Reject> {
        optional("data.session", &self.session, MAX_LABEL)?;
        optional("data.method", &self.method, MAX_LABEL)?;
        let success = match self.outcome.as_ref() {
            "success" => true,
            "failure" => false,
            other => return Err(invalid_value("data.outcome", other, "success or failure")),
        };
        let body = Body::Login {
            success,
            session: self.session,
            method: self.method,
        };
        Ok((self.system, body))
    }
}

fn feature(place: &str, key: &str) -> Result<(), Reject> {
    if is_feature(key) {
        return Ok(());
    }
    Err(invalid_value(
        place,
        key,
        "1 to 128 characters and no control characters",
    ))
}

fn optional(place: &str, value: &Option<Cow<'_, str>>, max: usize) -> Result<(), Reject> {
    match value {
        Some(value) if !bounded(value, max) => Err(invalid_value(place, value, &format!("at most {max} characters"))),
        _ => Ok(()),
    }
}

fn parse_time(text: &str, times: TimeRange) -> Result<i64, Reject> {
    let time_ms = match time::quickly(text) {
        Some(time_ms) => time_ms,
        None => time::slowly(text)
            .ok_or_else(|| invalid_value("time", text, "an RFC 3339 time such as 2026-03-02T08:15:30.123Z"))?,
    };
    if time_ms > times.latest_ms {
        return Err(Reject::new(
            Reason::TimeInFuture,
            "time",
            shown(text),
            "a time not further ahead of now than is tolerated",
        ));
    }
    if time_ms < times.earliest_ms {
        return Err(Reject::new(
            Reason::TimeBeforeRetention,
            "time",
            shown(text),
            "a time within the retention of events",
        ));
    }
    Ok(time_ms)
}

#[cfg(test)]
mod tests;
