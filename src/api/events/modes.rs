//! The content modes of CloudEvents over HTTP: structured, batched, binary.

use std::fmt;

use axum::http::HeaderMap;
use percent_encoding::percent_decode;
use rdkafka::message::{Header, OwnedHeaders};
use serde::Deserializer;
use serde::de::{SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::api::error::Error;
use crate::api::systems::media_type;
use crate::error::told_json;
use crate::event::Attributes;

const EXPECTED: &str =
    "application/cloudevents+json, application/cloudevents-batch+json, or application/json with ce-* headers";

/// How the events stand in a request.
pub enum Mode {
    /// The body is an event.
    Structured,
    /// The body is an array of events.
    Batched,
    /// The body is the data of an event, the attributes are in headers: name without `ce-`, and value.
    Binary(Vec<(String, String)>),
}

impl Mode {
    pub fn of(headers: &HeaderMap) -> Result<Self, Error> {
        match media_type(headers).as_str() {
            "application/cloudevents+json" => Ok(Self::Structured),
            "application/cloudevents-batch+json" => Ok(Self::Batched),
            "application/json" => match attributes(headers) {
                attributes if attributes.is_empty() => {
                    Err(Error::unsupported("application/json without ce-* headers", EXPECTED))
                }
                attributes => Ok(Self::Binary(attributes)),
            },
            given => Err(Error::unsupported(given, EXPECTED)),
        }
    }

    /// The messages of the body, as they stand in it.
    pub fn messages<'b>(&self, body: &'b [u8], max_events: usize) -> Result<Vec<&'b [u8]>, Error> {
        let Self::Batched = self else {
            return Ok(vec![body]);
        };
        let mut json = serde_json::Deserializer::from_slice(body);
        let batch = json.deserialize_seq(Batch { max_events });
        let batch = batch.and_then(|batch| json.end().map(|()| batch));
        match batch {
            Ok(Some(messages)) => Ok(messages),
            Ok(None) => Err(Error::TooManyEvents { limit: max_events }),
            Err(error) => Err(Error::UnreadableBody(format!(
                "the body is not a JSON array of events: {}",
                told_json(&error)
            ))),
        }
    }

    /// The attributes of binary mode.
    pub fn attributes(&self) -> Option<Attributes<'_>> {
        let Self::Binary(headers) = self else {
            return None;
        };
        let mut attributes = Attributes::default();
        for (name, value) in headers {
            attributes.set(name, Some(value));
        }
        Some(attributes)
    }

    /// The headers of the Kafka message: those of binary mode, where the message holds only the data.
    pub fn kafka_headers(&self) -> Option<OwnedHeaders> {
        let Self::Binary(attributes) = self else {
            return None;
        };
        let content_type = OwnedHeaders::new().insert(Header {
            key: "content-type",
            value: Some("application/json"),
        });
        Some(attributes.iter().fold(content_type, |headers, (name, value)| {
            headers.insert(Header {
                key: &format!("ce_{name}"),
                value: Some(value),
            })
        }))
    }
}

/// The CloudEvents attributes among the headers. One that is not text counts as missing.
fn attributes(headers: &HeaderMap) -> Vec<(String, String)> {
    let attribute = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
        let name = name.as_str().strip_prefix("ce-")?;
        Some((name.to_owned(), decoded(value.as_bytes())?))
    };
    headers.iter().filter_map(attribute).collect()
}

/// Undoes the quoting of RFC 9110 and the percent-encoding that the HTTP binding of CloudEvents asks for.
fn decoded(value: &[u8]) -> Option<String> {
    let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    let unquoted = match quoted {
        None => value.to_vec(),
        Some(quoted) => {
            let mut bytes = quoted.iter();
            let unescaped = std::iter::from_fn(|| match bytes.next()? {
                b'\\' => bytes.next(),
                byte => Some(byte),
            });
            unescaped.copied().collect()
        }
    };
    percent_decode(&unquoted)
        .decode_utf8()
        .ok()
        .map(|text| text.into_owned())
}

/// Reads an array as slices of its text; `None` when it has too many elements.
struct Batch {
    max_events: usize,
}

impl<'b> Visitor<'b> for Batch {
    type Value = Option<Vec<&'b [u8]>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'b>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut messages = Vec::new();
        while let Some(message) = array.next_element::<&'b RawValue>()? {
            if messages.len() == self.max_events {
                // The rest of it is read and dropped, so that the array ends.
                while array.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                return Ok(None);
            }
            messages.push(message.get().as_bytes());
        }
        Ok(Some(messages))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_batch_is_taken_apart_without_a_change_and_ends_where_it_ends() {
        let batch = |body: &'static [u8]| Mode::Batched.messages(body, 2);
        let parts = batch(b" [ {\"a\" :1} ,\n[2]] ").unwrap();
        assert_eq!(parts, [b"{\"a\" :1}".as_slice(), b"[2]"]);
        assert!(batch(b"[]").unwrap().is_empty());
        assert!(matches!(batch(b"[1,2,3]"), Err(Error::TooManyEvents { limit: 2 })));
        for refused in [b"".as_slice(), b"[1", b"[1] 2", b"{}", b"[\"\xff\"]", b"null"] {
            assert!(matches!(batch(refused), Err(Error::UnreadableBody(_))), "{refused:?}");
        }
    }

    #[test]
    fn header_values_are_unquoted_and_percent_decoded() {
        for (value, text) in [
            ("u-1001", Some("u-1001")),
            ("\"a \\\"b\\\"\"", Some("a \"b\"")),
            ("%E5%91%98%E5%B7%A5-1", Some("员工-1")),
            ("\"%20\"", Some(" ")),
            ("%FF", None),
        ] {
            assert_eq!(decoded(value.as_bytes()).as_deref(), text, "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(value in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = decoded(&value);
        }
    }
}
