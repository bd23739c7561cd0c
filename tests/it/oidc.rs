//! Access tokens of an OpenID Connect provider: a real one over HTTP, with keys that come and go.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uptake::config::Role;

use crate::access::create_token;
use crate::api::Api;

/// A key pair of the provider.
struct Key {
    id: &'static str,
    algorithm: Algorithm,
    private: EncodingKey,
}

impl Key {
    fn new(id: &'static str, algorithm: Algorithm) -> Self {
        let private = match algorithm {
            Algorithm::RS256 | Algorithm::PS256 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
                // PKCS #1, which in PKCS #8 stands behind 26 bytes for a key of this size.
                EncodingKey::from_rsa_der(&pair.as_der().unwrap().as_ref()[26..])
            }
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
                EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref())
            }
            _ => {
                let pair = Ed25519KeyPair::generate().unwrap();
                EncodingKey::from_ed_der(pair.to_pkcs8v1().unwrap().as_ref())
            }
        };
        Self { id, algorithm, private }
    }

    fn public(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.private, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.id.to_owned());
        serde_json::to_value(jwk).unwrap()
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.id.to_owned());
        encode(&header, claims, &self.private).unwrap()
    }
}

#[derive(Clone)]
struct Provider {
    url: String,
    keys: Arc<Mutex<Vec<Value>>>,
    fetches: Arc<AtomicUsize>,
    is_down: Arc<AtomicBool>,
}

impl Provider {
    async fn start(keys: &[&Key]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Self {
            url: format!("http://{}/realms/company", listener.local_addr().unwrap()),
            keys: Arc::default(),
            fetches: Arc::default(),
            is_down: Arc::default(),
        };
        provider.publish(keys);
        let router = Router::new()
            .route("/realms/company/.well-known/openid-configuration", get(discovery))
            .route("/realms/company/keys", get(keys_in_force))
            .with_state(provider.clone());
        tokio::spawn(async { axum::serve(listener, router).await });
        provider
    }

    fn publish(&self, keys: &[&Key]) {
        // What other programs use is there too.
        let others = [
            json!({"kty": "new", "kid": "1"}),
            json!({"kty": "EC", "crv": "P-999", "x": "", "y": ""}),
        ];
        *self.keys.lock().unwrap() = others.into_iter().chain(keys.iter().map(|key| key.public())).collect();
    }

    /// Claims that are let in as a viewer.
    fn claims(&self) -> Value {
        json!({"iss": self.url, "aud": ["account", "uptake"], "sub": "b7c1", "exp": seconds_from_now(300), "iat": seconds_from_now(0),
            "realm_access": {"roles": ["uptake-readers", "other"]}})
    }

    fn with(&self, name: &str, value: Value) -> Value {
        let mut claims = self.claims();
        claims[name] = value;
        claims
    }

    fn without(&self, name: &str) -> Value {
        let mut claims = self.claims();
        claims.as_object_mut().unwrap().remove(name);
        claims
    }

    /// An API that lets in whom this provider knows.
    async fn guarded(&self) -> Api {
        let issuer = self.url.clone();
        Api::start(|config| {
            config.api.authentication = true;
            config.api.oidc.issuer = issuer;
            config.api.oidc.audience = "uptake".to_owned();
            config.api.oidc.roles_claim = "realm_access.roles".to_owned();
            let words = [("uptake-readers", Role::Viewer), ("uptake-producers", Role::Producer)];
            config.api.oidc.roles = words.map(|(word, role)| (word.to_owned(), role)).into();
        })
        .await
    }
}

async fn discovery(State(provider): State<Provider>) -> Json<Value> {
    Json(json!({"issuer": provider.url, "jwks_uri": format!("{}/keys", provider.url)}))
}

async fn keys_in_force(State(provider): State<Provider>) -> Result<Json<Value>, StatusCode> {
    provider.fetches.fetch_add(1, Ordering::SeqCst);
    if provider.is_down.load(Ordering::SeqCst) {
        return Err(StatusCode::BAD_GATEWAY);
    }
    Ok(Json(json!({"keys": *provider.keys.lock().unwrap()})))
}

