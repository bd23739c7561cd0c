//! What the API says when it refuses or fails: one enum gives status, stable code and public sentence (RFC 9457).
//! Causes are logged here, once, and never returned.

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::Role;
use crate::error::Problem;
use crate::measure;

/// The body of every answer that is not a success: `application/problem+json`.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemDetails {
    /// Always `about:blank`: the code tells the problem.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    status: u16,
    /// Stable; programs may rely on it.
    code: &'static str,
    /// For people.
    detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Fault>,
}

/// One thing that is wrong in what was sent.
#[derive(Debug, Serialize, ToSchema)]
pub struct Fault {
    /// Which event of the request, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    /// For an event: why, as in metrics and in the topic of rejects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    #[serde(flatten)]
    pub problem: Problem,
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self {
            index: None,
            reason: None,
            problem,
        }
    }
}

#[derive(Debug)]
pub enum Error {
    /// A query or path parameter that cannot be read, is unknown, or stands twice.
    InvalidParameter(Problem),
    /// A window that can be read and makes no sense.
    InvalidWindow(Problem),
    /// A body that is not what its content type says, or not text.
    UnreadableBody(String),
    /// A definition or roster of which at least one line is wrong. Nothing of it has been applied.
    InvalidDocument(Vec<Problem>),
    /// At least one event of a request is wrong. None of them was taken.
    InvalidEvents(Vec<Fault>),
    UnsupportedMediaType {
        given: String,
        expected: &'static str,
    },
    BodyTooLarge {
        limit_bytes: usize,
    },
    TooManyEvents {
        limit: usize,
    },
    /// As much waits for Kafka as may wait.
    QueueFull,
    /// Kafka has not acknowledged every event, and never will.
    NotAcknowledged(anyhow::Error),
    /// No token, or one that is not known.
    Unauthenticated,
    Forbidden(Role),
    /// A list of users of a group that is too small to show.
    Suppressed,
    UnknownSystem(String),
    UnknownPath(String),
    WrongMethod(String),
    /// ClickHouse does not answer.
    Unavailable(anyhow::Error),
    Deadline(anyhow::Error),
    Internal(anyhow::Error),
}

impl From<measure::Error> for Error {
    fn from(error: measure::Error) -> Self {
        match error {
            measure::Error::Unreachable(_) => Self::Unavailable(error.into()),
            measure::Error::Deadline(_) => Self::Deadline(error.into()),
            measure::Error::Refused(_) => Self::Internal(error.into()),
        }
    }
}

/// What the store reports: that ClickHouse does not answer, or something that is ours to mend.
impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Self {
        let network = |cause: &(dyn std::error::Error + 'static)| {
            matches!(
                cause.downcast_ref(),
                Some(clickhouse::error::Error::Network(_) | clickhouse::error::Error::TimedOut)
            )
        };
        if error.chain().any(network) {
            Self::Unavailable(error)
        } else {
            Self::Internal(error)
        }
    }
}

impl Error {
    pub fn parameter(place: &str, value: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::InvalidParameter(Problem {
            place: place.to_owned(),
            value: value.into(),
            expected: expected.into(),
        })
    }

    pub fn window(place: &str, value: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::InvalidWindow(Problem {
            place: place.to_owned(),
            value: value.into(),
            expected: expected.into(),
        })
    }

    pub fn unsupported(given: &str, expected: &'static str) -> Self {
        Self::UnsupportedMediaType {
            given: given.to_owned(),
            expected,
        }
    }

