//! From an `Authorization` header to who asks.

use super::oidc::Oidc;
use super::secret;
use super::tokens::Tokens;
use super::{Caller, Limits};
use crate::config;
use crate::store::Store;

/// Why nobody is let in.
#[derive(Debug)]
pub enum Denied {
    /// There is no token, or none that is known. The reason is for the log.
    Unknown(&'static str),
    /// Whether the token is known cannot be told now.
    Undecided(anyhow::Error),
}

pub struct Gate {
    is_required: bool,
    tokens: Tokens,
    oidc: Option<Oidc>,
    pub limits: Limits,
}

impl Gate {
    pub fn new(config: &config::Api, store: &Store) -> anyhow::Result<Self> {
        let oidc = config.oidc.is_used().then(|| Oidc::new(&config.oidc));
        Ok(Self {
            is_required: config.authentication,
            tokens: Tokens::new(store),
            oidc: oidc.transpose()?,
            limits: Limits::new(&config.limits),
        })
    }

    /// `header`: the value of `Authorization`, where there is one. A token that is given is checked even where none is required, so that
    /// what it may do can be tried out.
    pub async fn caller(&self, header: Option<&str>) -> Result<Caller, Denied> {
        let token = match header {
            None if !self.is_required => return Ok(Caller::anybody()),
            None => return Err(Denied::Unknown("no token")),
            Some(header) => bearer(header).ok_or(Denied::Unknown("no bearer token"))?,
        };
        match &self.oidc {
            Some(oidc) if !secret::is_ours(token) => oidc.caller(token).await,
            _ => {
                let found = self.tokens.caller(token).await.map_err(Denied::Undecided)?;
                found.ok_or(Denied::Unknown("no such token"))
            }
        }
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stands_behind_the_word_bearer() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc "), Some("abc"));
        for other in ["", "abc", "Bearer", "Basic abc", "Bearerabc"] {
            assert_eq!(bearer(other), None, "{other}");
        }
    }
}
