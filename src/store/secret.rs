//! One installation has one secret: under another every user would be a new one, and all that is told of users wrong.

use clickhouse::Row;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Store;
use crate::error::BadInput;
use crate::pseudonym::Pseudonymizer;

#[derive(Row, Serialize, Deserialize)]
struct Key {
    fingerprint: [u8; 16],
    /// Milliseconds since 1970-01-01T00:00Z.
    since: i64,
}

/// How a secret stands to the pseudonyms that are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// There are none yet.
    Unused,
    /// They were made with it.
    Same,
    /// They were made with the lines before its last one: a rotation that has not begun.
    Rotated,
    /// Some were made with it and some with the lines before its last one: a rotation that was cut off.
    HalfRotated,
    /// They were made with another one, since then.
    Other(Timestamp),
}

/// Refuses a secret that is not the one that pseudonyms were made with before. The first one that is used is that of the installation.
pub async fn check(store: &Store, key: &Pseudonymizer) -> anyhow::Result<()> {
    if !is_known(store, key).await? {
        remember(store, key).await?;
    }
    Ok(())
}

/// Whether the secret is that of the installation; false where it has none yet.
pub async fn is_known(store: &Store, key: &Pseudonymizer) -> anyhow::Result<bool> {
    let database = store.database();
    let refused = match standing(store, key).await? {
        Standing::Unused => return Ok(false),
        Standing::Same => return Ok(true),
        Standing::Rotated => format!(
            "the pseudonyms of database {database} were made without its last line; `uptake rotate-secret` makes them anew"
        ),
        Standing::HalfRotated => {
            format!("its rotation in database {database} was cut off; `uptake rotate-secret` ends it")
        }
        Standing::Other(since) => format!(
            "expected the one by which database {database} has known its users since {since}; under another each would be a new user"
        ),
    };
    Err(BadInput::new(format!("privacy.secret: {refused}")).into())
}

pub async fn standing(store: &Store, key: &Pseudonymizer) -> anyhow::Result<Standing> {
    let sql = "SELECT fingerprint, since FROM pseudonym_keys ORDER BY since";
    let known: Vec<Key> = store.client().query(sql).fetch_all().await?;
    let before = key.before_rotation().map(|before| before.fingerprint());
    let is = |fingerprint: [u8; 16]| known.iter().any(|key| key.fingerprint == fingerprint);
    let neither = |known: &&Key| known.fingerprint != key.fingerprint() && Some(known.fingerprint) != before;
    Ok(match known.iter().find(neither) {
        Some(other) => Standing::Other(Timestamp::from_millisecond(other.since)?),
        None => match (is(key.fingerprint()), before.is_some_and(is)) {
            (false, false) => Standing::Unused,
            (true, false) => Standing::Same,
            (false, true) => Standing::Rotated,
            (true, true) => Standing::HalfRotated,
        },
    })
}

/// From now on the installation knows this secret; beside another one nobody is let in.
pub(super) async fn remember(store: &Store, key: &Pseudonymizer) -> anyhow::Result<()> {
    let client = store.client().clone().with_setting("async_insert", "0");
    let mut insert = client.insert::<Key>("pseudonym_keys").await?;
    let row = Key {
        fingerprint: key.fingerprint(),
        since: Timestamp::now().as_millisecond(),
    };
    insert.write(&row).await?;
    Ok(insert.end().await?)
}
