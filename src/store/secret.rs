//! One installation has one secret: under another every user would be a new one, and all that is told of users wrong.

use clickhouse::Row;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Store;
use crate::config::Config;
use crate::error::BadInput;
use crate::pseudonym::Pseudonymizer;

#[derive(Row, Serialize, Deserialize)]
struct Key {
    fingerprint: [u8; 16],
    /// Milliseconds since 1970-01-01T00:00Z.
    since: i64,
}

/// Refuses a secret that is not the one that pseudonyms were made with before. The first one that is used is that of the installation.
pub async fn check(store: &Store, config: &Config) -> anyhow::Result<()> {
    if is_known(store, config).await? {
        return Ok(());
    }
    let client = store.client().clone().with_setting("async_insert", "0");
    let mut insert = client.insert::<Key>("pseudonym_keys").await?;
    insert
        .write(&Key {
            fingerprint: fingerprint(config),
            since: Timestamp::now().as_millisecond(),
        })
        .await?;
    Ok(insert.end().await?)
}

/// Whether the secret is that of the installation; false where it has none yet.
pub async fn is_known(store: &Store, config: &Config) -> anyhow::Result<bool> {
    let sql = "SELECT fingerprint, since FROM pseudonym_keys ORDER BY since";
    let known: Vec<Key> = store.client().query(sql).fetch_all().await?;
    let fingerprint = fingerprint(config);
    let Some(other) = known.iter().find(|key| key.fingerprint != fingerprint) else {
        return Ok(!known.is_empty());
    };
    let message = format!(
        "privacy.secret: expected the one by which database {} has known its users since {}; under another each would be a new user",
        store.database(),
        Timestamp::from_millisecond(other.since)?
    );
    Err(BadInput::new(message).into())
}

fn fingerprint(config: &Config) -> [u8; 16] {
    Pseudonymizer::new(config.privacy.secret.expose().as_bytes()).fingerprint()
}
