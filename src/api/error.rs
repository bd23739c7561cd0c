//! What the API says when it refuses or fails: one enum gives status, stable code and public sentence (RFC 9457).
//! Causes are logged here, once, and never returned.

use axum::Json;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::code::Code;
use crate::access::Wait;
use crate::error::Problem;
use crate::measure;

pub const PROBLEM: &str = "application/problem+json";

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
    code: Code,
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
    /// No format that there is satisfies `Accept`.
    NotAcceptable {
        given: String,
        expected: String,
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
    /// Whether the token is known cannot be told.
    AccessUndecided(anyhow::Error),
    /// No token, or one that is not known.
    Unauthenticated,
    /// In words that tell nothing of what exists.
    Forbidden(String),
    /// A list of users of a group that is too small to show.
    Suppressed,
    TooManyRequests(Wait),
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

    fn code(&self) -> Code {
        match self {
            Self::InvalidParameter(_) => Code::InvalidParameter,
            Self::InvalidWindow(_) => Code::InvalidWindow,
            Self::UnreadableBody(_) => Code::UnreadableBody,
            Self::InvalidDocument(_) => Code::InvalidDocument,
            Self::InvalidEvents(_) => Code::InvalidEvents,
            Self::UnsupportedMediaType { .. } => Code::UnsupportedMediaType,
            Self::NotAcceptable { .. } => Code::NotAcceptable,
            Self::BodyTooLarge { .. } => Code::BodyTooLarge,
            Self::TooManyEvents { .. } => Code::TooManyEvents,
            Self::TooManyRequests(_) => Code::TooManyRequests,
            Self::QueueFull => Code::QueueFull,
            Self::NotAcknowledged(_) => Code::NotAcknowledged,
            Self::Unauthenticated => Code::Unauthenticated,
            Self::Forbidden(_) => Code::Forbidden,
            Self::Suppressed => Code::Suppressed,
            Self::AccessUndecided(_) => Code::AccessUndecided,
            Self::UnknownSystem(_) => Code::UnknownSystem,
            Self::UnknownPath(_) => Code::UnknownPath,
            Self::WrongMethod(_) => Code::WrongMethod,
            Self::Unavailable(_) => Code::StorageUnavailable,
            Self::Deadline(_) => Code::DeadlineExceeded,
            Self::Internal(_) => Code::InternalError,
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
            Self::NotAcceptable { given, expected } => format!("Accept {given:?}: this can be told as {expected}"),
            Self::BodyTooLarge { limit_bytes } => format!("the body is larger than {limit_bytes} bytes"),
            Self::TooManyEvents { limit } => format!("the batch has more than {limit} events; send it in parts"),
            Self::QueueFull => "no event was taken: too many wait for Kafka; send the request again later".to_owned(),
            Self::NotAcknowledged(_) => "Kafka has not acknowledged every event; send the request again: \
                those that arrived are known by source and id, and count once"
                .to_owned(),
            Self::Unauthenticated => "send a token of this installation: Authorization: Bearer <token>".to_owned(),
            Self::AccessUndecided(_) => "whether this token is known cannot be told now; try again later".to_owned(),
            Self::Forbidden(why) => why.clone(),
            Self::Suppressed => {
                "the group has too few people, or would reveal one that has, to list any of them".to_owned()
            }
            Self::TooManyRequests(wait) => format!("too many requests; come again in {} s", wait.seconds()),
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
        let code = self.code();
        let status = code.status();
        if let Self::AccessUndecided(cause)
        | Self::Unavailable(cause)
        | Self::NotAcknowledged(cause)
        | Self::Deadline(cause)
        | Self::Internal(cause) = &self
        {
            tracing::error!(?code, cause = format!("{cause:#}"), "a request failed");
        }
        let unauthenticated = matches!(self, Self::Unauthenticated);
        let again_after = match &self {
            Self::QueueFull | Self::NotAcknowledged(_) | Self::AccessUndecided(_) | Self::Unavailable(_) => Some(1),
            Self::TooManyRequests(wait) => Some(wait.seconds()),
            _ => None,
        };
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
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        if unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"uptake\""));
        }
        if let Some(seconds) = again_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
