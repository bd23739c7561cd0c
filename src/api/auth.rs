//! What stands before every route: who asks, how much they have asked, whether they may.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::RequestPartsExt;
use axum::extract::{ConnectInfo, FromRequestParts, Query, RawPathParams, Request, State};
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::Error;
use crate::access::{Caller, Denied, Gate, Right, Scope, Who};

/// Who may pass to a route.
#[derive(Clone)]
pub struct Rule {
    pub gate: Arc<Gate>,
    pub right: Right,
}

/// Lets a request pass to whom the rule allows it, and tells the handler who that is.
///
/// Restrictions are enforced here too, from path and query alone, so that a refusal tells nothing of what exists and no handler can forget
/// them: a `{system}` in the path must be one of the caller's, and for numbers every `unit` of the filter.
pub async fn require(State(rule): State<Rule>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match admitted(&rule, &mut parts).await {
        Ok(caller) => {
            parts.extensions.insert(caller);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(error) => error.into_response(),
    }
}

async fn admitted(rule: &Rule, parts: &mut Parts) -> Result<Caller, Error> {
    let caller = known(&rule.gate, parts).await?;
    let limits = &rule.gate.limits;
    limits
        .request(&caller.who, rule.right)
        .map_err(Error::TooManyRequests)?;
    allowed(&caller, rule.right, parts).await?;
    tracing::debug!(who = %caller.who, "let in");
    Ok(caller)
}

async fn known(gate: &Gate, parts: &mut Parts) -> Result<Caller, Error> {
    let header = parts.headers.get(AUTHORIZATION);
    // What is no text is no token.
    let header = header.map(|value| value.to_str().unwrap_or_default());
    match gate.caller(header).await {
        Ok(caller) => Ok(caller),
        Err(Denied::Undecided(cause)) => Err(Error::AccessUndecided(cause)),
        Err(Denied::Unknown(why)) => {
            tracing::debug!(why, "nobody was let in");
            let ConnectInfo(address) = parts.extract::<ConnectInfo<SocketAddr>>().await.map_err(internal)?;
            gate.limits.refusal(address.ip()).map_err(Error::TooManyRequests)?;
            Err(Error::Unauthenticated)
        }
    }
}

async fn allowed(caller: &Caller, right: Right, parts: &mut Parts) -> Result<(), Error> {
    let forbidden = |why: &str| Err(Error::Forbidden(why.to_owned()));
    if caller.who == Who::Anybody && !is_for_this_machine(parts) {
        return forbidden("without api.authentication only this machine is answered: ask localhost or its address");
    }
    if !caller.may(right) {
        return forbidden("your role may not do this");
    }
    let system = system_of_path(parts).await?;
    if let Some(system) = system.filter(|system| !caller.systems.allows(system)) {
        return forbidden(&format!("you may not ask about the system {system:?}"));
    }
    match right {
        Right::ReadNumbers | Right::ReadLists if !caller.may_see_units(&units_of_query(parts)) => {
            forbidden("you may only ask about your units: give them as unit=")
        }
        Right::Change if caller.units != Scope::All => forbidden("you may not change what is about all units"),
        Right::ReadAudit if (&caller.systems, &caller.units) != (&Scope::All, &Scope::All) => {
            forbidden("you may not read what is about all systems and units")
        }
        Right::Erase if (&caller.systems, &caller.units) != (&Scope::All, &Scope::All) => {
            forbidden("you may not erase what is about all systems and units")
        }
        _ => Ok(()),
    }
}

/// A page of another site that points its own name at this machine gets the browser of somebody here to ask us. It cannot change what `Host`
/// says, which is that name.
fn is_for_this_machine(parts: &Parts) -> bool {
    let host = parts
        .headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let authority = host.parse::<Authority>();
    let Some(name) = authority.as_ref().ok().map(Authority::host) else {
        return host.is_empty();
    };
    let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    is_address || name.eq_ignore_ascii_case("localhost")
}

async fn system_of_path(parts: &mut Parts) -> Result<Option<String>, Error> {
    let path = parts.uri.path().to_owned();
    let params = parts.extract::<RawPathParams>().await;
    let params = params.map_err(|_| Error::UnknownPath(path))?;
    let system = params.iter().find(|(name, _)| *name == "system");
    Ok(system.map(|(_, value)| value.to_owned()))
}

/// What cannot be read filters nothing.
fn units_of_query(parts: &Parts) -> Vec<String> {
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
    let pairs = pairs.map_or_else(|_| Vec::new(), |Query(pairs)| pairs);
    pairs
        .into_iter()
        .filter(|(name, _)| name == "unit")
        .map(|(_, unit)| unit)
        .collect()
}

fn internal(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Internal(error.into())
}

/// Only on routes behind [`require`].
impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let caller = parts.extensions.get().cloned();
        caller.ok_or_else(|| Error::Internal(anyhow::anyhow!("a route without a rule")))
    }
}
