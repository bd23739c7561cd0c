//! The schema: numbered, immutable tables; number views that are replaced when their text changes; retention by TTL.
//!
//! What is applied is remembered in `schema_migrations` by name and checksum of the text. Applying is idempotent, and two
//! `migrate` at once do no harm: every statement says `IF NOT EXISTS` or `OR REPLACE`.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, bail};
use include_dir::{Dir, include_dir};
use xxhash_rust::xxh3::xxh3_64;

use super::Store;
use crate::config::{Config, Retention};
use crate::store::cluster::{Cluster, rendered};
use crate::store::numbers::Numbers;
use crate::store::{reader, topics};

static SCHEMA: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/schemas/clickhouse");

const CREATE_MIGRATIONS: &str = "CREATE TABLE IF NOT EXISTS schema_migrations \
    (name String, checksum UInt64, applied_at DateTime64(3, 'UTC')) ENGINE = MergeTree ORDER BY (name, applied_at)";

/// One thing to apply: a table (immutable), or a text that may be replaced.
struct Step {
    name: String,
    sql: Vec<String>,
    checksum: u64,
    immutable: bool,
}

impl Step {
    fn new(name: impl Into<String>, sql: Vec<String>, immutable: bool) -> Self {
        let checksum = xxh3_64(sql.join(";\n").as_bytes());
        Self {
            name: name.into(),
            sql,
            checksum,
            immutable,
        }
    }
}

/// `uptake migrate`: topics and schema.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let wait = Duration::from_millis(config.clickhouse.connect_timeout_ms);
    let store = Store::new(&config.clickhouse);
    store.wait(wait).await?;
    let applied = migrate(&store, &config).await?;
    reader::create(&store, &config.clickhouse).await?;
    let created = topics::create(&config.kafka, &config.retention).await?;
    tracing::info!(applied, topics = created.join(", "), "schema and topics are up to date");
    Ok(())
}

/// Every statement that makes the schema, in order.
pub fn statements(config: &Config) -> anyhow::Result<Vec<String>> {
    Ok(steps(config)?.into_iter().flat_map(|step| step.sql).collect())
}

/// Applies what is missing and returns how many steps that were.
pub async fn migrate(store: &Store, config: &Config) -> anyhow::Result<usize> {
    let cluster = store.cluster();
    let on_cluster = cluster.map(Cluster::on).unwrap_or_default();
    store
        .server()
        .query(&format!("CREATE DATABASE IF NOT EXISTS ? {on_cluster}"))
        .bind(clickhouse::sql::Identifier(store.database()))
        .execute()
        .await?;
    for sql in rendered(cluster, CREATE_MIGRATIONS)? {
        execute(store, &sql).await?;
    }
    let applied = applied(store).await?;
    let mut count = 0;
    for step in steps(config)? {
        match applied.get(&step.name) {
            Some(&checksum) if checksum == step.checksum => continue,
            Some(_) if step.immutable => {
                bail!(
                    "migration {} was changed after it was applied, or clickhouse.cluster was; add a new migration, or take a new database",
                    step.name
                )
            }
            _ => {}
        }
        for sql in &step.sql {
            execute(store, sql)
                .await
                .with_context(|| format!("migration {}", step.name))?;
        }
        let insert = "INSERT INTO schema_migrations VALUES (?, ?, now64(3))";
        store
            .client()
            .query(insert)
            .bind(&step.name)
            .bind(step.checksum)
            .execute()
            .await?;
        count += 1;
    }
    Ok(count)
}

/// Refuses a schema that is older or newer than this program.
pub async fn check(store: &Store, config: &Config) -> anyhow::Result<()> {
    let applied = applied(store)
        .await
        .context("the schema cannot be read; has `uptake migrate` been run on this database?")?;
    let steps = steps(config)?;
    for step in &steps {
        if applied.get(&step.name) != Some(&step.checksum) {
            bail!(
                "the schema in database {} is not this program's ({} differs): run `uptake migrate`",
                store.database(),
                step.name
            );
        }
    }
    let known = |name: &str| steps.iter().any(|step| step.name == name);
    if let Some(newer) = applied
        .keys()
        .find(|name| !name.starts_with("numbers/") && !known(name))
    {
        bail!(
            "the schema in database {} is newer than this program: it has {newer}",
            store.database()
        );
    }
    Ok(())
}

