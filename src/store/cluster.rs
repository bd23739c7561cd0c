//! The schema on a cluster of ClickHouse (docs/architecture.md, "On a cluster"): the same migrations and views, with replicated engines, `ON CLUSTER`,
//! and what grows with the events spread over the shards.
//!
//! A sharded table `t` is stored as `t_local` on every server and read and written as `t`, which is `Distributed`. Every other table has
//! all its rows on every server, so that a question joins it where it runs.

use anyhow::{Context, bail};

/// What is sharded, and by what. All rows of a user are on one shard, so that `FINAL` there sees all that it must merge. What holds sets of
/// many users is filled by the views on the shard of the event; the key only places what the reconciler adds.
const SHARDED: [(&str, &str); 7] = [
    ("events", "sipHash64(user)"),
    ("feature_days", "sipHash64(user)"),
    ("day_users", "sipHash64(local_date)"),
    ("hour_users", "sipHash64(local_date)"),
    ("feature_users", "sipHash64(local_date)"),
    ("feature_hours", "sipHash64(local_date)"),
    ("arrivals", "sipHash64(quarter)"),
];

/// The window of a plain table, and that of a replicated one: as many inserts, for a week. Since 25.9 its default is an hour.
const PLAIN_WINDOW: &str = "non_replicated_deduplication_window = 10000";
const REPLICATED_WINDOW: &str =
    "replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800";

/// What every statement of ours is run with. An insert is answered when all shards have it, each on both of its replicas: whoever reads after it
/// sees it, on whichever server, and a server that is lost takes nothing with it that Kafka was told is done. `deny` would refuse the questions
/// that look up one sharded table in another; `global` sends what was looked up.
pub const SETTINGS: [(&str, &str); 4] = [
    ("distributed_foreground_insert", "1"),
    ("insert_quorum", "auto"),
    ("insert_quorum_parallel", "1"),
    ("distributed_product_mode", "global"),
];

/// With so many replicas a majority is all of them, which is what [`SETTINGS`] rest on.
pub const MOST_REPLICAS: u32 = 2;

/// Where statements of the schema are run, as `clickhouse.cluster` and `clickhouse.database` say.
#[derive(Debug, Clone)]
pub struct Cluster {
    name: String,
    database: String,
}

impl Cluster {
    /// None for a single server.
    pub fn of(name: &str, database: &str) -> Option<Self> {
        let (name, database) = (name.to_owned(), database.to_owned());
        (!name.is_empty()).then_some(Self { name, database })
    }

    /// The statements that do on the cluster what `sql`, a statement of the schema, does on one server.
    pub fn render(&self, sql: &str) -> anyhow::Result<Vec<String>> {
        let sql: String = sql
            .lines()
            .filter(|line| !line.starts_with("--"))
            .map(|line| format!("{line}\n"))
            .collect();
        let sql = sql.trim();
        if let Some(rest) = sql.strip_prefix("CREATE TABLE IF NOT EXISTS ") {
            return self.table(rest);
        }
        if let Some(rest) = sql.strip_prefix("CREATE MATERIALIZED VIEW IF NOT EXISTS ") {
            return self.materialized_view(rest);
        }
        if let Some(rest) = sql.strip_prefix("ALTER TABLE ") {
            return self.alteration(rest);
        }
        if let Some(rest) = sql.strip_prefix("CREATE OR REPLACE VIEW ") {
            let (view, rest) = named(rest)?;
            return Ok(vec![format!("CREATE OR REPLACE VIEW {view} {} {rest}", self.on())]);
        }
        if sql.starts_with("INSERT INTO ") {
            return Ok(vec![sql.to_owned()]);
        }
        bail!(
            "no rule how to run on a cluster: {}",
            sql.lines().next().unwrap_or_default()
        )
    }

    /// Where the rows of `table` are stored.
    pub fn local(table: &str) -> String {
        match sharding_key(table) {
            Some(_) => format!("{table}_local"),
            None => table.to_owned(),
        }
    }

    pub fn on(&self) -> String {
        format!("ON CLUSTER '{}'", self.name)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// `table`, which every server has for itself, of all servers.
    pub fn all_of(&self, table: &str) -> String {
        format!("clusterAllReplicas('{}', {table})", self.name)
    }

    fn table(&self, rest: &str) -> anyhow::Result<Vec<String>> {
        let (table, rest) = named(rest)?;
        let (before, engine) = rest
            .split_once("ENGINE = ")
            .with_context(|| format!("table {table} names no engine"))?;
        let end = engine.find(|c: char| !c.is_alphanumeric()).unwrap_or(engine.len());
        let (engine, after) = engine.split_at(end);
        let (arguments, after) = match after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            Some((arguments, after)) => (format!(", {arguments}"), after),
            None => (String::new(), after),
        };
        let (database, key) = (&self.database, sharding_key(table));
        let replica = match key {
            Some(_) => format!("'/clickhouse/{database}/{table}/{{shard}}', '{{replica}}'"),
            // Replicas of one and the same table on all shards.
            None => format!("'/clickhouse/{database}/{table}', '{{shard}}-{{replica}}'"),
        };
        let stored = Self::local(table);
        let after = after.replace(PLAIN_WINDOW, REPLICATED_WINDOW);
        let mut statements = vec![format!(
            "CREATE TABLE IF NOT EXISTS {stored} {} {before}ENGINE = Replicated{engine}({replica}{arguments}){after}",
            self.on()
        )];
        if let Some(key) = key {
            statements.push(format!(
                "CREATE TABLE IF NOT EXISTS {table} {} AS {stored} ENGINE = Distributed('{}', '{database}', '{stored}', {key})",
                self.on(),
                self.name
            ));
        }
        Ok(statements)
    }

    /// On each shard it turns the events stored there into rows stored there.
    fn materialized_view(&self, rest: &str) -> anyhow::Result<Vec<String>> {
        let (view, rest) = named(rest)?;
        let target = rest
            .strip_prefix("TO ")
            .with_context(|| format!("view {view} has no target"))?;
        let (target, query) = named(target)?;
        if !query.contains("FROM events\n") && !query.ends_with("FROM events") {
            bail!("view {view} reads another table than events");
        }
        let query = query.replace("FROM events", &format!("FROM {}", Self::local("events")));
        Ok(vec![format!(
            "CREATE MATERIALIZED VIEW IF NOT EXISTS {view} {} TO {} {query}",
            self.on(),
            Self::local(target)
        )])
    }

    /// A column is one of both tables; an index, a TTL and what is made of rows that are there belong to the stored one.
    fn alteration(&self, rest: &str) -> anyhow::Result<Vec<String>> {
        let (table, rest) = named(rest)?;
        let mut statements = vec![format!("ALTER TABLE {} {} {rest}", Self::local(table), self.on())];
        let is_of_columns = ["ADD COLUMN", "MODIFY COLUMN", "DROP COLUMN"]
            .iter()
            .any(|it| rest.starts_with(it));
        if is_of_columns && sharding_key(table).is_some() {
            statements.push(format!("ALTER TABLE {table} {} {rest}", self.on()));
        }
        Ok(statements)
    }
}

fn sharding_key(table: &str) -> Option<&'static str> {
    SHARDED
        .iter()
        .find(|(sharded, _)| *sharded == table)
        .map(|(_, key)| *key)
}

/// The first word, and the rest.
fn named(rest: &str) -> anyhow::Result<(&str, &str)> {
    rest.split_once(char::is_whitespace)
        .with_context(|| format!("{rest}: a statement that ends after a name"))
}
