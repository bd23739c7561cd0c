//! The codes of problems. They are stable: programs may rely on them. docs/api.md lists them for people; a test compares.

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    InvalidParameter,
    InvalidWindow,
    UnreadableBody,
    InvalidDocument,
    InvalidEvents,
    UnsupportedMediaType,
    NotAcceptable,
    BodyTooLarge,
    TooManyEvents,
    TooManyRequests,
    QueueFull,
    NotAcknowledged,
    Unauthenticated,
    Forbidden,
    Suppressed,
    AccessUndecided,
    UnknownSystem,
    UnknownPath,
    WrongMethod,
    StorageUnavailable,
    DeadlineExceeded,
    InternalError,
}

impl Code {
    pub fn status(self) -> StatusCode {
        use StatusCode as S;
        match self {
            Self::UnreadableBody => S::BAD_REQUEST,
            Self::Unauthenticated => S::UNAUTHORIZED,
            Self::Forbidden | Self::Suppressed => S::FORBIDDEN,
            Self::UnknownSystem | Self::UnknownPath => S::NOT_FOUND,
            Self::WrongMethod => S::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => S::NOT_ACCEPTABLE,
            Self::BodyTooLarge | Self::TooManyEvents => S::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => S::UNSUPPORTED_MEDIA_TYPE,
            Self::InvalidParameter | Self::InvalidWindow | Self::InvalidDocument | Self::InvalidEvents => {
                S::UNPROCESSABLE_ENTITY
            }
            Self::TooManyRequests | Self::QueueFull => S::TOO_MANY_REQUESTS,
            Self::InternalError => S::INTERNAL_SERVER_ERROR,
            Self::NotAcknowledged | Self::AccessUndecided | Self::StorageUnavailable | Self::DeadlineExceeded => {
                S::SERVICE_UNAVAILABLE
            }
        }
    }
}