fn seconds_from_now(seconds: i64) -> i64 {
    jiff::Timestamp::now().as_second() + seconds
}

async fn status(api: &Api, token: &str) -> u16 {
    api.send(api.http.get(format!("{}/api/v1/systems", api.url)).bearer_auth(token))
        .await
        .0
}

fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

#[tokio::test]
async fn whoever_the_provider_knows_may_do_what_its_words_stand_for() {
    let keys = [
        ("r", Algorithm::RS256),
        ("p", Algorithm::PS256),
        ("e", Algorithm::ES256),
        ("d", Algorithm::EdDSA),
    ];
    let keys = keys.map(|(id, algorithm)| Key::new(id, algorithm));
    let provider = Provider::start(&keys.each_ref()).await;
    let api = provider.guarded().await;
    for key in &keys {
        assert_eq!(
            status(&api, &key.sign(&provider.claims())).await,
            200,
            "{:?}",
            key.algorithm
        );
    }
    assert_eq!(provider.fetches.load(Ordering::SeqCst), 1);
    let sign = |claims: Value| keys[2].sign(&claims);
    assert_eq!(status(&api, &sign(provider.with("aud", json!("uptake")))).await, 200);
    // Clocks differ.
    assert_eq!(
        status(&api, &sign(provider.with("exp", json!(seconds_from_now(-10))))).await,
        200
    );
    for roles in [
        json!({"roles": ["uptake-producers"]}),
        json!({"roles": []}),
        json!("admin"),
    ] {
        assert_eq!(status(&api, &sign(provider.with("realm_access", roles))).await, 403);
    }
    // Those of this installation count as well.
    let token = create_token(&api.fixture, "viewer", &["--role", "viewer"]);
    assert_eq!(status(&api, &token).await, 200);
}

#[tokio::test]
async fn a_token_that_is_not_meant_for_us_now_is_refused() {
    let key = Key::new("k", Algorithm::ES256);
    let provider = Provider::start(&[&key]).await;
    let api = provider.guarded().await;
    for (why, claims) in [
        (
            "another issuer",
            provider.with("iss", json!("https://login.example.org")),
        ),
        (
            "an issuer that begins alike",
            provider.with("iss", json!(format!("{}/", provider.url))),
        ),
        ("another audience", provider.with("aud", json!("account"))),
        ("no audience", provider.with("aud", json!([]))),
        ("over", provider.with("exp", json!(seconds_from_now(-120)))),
        ("not yet", provider.with("nbf", json!(seconds_from_now(120)))),
        ("no end", provider.without("exp")),
        ("an end that is no number", provider.with("exp", json!("tomorrow"))),
        ("nobody", provider.without("sub")),
        ("nobody's issuer", provider.without("iss")),
        ("for nobody", provider.without("aud")),
    ] {
        assert_eq!(status(&api, &key.sign(&claims)).await, 401, "{why}");
    }
    assert_eq!(status(&api, &key.sign(&provider.claims())).await, 200);
}

