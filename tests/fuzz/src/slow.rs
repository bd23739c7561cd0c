//! Events, read the slow way: every field by itself, as a JSON value.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use uptake::event::{Body, Event, Identity, TimeRange};

/// The event in a structured-mode message; `None`: it must be refused.
pub fn structured(message: &[u8], times: TimeRange) -> Option<Event<'static>> {
    let Object(fields) = object(std::str::from_utf8(message).ok()?)?;
    let attribute = |name: &str| text(&fields, name)?;
    let data = match find(&fields, "data").as_slice() {
        [data] => object(data)?,
        _ => return None,
    };
    event(attribute, &data, times)
}

/// The event in a binary-mode message with these headers; of headers with the same name, the last one counts.
pub fn binary(headers: &[(&str, &[u8])], data: &[u8], times: TimeRange) -> Option<Event<'static>> {
    let attribute = |name: &str| {
        let named = |(header, _): &&(&str, &[u8])| header.strip_prefix("ce_") == Some(name);
        let (_, value) = headers.iter().rfind(named)?;
        String::from_utf8(value.to_vec()).ok()
    };
    let data = object(std::str::from_utf8(data).ok()?)?;
    event(attribute, &data, times)
}

fn event(
    attribute: impl Fn(&str) -> Option<String>,
    Object(data): &Object,
    times: TimeRange,
) -> Option<Event<'static>> {
    let bounded = |name| attribute(name).filter(|value| (1..=256).contains(&value.chars().count()));
    let (id, source, subject) = (bounded("id")?, bounded("source")?, bounded("subject")?);
    let time: Timestamp = attribute("time")?.parse().ok()?;
    let ns = time.as_nanosecond();
    let time_ms = ((ns - ns.rem_euclid(1_000_000)) / 1_000_000) as i64;
    let in_time = times.earliest_ms <= time_ms && time_ms <= times.latest_ms;
    let system = text(data, "system")??;
    let body = body(&attribute("type")?, data)?;
    (attribute("specversion")? == "1.0" && in_time && is_system(&system)).then(|| Event {
        identity: Identity::of(&source, &id),
        source: source.into(),
        subject: subject.into(),
        time_ms,
        system: system.into(),
        body,
    })
}

fn body(kind: &str, data: &[(String, Box<RawValue>)]) -> Option<Body<'static>> {
    let label = |name, max| -> Option<Option<Cow<'static, str>>> {
        match text(data, name)? {
            Some(text) if text.chars().count() > max => None,
            text => Some(text.map(Cow::Owned)),
        }
    };
    match kind {
        "usage.login.v1" => Some(Body::Login {
            success: match text(data, "outcome")??.as_str() {
                "success" => true,
                "failure" => false,
                _ => return None,
            },
            session: label("session", 128)?,
            method: label("method", 128)?,
        }),
        "usage.feature_click.v1" => Some(Body::FeatureClick {
            feature: label("feature", 128)?.filter(|key| is_feature(key))?,
            session: label("session", 128)?,
            element: label("element", 128)?,
        }),
        "usage.feedback.v1" => Some(Body::Feedback {
            score: match find(data, "score").as_slice() {
                [] | ["null"] => None,
                [number] => Some(number.parse().ok().filter(|score| (1..=5).contains(score))?),
                _ => return None,
            },
            category: label("category", 128)?,
            feature: match label("feature", 128)? {
                Some(key) if !is_feature(&key) => return None,
                feature => feature,
            },
            comment: label("comment", 2_000)?,
        }),
        _ => None,
    }
}

fn is_system(name: &str) -> bool {
    let plain = |c: char| matches!(c, 'a'..='z' | '0'..='9');
    name.len() <= 64 && name.starts_with(plain) && name.chars().all(|c| plain(c) || c == '_' || c == '-')
}

fn is_feature(key: &str) -> bool {
    (1..=128).contains(&key.chars().count()) && !key.chars().any(char::is_control)
}

/// A text, or nothing where there is none or null; the outer `None`: something else, or more than one.
fn text(fields: &[(String, Box<RawValue>)], name: &str) -> Option<Option<String>> {
    match find(fields, name).as_slice() {
        [] => Some(None),
        [one] => match serde_json::from_str(one).ok()? {
            Value::Null => Some(None),
            Value::String(text) => Some(Some(text)),
            _ => None,
        },
        _ => None,
    }
}

fn find<'f>(fields: &'f [(String, Box<RawValue>)], name: &str) -> Vec<&'f str> {
    let named = fields.iter().filter(|(key, _)| key == name);
    named.map(|(_, value)| value.get()).collect()
}

/// A JSON object with everything in it, also what is in it twice.
struct Object(Vec<(String, Box<RawValue>)>);

fn object(text: &str) -> Option<Object> {
    serde_json::from_str(text).ok()
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Object(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}
