//! Access tokens of an OpenID Connect provider: JSON Web Tokens, signed with one of its keys.

use std::collections::{BTreeMap, BTreeSet};

use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::keys::Keys;
use super::{Caller, Denied, Scope, Who};
use crate::config::{self, Role};

/// Only signatures of which we know no more than the public half of the key. What the header of a token says is never enough: with a shared
/// secret among these, a token "signed" with the public key would be let in.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

type Claims = Map<String, Value>;

pub struct Oidc {
    keys: Keys,
    issuer: String,
    audience: String,
    leeway_s: u64,
    roles_claim: String,
    roles: BTreeMap<String, Role>,
}

impl Oidc {
    pub fn new(config: &config::Oidc) -> anyhow::Result<Self> {
        Ok(Self {
            keys: Keys::new(config)?,
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            leeway_s: config.leeway_ms.div_ceil(1_000),
            roles_claim: config.roles_claim.clone(),
            roles: config.roles.clone(),
        })
    }

    /// Somebody whose token is right and who has none of our roles is known, and may do nothing.
    pub async fn caller(&self, token: &str) -> Result<Caller, Denied> {
        let header = decode_header(token).map_err(|_| Denied::Unknown("neither a token of ours nor a JWT"))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(Denied::Unknown("a JWT whose algorithm is not accepted"));
        }
        if header.crit.is_some() {
            return Err(Denied::Unknown("a JWT that wants extensions to be understood"));
        }
        let key = self.keys.find(header.kid.as_deref()).await.map_err(Denied::Undecided)?;
        let key = key.ok_or(Denied::Unknown("a JWT of a key that the provider does not have"))?;
        if key
            .algorithm
            .is_some_and(|algorithm| algorithm != format!("{:?}", header.alg))
        {
            return Err(Denied::Unknown("a JWT whose algorithm is not that of its key"));
        }
        let claims = decode::<Claims>(token, &key.key, &self.validation(header.alg));
        let claims = claims.map_err(|error| Denied::Unknown(told(error.kind())))?.claims;
        let subject = claims.get("sub").and_then(Value::as_str);
        Ok(Caller {
            who: Who::Subject(subject.ok_or(Denied::Unknown("a JWT without sub"))?.to_owned()),
            roles: self.roles(&claims),
            systems: Scope::All,
            units: Scope::All,
        })
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.validate_nbf = true;
        validation.leeway = self.leeway_s;
        validation
    }

    /// What the provider's words stand for: the claim is a list of them, or a text with spaces between them.
    fn roles(&self, claims: &Claims) -> Vec<Role> {
        let words: Vec<&str> = match at(claims, &self.roles_claim) {
            Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(words)) => words.split_whitespace().collect(),
            _ => Vec::new(),
        };
        let roles: BTreeSet<Role> = words.iter().filter_map(|&word| self.roles.get(word).copied()).collect();
        roles.into_iter().collect()
    }
}

/// The claim of that name, which may be an address with dots in it; otherwise the end of a path.
fn at<'c>(claims: &'c Claims, path: &str) -> Option<&'c Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    at(claims.get(first)?.as_object()?, rest)
}

fn told(error: &jsonwebtoken::errors::ErrorKind) -> &'static str {
    use jsonwebtoken::errors::ErrorKind as E;
    match error {
        E::ExpiredSignature => "a JWT that has expired",
        E::ImmatureSignature => "a JWT that is not valid yet",
        E::InvalidIssuer => "a JWT of another issuer",
        E::InvalidAudience => "a JWT for another audience",
        E::MissingRequiredClaim(_) => "a JWT without exp, iss, aud or sub",
        _ => "a JWT whose signature is wrong",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn roles(claim: &str, claims: Value) -> Vec<Role> {
        let mut config = config::Config::load(None).unwrap().api.oidc;
        config.roles_claim = claim.to_owned();
        let words = [("readers", Role::Viewer), ("bosses", Role::Admin)];
        config.roles = words.map(|(word, role)| (word.to_owned(), role)).into();
        Oidc::new(&config).unwrap().roles(claims.as_object().unwrap())
    }

    #[test]
    fn roles_stand_in_a_list_a_text_or_at_the_end_of_a_path() {
        let both = vec![Role::Viewer, Role::Admin];
        assert_eq!(
            roles("roles", json!({"roles": ["bosses", "readers", "bosses", "x"]})),
            both
        );
        assert_eq!(roles("scope", json!({"scope": "openid readers  bosses"})), both);
        assert_eq!(
            roles("realm_access.roles", json!({"realm_access": {"roles": ["readers"]}})),
            [Role::Viewer]
        );
        let address = "https://example.org/roles";
        assert_eq!(roles(address, json!({address: ["bosses"]})), [Role::Admin]);
        for claims in [
            json!({}),
            json!({"roles": 7}),
            json!({"roles": [["bosses"]]}),
            json!({"roles": {"bosses": true}}),
        ] {
            assert!(roles("roles", claims.clone()).is_empty(), "{claims}");
        }
    }
}