#[tokio::test]
async fn a_signature_counts_only_if_it_is_of_the_key_and_made_with_a_private_half() {
    let (rsa, ed) = (Key::new("r", Algorithm::RS256), Key::new("d", Algorithm::EdDSA));
    let provider = Provider::start(&[&rsa, &ed]).await;
    let api = provider.guarded().await;
    let claims = provider.claims();
    let good = rsa.sign(&claims);
    assert_eq!(status(&api, &good).await, 200);

    let unsigned = |algorithm: &str| format!("{}.{}.", part(&json!({"alg": algorithm, "kid": "r"})), part(&claims));
    for algorithm in ["none", "None", "RS256", "HS256", ""] {
        assert_eq!(status(&api, &unsigned(algorithm)).await, 401, "{algorithm}");
    }
    // Signed with what everybody can know: the public key, in the forms in which a library may hold it.
    let public = rsa.public();
    let modulus = public["n"].as_str().unwrap();
    let secrets = [
        modulus.as_bytes().to_vec(),
        URL_SAFE_NO_PAD.decode(modulus).unwrap(),
        public.to_string().into_bytes(),
        Vec::new(),
    ];
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        for secret in &secrets {
            let mut header = Header::new(algorithm);
            header.kid = Some("r".to_owned());
            let token = encode(&header, &claims, &EncodingKey::from_secret(secret)).unwrap();
            assert_eq!(status(&api, &token).await, 401, "{algorithm:?}");
        }
    }
    let forged = Key::new("r", Algorithm::RS256);
    let of_other_kind = Key {
        id: "r",
        ..Key::new("d", Algorithm::EdDSA)
    };
    // The key is in the token itself.
    let mut header = Header::new(Algorithm::RS256);
    header.jwk = Some(Jwk::from_encoding_key(&forged.private, Algorithm::RS256).unwrap());
    let own_key = encode(&header, &claims, &forged.private).unwrap();
    let mut header = Header::new(Algorithm::RS256);
    (header.kid, header.crit) = (Some("r".to_owned()), Some(vec!["exp".to_owned()]));
    let critical = encode(&header, &claims, &rsa.private).unwrap();
    // For PS256 the key was not published.
    let other_padding = Key {
        id: "r",
        algorithm: Algorithm::PS256,
        private: rsa.private.clone(),
    };
    let [head, _, signature] = *good.split('.').collect::<Vec<_>>() else {
        panic!("{good}")
    };
    let changed = format!("{head}.{}.{signature}", part(&provider.with("sub", json!("admin"))));
    for (why, token) in [
        ("another key of the same name", forged.sign(&claims)),
        ("another kind of key of the same name", of_other_kind.sign(&claims)),
        ("a key of its own", own_key),
        ("an extension", critical),
        ("another padding", other_padding.sign(&claims)),
        ("changed claims", changed),
        ("cut", good[..good.len() - 2].to_owned()),
        ("no JWT", "a.b.c".to_owned()),
    ] {
        assert_eq!(status(&api, &token).await, 401, "{why}");
    }
}

#[tokio::test]
async fn keys_may_be_replaced_and_invented_ones_do_not_burden_the_provider() {
    let (first, second) = (Key::new("1", Algorithm::ES256), Key::new("2", Algorithm::ES256));
    let provider = Provider::start(&[&first]).await;
    let api = provider.guarded().await;
    assert_eq!(status(&api, &first.sign(&provider.claims())).await, 200);
    provider.publish(&[&second]);
    assert_eq!(status(&api, &second.sign(&provider.claims())).await, 200);
    assert_eq!(status(&api, &first.sign(&provider.claims())).await, 401);
    let invented = Key::new("3", Algorithm::ES256);
    for _ in 0..30 {
        assert_eq!(status(&api, &invented.sign(&provider.claims())).await, 401);
    }
    let fetches = provider.fetches.load(Ordering::SeqCst);
    assert!(fetches < 15, "{fetches}");
    // What is known stays known while the provider is away.
    provider.is_down.store(true, Ordering::SeqCst);
    assert_eq!(status(&api, &invented.sign(&provider.claims())).await, 401);
    assert_eq!(status(&api, &second.sign(&provider.claims())).await, 200);
}

#[tokio::test]
async fn without_the_provider_nobody_can_be_told_from_anybody() {
    let key = Key::new("k", Algorithm::ES256);
    let provider = Provider::start(&[&key]).await;
    provider.is_down.store(true, Ordering::SeqCst);
    let api = provider.guarded().await;
    assert_eq!(status(&api, &key.sign(&provider.claims())).await, 503);
    provider.is_down.store(false, Ordering::SeqCst);
    assert_eq!(status(&api, &key.sign(&provider.claims())).await, 200);

    // Somebody else's configuration leads to somebody else's keys.
    let other = Provider {
        url: format!("{}/../company", provider.url),
        ..provider.clone()
    };
    let api = other.guarded().await;
    assert_eq!(status(&api, &key.sign(&other.claims())).await, 503);
}
