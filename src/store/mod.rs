//! ClickHouse: the only place that knows how to reach it and what its tables are called.

pub mod audit;
pub mod cluster;
pub mod erasure;
pub mod login;
pub mod migrate;
pub mod numbers;
pub mod ordinals;
pub mod reader;
pub mod rebuild;
pub mod retries;
pub mod rollups;
pub mod rotation;
pub mod running;
pub mod secret;
pub mod systems;
pub mod targets;
pub mod tokens;
pub mod topic_id;
pub mod topics;
pub mod training;

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use self::cluster::Cluster;
use crate::config;

/// A handle to the ClickHouse database of this installation. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    client: clickhouse::Client,
    url: String,
    database: String,
    cluster: Option<Cluster>,
}

impl Store {
    /// Does not connect yet; see [`Store::wait`]. A configuration with an `https://` address must be resolved.
    pub fn new(config: &config::ClickHouse) -> Self {
        // Validation checks every column's type on both sides and costs nothing that matters beside a query.
        let client = config
            .tls
            .clone()
            .map_or_else(clickhouse::Client::default, encrypted)
            .with_url(&config.url)
            .with_user(&config.user)
            .with_password(config.password.expose())
            .with_database(&config.database);
        let cluster = Cluster::of(config);
        let client = match &cluster {
            None => client,
            Some(cluster) => cluster::SETTINGS
                .into_iter()
                .fold(client, |client, (name, value)| client.with_setting(name, value))
                .with_setting(cluster::QUORUM, cluster.servers().to_string()),
        };
        Self {
            client,
            url: config.url.clone(),
            database: config.database.clone(),
            cluster,
        }
    }

    pub fn client(&self) -> &clickhouse::Client {
        &self.client
    }

    /// For inserts into raw events and rollups, which a cluster spreads over its shards.
    pub fn spreading(&self) -> clickhouse::Client {
        let client = self.client.clone();
        match self.cluster {
            None => client,
            Some(_) => client.with_setting(cluster::QUORUM, cluster::MAJORITY),
        }
    }

    pub fn database(&self) -> &str {
        &self.database
    }

    /// None for a single server.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// `table`, of which every server has its own, such as `system.processes`: of all our servers.
    pub fn of_all_servers(&self, table: &str) -> String {
        self.cluster().map_or(table.to_owned(), |cluster| cluster.all_of(table))
    }

    /// Where the rows of `table` are stored, and what a statement that changes them there says after it.
    pub fn stored(&self, table: &str) -> (String, String) {
        self.cluster()
            .map_or_else(|| (table.to_owned(), String::new()), |cluster| cluster.stored(table))
    }

    /// Waits until the server answers. The error says which address was tried and for how long.
    pub async fn wait(&self, at_most: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let error = match tokio::time::timeout(at_most, self.ping()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error.root_cause().to_string(),
                Err(_) => "no answer".to_owned(),
            };
            if started.elapsed() >= at_most {
                bail!(
                    "ClickHouse at {} did not answer within {} s: {error}",
                    self.url,
                    at_most.as_secs()
                );
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// For what is asked outside our database, which may not be there.
    pub fn server(&self) -> clickhouse::Client {
        self.client.clone().with_database("system")
    }

    /// One round trip, outside any database.
    pub async fn ping(&self) -> anyhow::Result<()> {
        self.server()
            .query("SELECT 1")
            .execute()
            .await
            .with_context(|| format!("ClickHouse at {}", self.url))
    }

    /// Whether an ingest worker has told its progress lately.
    pub async fn has_worker(&self) -> anyhow::Result<bool> {
        let sql = "SELECT count() FROM ingest_progress WHERE updated_at > now64(3) - INTERVAL 10 SECOND";
        Ok(self.client.query(sql).fetch_one::<u64>().await? > 0)
    }

    /// Sends rows, JSON objects of `columns`, as one INSERT into `table`.
    pub async fn insert_rows(
        &self,
        table: &str,
        columns: &str,
        rows: impl IntoIterator<Item = serde_json::Value>,
    ) -> anyhow::Result<()> {
        let mut body = Vec::new();
        for row in rows {
            serde_json::to_writer(&mut body, &row)?;
            body.push(b'\n');
        }
        self.insert_formatted(table, columns, "JSONEachRow", body.into()).await
    }

    /// Sends bytes that are already in `format` as one INSERT into `table`.
    pub async fn insert_formatted(
        &self,
        table: &str,
        columns: &str,
        format: &str,
        body: bytes::Bytes,
    ) -> anyhow::Result<()> {
        let sql = format!("INSERT INTO {table} ({columns}) FORMAT {format}");
        let client = self
            .client
            .clone()
            .with_setting("date_time_input_format", "best_effort");
        let mut insert = client.insert_formatted_with(sql);
        insert.send(body).await?;
        insert.end().await?;
        Ok(())
    }
}

/// Whether ClickHouse said so, before it wrote (`NOT_ENOUGH_SPACE`) or while it did.
pub fn is_disk_full(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}");
    text.contains("NOT_ENOUGH_SPACE") || text.contains("No space left on device")
}

/// A client that speaks TLS, otherwise like the default one of its library.
fn encrypted(tls: native_tls::TlsConnector) -> clickhouse::Client {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_keepalive(Some(Duration::from_secs(60)));
    let mut connector = hyper_tls::HttpsConnector::from((tcp, tls.into()));
    connector.https_only(true);
    // ClickHouse closes what was idle for 3 s.
    let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .pool_idle_timeout(Duration::from_secs(2))
        .build(connector);
    clickhouse::Client::with_http_client(http)
}
