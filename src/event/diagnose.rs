//! Finding out what is wrong with a refused message, and saying it: place, value, expectation.

use std::fmt;

use serde_json::{Map, Value};

use crate::error::told_json;

/// Why an event was refused: the stable code in metrics, in the dead letter and in `rejects`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    TooLarge,
    InvalidUtf8,
    InvalidJson,
    NotCloudevent,
    MissingField,
    WrongType,
    InvalidValue,
    UnknownType,
    TimeInFuture,
    TimeBeforeRetention,
}

impl Reason {
    pub const ALL: [Self; 10] = [
        Self::TooLarge,
        Self::InvalidUtf8,
        Self::InvalidJson,
        Self::NotCloudevent,
        Self::MissingField,
        Self::WrongType,
        Self::InvalidValue,
        Self::UnknownType,
        Self::TimeInFuture,
        Self::TimeBeforeRetention,
    ];

    pub const fn code(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::InvalidJson => "invalid_json",
            Self::NotCloudevent => "not_cloudevent",
            Self::MissingField => "missing_field",
            Self::WrongType => "wrong_type",
            Self::InvalidValue => "invalid_value",
            Self::UnknownType => "unknown_type",
            Self::TimeInFuture => "time_in_future",
            Self::TimeBeforeRetention => "time_before_retention",
        }
    }
}

/// A refused event: a reason for programs, and for people where it is wrong, what stands there, what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    pub reason: Reason,
    /// The field, e.g. `data.feature`, or `the message`.
    pub place: String,
    /// A value is quoted, and shortened where it is long; anything else says what is there instead, e.g. `missing`.
    pub found: String,
    pub expected: String,
}

impl Reject {
    pub fn new(
        reason: Reason,
        place: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self {
            reason,
            place: place.into(),
            found: found.into(),
            expected: expected.into(),
        }
    }

    /// What is wrong, for people.
    pub fn sentence(&self) -> String {
        format!("{} is {}, expected {}", self.place, self.found, self.expected)
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.code(), self.sentence())
    }
}

/// The longest piece of a refused value that a sentence repeats, in characters.
const SHOWN: usize = 80;
/// The place of what is wrong with a message as a whole.
pub(super) const MESSAGE: &str = "the message";

pub(super) fn shown(value: &str) -> String {
    let mut short: String = value.chars().take(SHOWN).collect();
    if short.len() < value.len() {
        short.push('…');
    }
    format!("{short:?}")
}

pub(super) fn invalid_value(place: &str, value: &str, expected: &str) -> Reject {
    Reject::new(Reason::InvalidValue, place, shown(value), expected)
}

pub(super) fn missing(place: &str, prefix: &str, expected: &str) -> Reject {
    Reject::new(Reason::MissingField, format!("{prefix}{place}"), "missing", expected)
}

/// A message that is longer than `max` bytes.
pub(super) fn oversized(message: &[u8], max: usize) -> Option<Reject> {
    let size = message.len();
    (size > max).then(|| {
        let found = format!("{size} bytes long");
        Reject::new(Reason::TooLarge, MESSAGE, found, format!("at most {max} bytes"))
    })
}

/// The system that a refused message names, as far as that can be read.
pub fn named_system(message: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(message).ok()?;
    let system = value
        .pointer("/data/system")
        .or_else(|| value.get("system"))?
        .as_str()?;
    super::is_system_name(system).then(|| system.to_owned())
}

/// At most `max` characters; counts them only when the bytes could exceed it.
pub(super) fn bounded(value: &str, max: usize) -> bool {
    value.len() <= max || value.chars().count() <= max
}

pub(super) fn required(place: &str, value: &str, max: usize) -> Result<(), Reject> {
    if !value.is_empty() && bounded(value, max) {
        return Ok(());
    }
    Err(invalid_value(place, value, &format!("1 to {max} characters")))
}

/// What is wrong with a structured-mode message that did not parse.
pub(super) fn structured(text: &str, error: &serde_json::Error) -> Reject {
    let object = match object(MESSAGE, text) {
        Ok(object) => object,
        Err(reject) => return reject,
    };
    if !object.contains_key("specversion") {
        return Reject::new(Reason::NotCloudevent, "specversion", "missing", super::SPECVERSION);
    }
    for name in ["specversion", "id", "source", "type", "subject", "time"] {
        if let Some(reject) = string_problem(&object, "", name, true) {
            return reject;
        }
    }
    if !object.contains_key("data") {
        return missing("data", "", "an object");
    }
    invalid_json(MESSAGE, error)
}

/// What is wrong with the `data` of a known event type that did not parse.
pub(super) fn data(kind: &str, text: &str, error: &serde_json::Error) -> Reject {
    let object = match object("data", text) {
        Ok(object) => object,
        Err(reject) => return reject,
    };
    let (needed, optional): (&[&str], &[&str]) = match kind {
        "usage.login.v1" => (&["system", "outcome"], &["session", "method"]),
        "usage.feature_click.v1" => (&["system", "feature"], &["session", "element"]),
        _ => (&["system"], &["category", "feature", "comment"]),
    };
    let problem = needed
        .iter()
        .find_map(|name| string_problem(&object, "data.", name, true))
        .or_else(|| {
            optional
                .iter()
                .find_map(|name| string_problem(&object, "data.", name, false))
        })
        .or_else(|| score_problem(&object).filter(|_| kind == "usage.feedback.v1"));
    problem.unwrap_or_else(|| invalid_json("data", error))
}

fn object(place: &str, text: &str) -> Result<Map<String, Value>, Reject> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(Reject::new(Reason::WrongType, place, type_name(&other), "an object")),
        Err(error) => Err(invalid_json(place, &error)),
    }
}

fn invalid_json(place: &str, error: &serde_json::Error) -> Reject {
    Reject::new(
        Reason::InvalidJson,
        place,
        format!("not JSON ({})", told_json(error)),
        "one JSON object",
    )
}

fn string_problem(object: &Map<String, Value>, prefix: &str, name: &str, needed: bool) -> Option<Reject> {
    match object.get(name) {
        Some(Value::String(_)) => None,
        None | Some(Value::Null) if !needed => None,
        None => Some(missing(name, prefix, "a string")),
        Some(other) => Some(wrong_type(prefix, name, other, "a string")),
    }
}

fn score_problem(object: &Map<String, Value>) -> Option<Reject> {
    match object.get("score")? {
        Value::Null => None,
        Value::Number(n) if n.as_u64().is_none() => Some(invalid_value(
            "data.score",
            &n.to_string(),
            "a whole number from 1 to 5",
        )),
        Value::Number(_) => None,
        other => Some(wrong_type("data.", "score", other, "a whole number from 1 to 5")),
    }
}

fn wrong_type(prefix: &str, name: &str, value: &Value, expected: &str) -> Reject {
    Reject::new(Reason::WrongType, format!("{prefix}{name}"), type_name(value), expected)
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
