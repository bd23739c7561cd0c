//! Bearer tokens: who asks, and whether the role may.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::error::Error;
use crate::config::{Role, Token};

/// The tokens of the configuration. Without any, everybody is an administrator: the API then listens on loopback only.
#[derive(Debug, Clone)]
pub struct Tokens(Arc<[Known]>);

#[derive(Debug)]
struct Known {
    name: String,
    role: Role,
    sha256: String,
}

impl Tokens {
    pub fn new(tokens: &[Token]) -> Self {
        let known = |token: &Token| Known {
            name: token.name.clone(),
            role: token.role,
            sha256: token.sha256.to_ascii_lowercase(),
        };
        Self(tokens.iter().map(known).collect())
    }

    /// The role of the token in an `Authorization` header. Every known token is compared, in constant time.
    fn role(&self, header: Option<&str>) -> Result<Role, Error> {
        if self.0.is_empty() {
            return Ok(Role::Admin);
        }
        let token = header
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or(Error::Unauthenticated)?;
        let hash = hash(token);
        let mut found = None;
        for known in self.0.iter() {
            if bool::from(known.sha256.as_bytes().ct_eq(hash.as_bytes())) {
                found = Some(known);
            }
        }
        let known = found.ok_or(Error::Unauthenticated)?;
        tracing::debug!(token = known.name, "authenticated");
        Ok(known.role)
    }
}

/// SHA-256 in lower-case hex, as the configuration holds it.
pub fn hash(token: &str) -> String {
    Sha256::digest(token.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Who may read aggregates.
pub async fn require_viewer(tokens: State<Tokens>, request: Request, next: Next) -> Response {
    require(tokens, request, next, |role| role != Role::Producer).await
}

/// Who may read pseudonymous lists.
pub async fn require_analyst(tokens: State<Tokens>, request: Request, next: Next) -> Response {
    require(tokens, request, next, |role| {
        matches!(role, Role::Analyst | Role::Privacy | Role::Admin)
    })
    .await
}

/// Who may change definitions and rosters.
pub async fn require_admin(tokens: State<Tokens>, request: Request, next: Next) -> Response {
    require(tokens, request, next, |role| role == Role::Admin).await
}

/// Who may send events.
pub async fn require_producer(tokens: State<Tokens>, request: Request, next: Next) -> Response {
    require(tokens, request, next, |role| {
        matches!(role, Role::Producer | Role::Admin)
    })
    .await
}

async fn require(State(tokens): State<Tokens>, request: Request, next: Next, may: fn(Role) -> bool) -> Response {
    let header = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    match tokens.role(header) {
        Ok(role) if may(role) => next.run(request).await,
        Ok(role) => Error::Forbidden(role).into_response(),
        Err(error) => error.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_hash() {
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash("abc"), abc);
        let tokens = Tokens::new(&[Token {
            name: "grafana".to_owned(),
            role: Role::Viewer,
            sha256: abc.to_ascii_uppercase(),
        }]);
        assert_eq!(tokens.role(Some("Bearer abc")).ok(), Some(Role::Viewer));
        for refused in [
            None,
            Some("Bearer abd"),
            Some("Bearer "),
            Some("abc"),
            Some("Basic abc"),
        ] {
            assert!(
                matches!(tokens.role(refused), Err(Error::Unauthenticated)),
                "{refused:?}"
            );
        }
    }
}
