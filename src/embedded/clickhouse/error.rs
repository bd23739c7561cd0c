//! ClickHouse's errors: the text, the code in it, and the HTTP status that ClickHouse answers for that code.

use axum::http::StatusCode;

/// An error as ClickHouse words it: `Code: 60. DB::Exception: … (UNKNOWN_TABLE)`.
#[derive(Debug, Clone)]
pub struct DbError {
    pub code: u32,
    text: String,
}

impl DbError {
    /// Of the engine's own text; the code is read from it (1001, STD_EXCEPTION, if there is none).
    pub fn new(text: String) -> Self {
        let code = text
            .strip_prefix("Code: ")
            .and_then(|rest| rest.split('.').next())
            .and_then(|digits| digits.parse().ok());
        match code {
            Some(code) => Self { code, text },
            None => Self::of(1001, "STD_EXCEPTION", &text),
        }
    }

    /// An error of the interface itself, in the same words as the engine's.
    pub fn of(code: u32, name: &str, message: &str) -> Self {
        Self {
            code,
            text: format!("Code: {code}. DB::Exception: {message} ({name})"),
        }
    }

    pub fn no_answer() -> Self {
        Self::of(1001, "STD_EXCEPTION", "the embedded engine gave no answer")
    }

    pub fn not_implemented(message: &str) -> Self {
        Self::of(48, "NOT_IMPLEMENTED", message)
    }

    pub fn syntax(message: &str) -> Self {
        Self::of(62, "SYNTAX_ERROR", message)
    }

    pub fn bad_arguments(message: &str) -> Self {
        Self::of(36, "BAD_ARGUMENTS", message)
    }

    /// The text as ClickHouse's HTTP interface sends it: with the version, ended by a newline.
    pub fn body(&self, version: &str) -> String {
        match self.text.contains("(version ") {
            true => format!("{}\n", self.text),
            false => format!("{} (version {version} (embedded))\n", self.text),
        }
    }

    /// As ClickHouse's `exceptionCodeToHTTPStatus`.
    pub fn status(&self) -> StatusCode {
        match self.code {
            194 => StatusCode::UNAUTHORIZED,
            192 | 193 | 512 | 516 => StatusCode::FORBIDDEN,
            // Arguments, everything that cannot be parsed, wrong types.
            6 | 25 | 26 | 27 | 36 | 38 | 41 | 52 | 53 | 62 | 69 | 72 | 117 | 167 | 168 | 321 | 376 | 427 | 441
            | 456 | 675 | 676 => StatusCode::BAD_REQUEST,
            // Unknown identifier, function, type, storage, table, database, setting, format …
            46 | 47 | 50 | 56 | 60 | 63 | 73 | 78 | 81 | 99 | 115 | 336 => StatusCode::NOT_FOUND,
            159 => StatusCode::REQUEST_TIMEOUT,
            223 => StatusCode::PAYLOAD_TOO_LARGE,
            48 => StatusCode::NOT_IMPLEMENTED,
            202 | 209 | 439 => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}
