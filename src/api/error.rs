//! What the API says when it refuses or fails: one enum gives status, stable code and public sentence (RFC 9457).
//! Causes are logged here, once, and never returned.

use axum::Json;
use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
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
    errors: Vec<Problem>,
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
    UnsupportedMediaType {
        given: String,
        expected: &'static str,
    },
    BodyTooLarge {
        limit_bytes: usize,
    },
    /// No token, or one that is not known.
    Unauthenticated,
    Forbidden(Role),
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

    fn status_and_code(&self) -> (StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::InvalidParameter(_) => (S::BAD_REQUEST, "invalid_parameter"),
            Self::InvalidWindow(_) => (S::UNPROCESSABLE_ENTITY, "invalid_window"),
            Self::UnreadableBody(_) => (S::BAD_REQUEST, "unreadable_body"),
            Self::InvalidDocument(_) => (S::UNPROCESSABLE_ENTITY, "invalid_document"),
            Self::UnsupportedMediaType { .. } => (S::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
            Self::BodyTooLarge { .. } => (S::PAYLOAD_TOO_LARGE, "body_too_large"),
            Self::Unauthenticated => (S::UNAUTHORIZED, "unauthenticated"),
            Self::Forbidden(_) => (S::FORBIDDEN, "forbidden"),
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
            Self::InvalidDocument(faults) => format!(
                "nothing was applied: {} to correct",
                if faults.len() == 1 {
                    "1 error".to_owned()
                } else {
                    format!("{} errors", faults.len())
                }
            ),
            Self::UnsupportedMediaType { given, expected } => {
                format!("Content-Type {given:?}: expected {expected}")
            }
            Self::BodyTooLarge { limit_bytes } => format!("the body is larger than {limit_bytes} bytes"),
            Self::Unauthenticated => "send a token of this installation: Authorization: Bearer <token>".to_owned(),
            Self::Forbidden(role) => format!("the role {role:?} may not do this").to_lowercase(),
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

    fn faults(self) -> Vec<Problem> {
        match self {
            Self::InvalidParameter(fault) | Self::InvalidWindow(fault) => vec![fault],
            Self::InvalidDocument(faults) => faults,
            _ => Vec::new(),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, code) = self.status_and_code();
        if let Self::Unavailable(cause) | Self::Deadline(cause) | Self::Internal(cause) = &self {
            tracing::error!(code, cause = format!("{cause:#}"), "a request failed");
        }
        let unauthenticated = matches!(self, Self::Unauthenticated);
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
        response
    }
}
