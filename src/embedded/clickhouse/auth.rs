//! Who asks: the owner or the reader, with user and password in each of the forms that ClickHouse takes.

use std::sync::Arc;

use axum::http::HeaderMap;
use subtle::ConstantTimeEq;

use crate::config::Secret;

use super::error::DbError;
use super::http::Interface;
use super::input::Parameters;
use super::reader::Reader;

/// The owner of everything, or the reader of the numbers.
#[derive(Clone)]
pub enum Who {
    Owner,
    Reader(Arc<Reader>),
}

/// By header, HTTP basic authentication or URL, in the order in which ClickHouse looks.
pub fn who_asks(interface: &Interface, headers: &HeaderMap, parameters: &Parameters) -> Result<Who, DbError> {
    let of_header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let basic = || {
        let value = of_header("authorization")?;
        let decoded = base64(value.strip_prefix("Basic ")?)?;
        let (user, password) = decoded.split_once(':')?;
        Some((user.to_owned(), password.to_owned()))
    };
    let (user, password) = match of_header("x-clickhouse-user") {
        Some(user) => (user, of_header("x-clickhouse-key").unwrap_or_default()),
        None => basic().unwrap_or_else(|| {
            let get = |name| parameters.get(name).unwrap_or_default().to_owned();
            (parameters.get("user").unwrap_or("default").to_owned(), get("password"))
        }),
    };
    let is = |expected_user: &str, expected: &Secret| {
        let same =
            user.as_bytes().ct_eq(expected_user.as_bytes()) & password.as_bytes().ct_eq(expected.expose().as_bytes());
        bool::from(same)
    };
    if is(&interface.user, &interface.password) {
        return Ok(Who::Owner);
    }
    match &interface.reader {
        Some(reader) if is(&reader.user, &reader.password) => Ok(Who::Reader(Arc::clone(reader))),
        _ => Err(DbError::of(
            516,
            "AUTHENTICATION_FAILED",
            &format!("{user}: Authentication failed: password is incorrect, or there is no user with such name."),
        )),
    }
}

/// Standard base64 to text; None when it is not that.
fn base64(text: &str) -> Option<String> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut held, mut out) = (0u32, 0u32, Vec::new());
    for symbol in text.trim_end_matches('=').bytes() {
        let value = ALPHABET.iter().position(|a| *a == symbol)? as u32;
        bits = (bits << 6) | value;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    String::from_utf8(out).ok()
}