async fn applied(store: &Store) -> anyhow::Result<HashMap<String, u64>> {
    let sql = "SELECT name, argMax(checksum, applied_at) FROM schema_migrations GROUP BY name";
    Ok(store
        .client()
        .query(sql)
        .fetch_all::<(String, u64)>()
        .await?
        .into_iter()
        .collect())
}

/// Sends a statement as it stands: the `?` and `{…}` in it are ClickHouse's, not placeholders of the client. What it inserts are raw events or rollups.
async fn execute(store: &Store, sql: &str) -> anyhow::Result<()> {
    Ok(store.spreading().query(&sql.replace('?', "??")).execute().await?)
}

fn steps(config: &Config) -> anyhow::Result<Vec<Step>> {
    let cluster = Cluster::of(&config.clickhouse);
    let step = |name: &str, sql: &[String], immutable| {
        let sql = sql.iter().map(|sql| rendered(cluster.as_ref(), sql));
        let sql = sql.collect::<anyhow::Result<Vec<_>>>();
        let sql = sql.with_context(|| format!("migration {name}"))?;
        anyhow::Ok(Step::new(name, sql.concat(), immutable))
    };
    let mut steps = Vec::new();
    for (name, text) in texts(&SCHEMA)? {
        steps.push(step(name, &[text.to_owned()], true)?);
    }
    steps.push(step("retention", &retention(&config.retention), false)?);
    for (name, view) in Numbers::of(config)?.views() {
        steps.push(step(&format!("numbers/{name}"), &[view], false)?);
    }
    Ok(steps)
}

/// The `.sql` files of a folder by name, without their ending.
fn texts(dir: &'static Dir<'_>) -> anyhow::Result<Vec<(&'static str, &'static str)>> {
    let mut texts = Vec::new();
    for file in dir
        .files()
        .filter(|file| file.path().extension().is_some_and(|ending| ending == "sql"))
    {
        let name = file
            .path()
            .file_stem()
            .and_then(|name| name.to_str())
            .context("a migration without a name")?;
        texts.push((name, file.contents_utf8().context("a migration that is not UTF-8")?));
    }
    texts.sort_unstable();
    Ok(texts)
}

/// product.md, Privacy: raw events, per-user rows and aggregates each have their own term.
fn retention(r: &Retention) -> Vec<String> {
    let ttl = |table: &str, until: String| {
        format!("ALTER TABLE {table} MODIFY TTL {until} SETTINGS materialize_ttl_after_modify = 0")
    };
    let aggregate = |table: &str, day: &str| ttl(table, format!("{day} + INTERVAL {} MONTH", r.aggregate_months));
    let rollup = |table: &str, months: u32| ttl(table, format!("local_date + INTERVAL {months} MONTH"));
    vec![
        ttl("raw_events", format!("toDate(time) + INTERVAL {} DAY", r.raw_days)),
        ttl("erased_events", format!("toDate(time) + INTERVAL {} DAY", r.raw_days)),
        ttl(
            "rejects",
            format!("toDate(kafka_time) + INTERVAL {} DAY", r.rejects_days),
        ),
        // Kafka deletes whole segments: a reject may stay there for some time after its term.
        ttl(
            "retries",
            format!(
                "toDate(retried_at) + INTERVAL {} DAY",
                r.rejects_days.saturating_add(30)
            ),
        ),
        aggregate("arrivals", "toDate(quarter)"),
        aggregate("target_days", "day"),
        aggregate("target_runs", "day"),
        aggregate("target_acknowledgements", "toDate(at)"),
        aggregate("target_notices", "toDate(made_at)"),
        ttl("audit", format!("toDate(at) + INTERVAL {} MONTH", r.audit_months)),
        rollup("day_users", r.user_months),
        rollup("hour_users", r.user_months),
        rollup("feature_users", r.user_months),
        rollup("feature_user_days", r.user_months),
        rollup("feature_hours", r.aggregate_months),
    ]
}
