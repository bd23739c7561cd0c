//! The bearer tokens of the API as stored: every version is kept, the newest one of a name counts.

use clickhouse::Row;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Store;
use super::systems::next_version;

/// A row of `tokens`.
#[derive(Debug, Clone, Row, Serialize, Deserialize)]
pub struct Token {
    pub name: String,
    /// Microseconds since 1970-01-01T00:00Z, and greater than that of any version before.
    version: u64,
    /// Milliseconds since 1970-01-01T00:00Z, as is `expires_at`.
    pub created_at: i64,
    pub expires_at: Option<i64>,
    pub revoked: bool,
    pub sha256: [u8; 32],
    pub roles: Vec<String>,
    pub systems: Vec<String>,
    pub units: Vec<String>,
}

/// A token that is about to be stored.
pub struct NewToken {
    pub name: String,
    pub sha256: [u8; 32],
    pub expires_at: Option<Timestamp>,
    pub roles: Vec<String>,
    pub systems: Vec<String>,
    pub units: Vec<String>,
}

impl Token {
    /// Neither revoked nor expired.
    pub fn is_live(&self, now: Timestamp) -> bool {
        !self.revoked && self.expires_at.is_none_or(|at| now.as_millisecond() < at)
    }
}

impl Store {
    /// Every token that ever was, by name.
    pub async fn tokens(&self) -> anyhow::Result<Vec<Token>> {
        let sql = "SELECT ?fields FROM tokens ORDER BY name, version DESC LIMIT 1 BY name";
        Ok(self.client().query(sql).fetch_all().await?)
    }

    /// `None`: there never was one of that name.
    pub async fn token(&self, name: &str) -> anyhow::Result<Option<Token>> {
        let sql = "SELECT ?fields FROM tokens WHERE name = {name:String} ORDER BY version DESC LIMIT 1";
        Ok(self.client().query(sql).param("name", name).fetch_optional().await?)
    }

    /// Lets a token in, in the place of `before`, the one of its name that no longer counts.
    pub async fn add_token(&self, token: NewToken, before: Option<&Token>) -> anyhow::Result<()> {
        self.write_token(&Token {
            version: next_version(before.map(|before| before.version)),
            created_at: Timestamp::now().as_millisecond(),
            expires_at: token.expires_at.map(Timestamp::as_millisecond),
            revoked: false,
            name: token.name,
            sha256: token.sha256,
            roles: token.roles,
            systems: token.systems,
            units: token.units,
        })
        .await
    }

    pub async fn revoke_token(&self, mut token: Token) -> anyhow::Result<()> {
        token.revoked = true;
        token.version = next_version(Some(token.version));
        self.write_token(&token).await
    }

    /// Returns when it is on disk.
    async fn write_token(&self, token: &Token) -> anyhow::Result<()> {
        let client = self.client().clone().with_setting("async_insert", "0");
        let mut insert = client.insert::<Token>("tokens").await?;
        insert.write(token).await?;
        Ok(insert.end().await?)
    }
}