    fn status_and_code(&self) -> (StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::InvalidParameter(_) => (S::BAD_REQUEST, "invalid_parameter"),
            Self::InvalidWindow(_) => (S::UNPROCESSABLE_ENTITY, "invalid_window"),
            Self::UnreadableBody(_) => (S::BAD_REQUEST, "unreadable_body"),
            Self::InvalidDocument(_) => (S::UNPROCESSABLE_ENTITY, "invalid_document"),
            Self::InvalidEvents(_) => (S::UNPROCESSABLE_ENTITY, "invalid_events"),
            Self::UnsupportedMediaType { .. } => (S::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
            Self::BodyTooLarge { .. } => (S::PAYLOAD_TOO_LARGE, "body_too_large"),
            Self::TooManyEvents { .. } => (S::PAYLOAD_TOO_LARGE, "too_many_events"),
            Self::QueueFull => (S::TOO_MANY_REQUESTS, "queue_full"),
            Self::NotAcknowledged(_) => (S::SERVICE_UNAVAILABLE, "not_acknowledged"),
            Self::Unauthenticated => (S::UNAUTHORIZED, "unauthenticated"),
            Self::Forbidden(_) => (S::FORBIDDEN, "forbidden"),
            Self::Suppressed => (S::FORBIDDEN, "suppressed"),
            Self::UnknownSystem(_) => (S::NOT_FOUND, "unknown_system"),
            Self::UnknownPath(_) => (S::NOT_FOUND, "unknown_path"),
            Self::WrongMethod(_) => (S::METHOD_NOT_ALLOWED, "wrong_method"),
            Self::Unavailable(_) => (S::SERVICE_UNAVAILABLE, "storage_unavailable"),
            Self::Deadline(_) => (S::SERVICE_UNAVAILABLE, "deadline_exceeded"),
            Self::Internal(_) => (S::INTERNAL_SERVER_ERROR, "internal_error"),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::InvalidParameter(fault) | Self::InvalidWindow(fault) => {
                format!("{} = {:?}: expected {}", fault.place, fault.value, fault.expected)
            }
            Self::UnreadableBody(why) => why.clone(),
            Self::InvalidDocument(faults) => {
                format!("nothing was applied: {} to correct", counted(faults.len(), "error"))
            }
            Self::InvalidEvents(faults) => format!("no event was taken: {} to correct", counted(faults.len(), "event")),
            Self::UnsupportedMediaType { given, expected } => {
                format!("Content-Type {given:?}: expected {expected}")
            }
            Self::BodyTooLarge { limit_bytes } => format!("the body is larger than {limit_bytes} bytes"),
            Self::TooManyEvents { limit } => format!("the batch has more than {limit} events; send it in parts"),
            Self::QueueFull => "no event was taken: too many wait for Kafka; send the request again later".to_owned(),
            Self::NotAcknowledged(_) => "Kafka has not acknowledged every event; send the request again: \
                those that arrived are known by source and id, and count once"
                .to_owned(),
            Self::Unauthenticated => "send a token of this installation: Authorization: Bearer <token>".to_owned(),
            Self::Forbidden(role) => format!("the role {role:?} may not do this").to_lowercase(),
            Self::Suppressed => {
                "the group has too few people, or would reveal one that has, to list any of them".to_owned()
            }
            Self::UnknownSystem(system) => {
                format!("system {system:?} has no definition, no roster and no events")
            }
            Self::UnknownPath(path) => format!("there is nothing at {path}"),
            Self::WrongMethod(method) => format!("{method} is not possible here"),
            Self::Unavailable(_) => "the storage cannot be reached; try again later".to_owned(),
            Self::Deadline(_) => "the answer took too long; ask for a shorter window".to_owned(),
            Self::Internal(_) => "the request failed; the log of the server tells why".to_owned(),
        }
    }

    fn faults(self) -> Vec<Fault> {
        match self {
            Self::InvalidParameter(problem) | Self::InvalidWindow(problem) => vec![problem.into()],
            Self::InvalidDocument(problems) => problems.into_iter().map(Fault::from).collect(),
            Self::InvalidEvents(faults) => faults,
            _ => Vec::new(),
        }
    }
}

fn counted(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, code) = self.status_and_code();
        if let Self::Unavailable(cause) | Self::NotAcknowledged(cause) | Self::Deadline(cause) | Self::Internal(cause) =
            &self
        {
            tracing::error!(code, cause = format!("{cause:#}"), "a request failed");
        }
        let unauthenticated = matches!(self, Self::Unauthenticated);
        let again = matches!(self, Self::QueueFull | Self::NotAcknowledged(_));
        let problem = ProblemDetails {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code,
            detail: self.detail(),
            errors: self.faults(),
        };
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"uptake\""));
        }
        if again {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
