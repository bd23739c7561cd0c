//! How an answer is told: as JSON or CSV, whichever the client prefers, and not again where the client has it already.

use axum::extract::FromRequestParts;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

use super::error::Error;
use super::table::{self, Table};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Csv,
}

impl Format {
    /// From the one that is given when the client has no preference.
    const ALL: [Self; 2] = [Self::Json, Self::Csv];

    fn essence(self) -> (&'static str, &'static str) {
        match self {
            Self::Json => ("application", "json"),
            Self::Csv => ("text", "csv"),
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }
}

/// What the client said about the answer it wants.
pub struct Reply {
    accept: Option<String>,
    if_none_match: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for Reply {
    type Rejection = Error;

    /// Refuses at once, before anything is asked, what no answer could satisfy.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let reply = Self {
            accept: joined(&parts.headers, ACCEPT),
            if_none_match: joined(&parts.headers, IF_NONE_MATCH),
        };
        reply.format(&Format::ALL).map(|_| reply)
    }
}

impl Reply {
    /// An answer that is not a table.
    pub fn document(&self, answer: &impl Serialize) -> Result<Response, Error> {
        self.format(&[Format::Json])?;
        let body = serde_json::to_vec(answer).map_err(|error| Error::Internal(error.into()))?;
        Ok(self.unless_known(Format::Json, body))
    }

    pub fn table<T: Table>(&self, answer: &T) -> Result<Response, Error> {
        match self.format(&Format::ALL)? {
            Format::Json => self.document(answer),
            Format::Csv => Ok(self.unless_known(Format::Csv, table::csv(answer)?)),
        }
    }

    /// The best of the formats that there are.
    fn format(&self, formats: &[Format]) -> Result<Format, Error> {
        let Some(accept) = &self.accept else {
            return Ok(formats[0]);
        };
        let mut best = None;
        for &format in formats {
            let quality = quality(accept, format);
            if quality > best.map_or(0, |(_, quality)| quality) {
                best = Some((format, quality));
            }
        }
        let refusal = || {
            let words = formats
                .iter()
                .map(|format| format.essence())
                .map(|(kind, sub)| format!("{kind}/{sub}"));
            Error::NotAcceptable {
                given: accept.clone(),
                expected: words.collect::<Vec<_>>().join(" or "),
            }
        };
        best.map(|(format, _)| format).ok_or_else(refusal)
    }

    /// The tag is a hash of the body, so that equal tags mean equal answers. No answer holds the time at which it was asked for.
    fn unless_known(&self, format: Format, body: Vec<u8>) -> Response {
        let tag = format!("\"{:032x}\"", xxh3_128(&body));
        let mut response = if self.knows(&tag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(CONTENT_TYPE, format.content_type())], body).into_response()
        };
        let headers = response.headers_mut();
        if let Ok(tag) = HeaderValue::try_from(tag) {
            headers.insert(ETAG, tag);
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        headers.insert(VARY, HeaderValue::from_static("accept, authorization"));
        response
    }

    /// `If-None-Match` compares weakly (RFC 9110, 13.1.2): what was compressed on its way is the same answer.
    fn knows(&self, tag: &str) -> bool {
        let known = self
            .if_none_match
            .as_deref()
            .unwrap_or_default()
            .split(',')
            .map(str::trim);
        known
            .map(|known| known.trim_start_matches("W/"))
            .any(|known| known == tag || known == "*")
    }
}

/// A header that may stand several times. What is not text is left out.
fn joined(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let values: Vec<_> = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// How much the client wants a format, in thousandths: what the most specific range of `Accept` that names it says (RFC 9110, 12.5.1).
fn quality(accept: &str, format: Format) -> u32 {
    let (kind, sub) = format.essence();
    let mut best = (0, 0);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let specificity = match essence.split_once('/') {
            Some((k, s)) if k == kind && s == sub => 3,
            Some((k, "*")) if k == kind => 2,
            Some(("*", "*")) => 1,
            _ => continue,
        };
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let weight = weight.map_or(Ok(1.0), str::parse::<f32>).unwrap_or(0.0).clamp(0.0, 1.0);
        if specificity > best.0 {
            best = (specificity, (weight * 1_000.0) as u32);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reply(accept: &str, if_none_match: &str) -> Reply {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Reply {
            accept: given(accept),
            if_none_match: given(if_none_match),
        }
    }

    #[test]
    fn the_client_chooses_the_format() {
        for (accept, format) in [
            ("", Some(Format::Json)),
            ("*/*", Some(Format::Json)),
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                Some(Format::Json),
            ),
            ("application/json, text/csv", Some(Format::Json)),
            ("text/csv", Some(Format::Csv)),
            ("TEXT/CSV; header=present", Some(Format::Csv)),
            ("text/*", Some(Format::Csv)),
            ("text/csv, */*;q=0.1", Some(Format::Csv)),
            ("application/json;q=0.2, text/csv;q=0.3", Some(Format::Csv)),
            ("*/*, application/json;q=0", Some(Format::Csv)),
            ("text/csv;q=0, */*", Some(Format::Json)),
            ("image/png", None),
            ("text/html", None),
            ("application/json;q=0", None),
            ("application/json;q=nonsense", None),
            ("json", None),
        ] {
            assert_eq!(reply(accept, "").format(&Format::ALL).ok(), format, "{accept}");
        }
        assert!(reply("text/csv", "").document(&1).is_err());
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        let known = |if_none_match: &str| reply("", if_none_match).knows("\"ab\"");
        for text in ["\"ab\"", "W/\"ab\"", "\"x\", W/\"ab\"", "*"] {
            assert!(known(text), "{text}");
        }
        for text in ["", "ab", "\"abc\"", "\"x\"", "W/", ","] {
            assert!(!known(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(accept in "[a-z*/;=,q0-9. ]{0,40}") {
            let _ = reply(&accept, &accept).table(&table::tests::Two);
        }
    }
}
