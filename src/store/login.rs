//! OAUTHBEARER: the token that a Kafka client logs in with.

use std::error::Error;
use std::ffi::{CStr, CString, c_char};
use std::path::Path;

use anyhow::{anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::ClientContext;
use rdkafka::bindings::rd_kafka_oauthbearer_set_token;
use rdkafka::client::{Client, OAuthToken};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use serde::Deserialize;

/// The claims that matter here; the broker verifies all of them.
#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    sub: String,
    /// Seconds since 1970.
    exp: f64,
}

/// What [`ClientContext::generate_oauth_token`] of every client answers. `token_file` is what `client_config` put into
/// `sasl.oauthbearer.config`. No error repeats anything of the token.
pub fn token(token_file: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
    let file = Path::new(token_file.unwrap_or_default());
    let place = format!("kafka.sasl.token_file = \"{}\"", file.display());
    let text = std::fs::read_to_string(file).map_err(|e| format!("{place}: {e}"))?;
    let token = text.trim();
    let claims = claims(token).ok_or_else(|| format!("{place}: expected a JWT with exp"))?;
    Ok(OAuthToken {
        token: token.to_owned(),
        principal_name: claims.sub,
        lifetime_ms: (claims.exp * 1_000.0) as i64,
    })
}

/// Gives a client that is not polled its token. It stays without one when the token expires.
pub fn give_token<C: ClientContext>(client: &Client<C>, token_file: &Path) -> anyhow::Result<()> {
    let token = token(token_file.to_str()).map_err(|e| anyhow!("{e}"))?;
    let (value, principal) = (CString::new(token.token)?, CString::new(token.principal_name)?);
    let mut told = [0 as c_char; 256];
    // SAFETY: the client lives through the call; the strings end with a null and are copied; librdkafka writes at most
    // `told.len()` bytes, a null among them.
    let (code, told) = unsafe {
        let code = rd_kafka_oauthbearer_set_token(
            client.native_ptr(),
            value.as_ptr(),
            token.lifetime_ms,
            principal.as_ptr(),
            std::ptr::null_mut(),
            0,
            told.as_mut_ptr(),
            told.len(),
        );
        (code, CStr::from_ptr(told.as_ptr()))
    };
    if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        bail!(
            "kafka.sasl.token_file = \"{}\": {}",
            token_file.display(),
            told.to_string_lossy()
        );
    }
    Ok(())
}

/// header.claims.signature
fn claims(token: &str) -> Option<Claims> {
    let middle = token.split('.').nth(1)?;
    let json = URL_SAFE_NO_PAD.decode(middle.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&json).ok()
}

/// The context of a client that needs nothing but to log in.
#[derive(Debug, Clone, Default)]
pub struct Login;

impl ClientContext for Login {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, token_file: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        token(token_file)
    }

    /// Who uses the client hears of it, or of what follows from it.
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka client");
    }
}

impl ConsumerContext for Login {}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Result<OAuthToken, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        token(file.path().to_str()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_token_says_whose_it_is_and_until_when() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"sub":"uptake","exp":1800000000,"aud":"kafka"}"#);
        let jwt = format!("e30.{claims}.c2lnbmVk");
        let token = written(&format!("{jwt}\n")).unwrap();
        assert_eq!((token.token, token.principal_name), (jwt, "uptake".to_owned()));
        assert_eq!(token.lifetime_ms, 1_800_000_000_000);
    }

    #[test]
    fn what_is_no_token_is_not_repeated() {
        for text in ["", "opaque-hunter2", "e30.hunter2.x", "e30.e30.hunter2"] {
            let Err(error) = written(text) else { panic!("{text}") };
            assert!(
                error.contains("token_file") && error.contains("JWT") && !error.contains("hunter2"),
                "{error}"
            );
        }
        assert!(token(Some("/nowhere")).err().unwrap().to_string().contains("/nowhere"));
    }
}
