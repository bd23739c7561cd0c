//! The schema on a cluster of ClickHouse (docs/architecture.md, "On a cluster"): the same migrations and views, with replicated engines, `ON CLUSTER`,
//! and what grows with the events spread over the shards.
//!
//! A sharded table `t` is stored as `t_local` on every server and read and written as `t`, which is `Distributed`. Every other table has
//! all its rows on every server, so that a question joins it where it runs.

use anyhow::{Context, bail};

use crate::config::ClickHouse;

/// What is sharded, and by what. All events of an ordinal are on one shard, so that `FINAL` there sees all that it must merge. The rollups are
/// filled by the views on the shard of the event; the key only places what the reconciler adds.
const SHARDED: [(&str, &str); 9] = [
    ("events", "sipHash64(user)"),
    ("raw_events", "sipHash64(ordinal)"),
    ("feature_days", "sipHash64(user)"),
    ("feature_user_days", "sipHash64(ordinal)"),
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

/// What every statement of ours is run with, beside [`QUORUM`]. What alters a table that all servers hold is answered when all have done it. `deny`
/// would refuse the questions that look up one sharded table in another; `global` sends what was looked up.
pub const SETTINGS: [(&str, &str); 4] = [
    ("distributed_foreground_insert", "1"),
    ("insert_quorum_parallel", "1"),
    ("alter_sync", "2"),
    ("distributed_product_mode", "global"),
];

/// On how many servers the rows of an insert are when it is answered. It must be all that hold the table: whoever reads after it sees them, on
/// whichever server, and a server that is lost takes nothing with it that Kafka was told is done. For a table that all servers hold that is their
/// number, for one of a shard [`MAJORITY`].
pub const QUORUM: &str = "insert_quorum";
/// More than half of the replicas: of at most [`MOST_REPLICAS`], all.
pub const MAJORITY: &str = "auto";
pub const MOST_REPLICAS: u32 = 2;

/// Where statements of the schema are run, as the configuration says.
#[derive(Debug, Clone)]
pub struct Cluster {
    name: String,
    servers: u32,
    database: String,
}

/// `sql`, as it is said to one server or to `cluster`.
pub fn rendered(cluster: Option<&Cluster>, sql: &str) -> anyhow::Result<Vec<String>> {
    cluster.map_or_else(|| Ok(vec![sql.to_owned()]), |cluster| cluster.render(sql))
}

impl Cluster {
    /// None for a single server.
    pub fn of(config: &ClickHouse) -> Option<Self> {
        (!config.cluster.is_empty()).then(|| Self {
            name: config.cluster.clone(),
            servers: config.cluster_servers,
            database: config.database.clone(),
        })
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
        if let Some(rest) = sql.strip_prefix("DROP TABLE IF EXISTS ") {
            let (table, settings) = rest.split_once(' ').unwrap_or((rest, ""));
            let stored = Self::local(table);
            let tables = [table, &stored].into_iter().take(if stored == table { 1 } else { 2 });
            let drop = |table: &str| format!("DROP TABLE IF EXISTS {table} {} {settings}", self.on());
            return Ok(tables.map(|table| drop(table).trim_end().to_owned()).collect());
        }
        if sql.starts_with("DROP VIEW IF EXISTS ") {
            return Ok(vec![format!("{sql} {}", self.on())]);
        }
        if sql.starts_with("INSERT INTO ") {
            return Ok(vec![sql.to_owned()]);
        }
        bail!(
            "no rule how to run on a cluster: {}",
            sql.lines().next().unwrap_or_default()
        )
    }

    /// Where the rows of `table` are stored, and what a statement that changes them says after it: what changes one server's copy of a table
    /// that all have is replicated as it is.
    pub fn stored(&self, table: &str) -> (String, String) {
        match sharding_key(table) {
            Some(_) => (Self::local(table), self.on()),
            None => (table.to_owned(), String::new()),
        }
    }

    pub fn on(&self) -> String {
        format!("ON CLUSTER '{}'", self.name)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many there are, as the configuration says.
    pub fn servers(&self) -> u32 {
        self.servers
    }

    /// `table`, which every server has for itself, of all servers.
    pub fn all_of(&self, table: &str) -> String {
        format!("clusterAllReplicas('{}', {table})", self.name)
    }

    fn local(table: &str) -> String {
        match sharding_key(table) {
            Some(_) => format!("{table}_local"),
            None => table.to_owned(),
        }
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
        let raw = query.lines().find_map(|line| line.strip_prefix("FROM "));
        let raw = raw.filter(|table| sharding_key(table).is_some());
        let raw = raw.with_context(|| format!("view {view} does not read raw events"))?;
        let query = query.replace(&format!("FROM {raw}"), &format!("FROM {}", Self::local(raw)));
        Ok(vec![format!(
            "CREATE MATERIALIZED VIEW IF NOT EXISTS {view} {} TO {} {query}",
            self.on(),
            Self::local(target)
        )])
    }

    /// A column is one of both tables; an index, a TTL and what is made of rows that are there belong to the stored one.
    fn alteration(&self, rest: &str) -> anyhow::Result<Vec<String>> {
        let (table, rest) = named(rest)?;
        if sharding_key(table).is_none() {
            return Ok(vec![format!("ALTER TABLE {table} {rest}")]);
        }
        let alter = |table: &str| format!("ALTER TABLE {table} {} {rest}", self.on());
        let mut statements = vec![alter(&Self::local(table))];
        if ["ADD COLUMN", "MODIFY COLUMN", "DROP COLUMN"]
            .iter()
            .any(|it| rest.starts_with(it))
        {
            statements.push(alter(table));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> Cluster {
        let [name, database] = ["main", "uptake"].map(str::to_owned);
        let servers = 4;
        Cluster {
            name,
            servers,
            database,
        }
    }

    fn rendered(sql: &str) -> Vec<String> {
        cluster().render(sql).unwrap()
    }

    #[test]
    fn a_sharded_table_is_stored_on_each_shard_and_read_as_one() {
        let sql = "-- Comment.\nCREATE TABLE IF NOT EXISTS events\n(\n    user UInt8\n)\nENGINE = ReplacingMergeTree(version)\nORDER BY user\n\
                   SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1";
        assert_eq!(
            rendered(sql),
            [
                "CREATE TABLE IF NOT EXISTS events_local ON CLUSTER 'main' (\n    user UInt8\n)\n\
                 ENGINE = ReplicatedReplacingMergeTree('/clickhouse/uptake/events/{shard}', '{replica}', version)\nORDER BY user\n\
                 SETTINGS replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800, fsync_after_insert = 1",
                "CREATE TABLE IF NOT EXISTS events ON CLUSTER 'main' AS events_local \
                 ENGINE = Distributed('main', 'uptake', 'events_local', sipHash64(user))",
            ]
        );
    }

    #[test]
    fn any_other_table_is_whole_on_every_server() {
        let sql = "CREATE TABLE IF NOT EXISTS roster (user UInt8) ENGINE = MergeTree ORDER BY user";
        let expected = "CREATE TABLE IF NOT EXISTS roster ON CLUSTER 'main' (user UInt8) \
                        ENGINE = ReplicatedMergeTree('/clickhouse/uptake/roster', '{shard}-{replica}') ORDER BY user";
        assert_eq!(rendered(sql), [expected]);
        let sql = "ALTER TABLE roster ADD COLUMN erased Bool";
        assert_eq!(rendered(sql), ["ALTER TABLE roster ADD COLUMN erased Bool"]);
    }

    #[test]
    fn a_materialized_view_stays_on_its_shard() {
        let sql = "CREATE MATERIALIZED VIEW IF NOT EXISTS v TO day_users AS\nSELECT user\nFROM events\nGROUP BY user";
        let expected = "CREATE MATERIALIZED VIEW IF NOT EXISTS v ON CLUSTER 'main' TO day_users_local AS\nSELECT user\n\
                        FROM events_local\nGROUP BY user";
        assert_eq!(rendered(sql), [expected]);
    }

    #[test]
    fn a_column_is_added_to_what_is_stored_and_to_what_is_read_and_an_index_to_the_former() {
        assert_eq!(
            rendered("ALTER TABLE events ADD COLUMN x UInt8"),
            [
                "ALTER TABLE events_local ON CLUSTER 'main' ADD COLUMN x UInt8",
                "ALTER TABLE events ON CLUSTER 'main' ADD COLUMN x UInt8",
            ]
        );
        assert_eq!(rendered("ALTER TABLE events ADD INDEX i x TYPE minmax").len(), 1);
    }

    #[test]
    fn what_is_read_as_one_and_what_is_stored_go_together() {
        assert_eq!(
            rendered("DROP TABLE IF EXISTS feature_days"),
            [
                "DROP TABLE IF EXISTS feature_days ON CLUSTER 'main'",
                "DROP TABLE IF EXISTS feature_days_local ON CLUSTER 'main'",
            ]
        );
        assert_eq!(
            rendered("DROP TABLE IF EXISTS roster SETTINGS max_table_size_to_drop = 0"),
            ["DROP TABLE IF EXISTS roster ON CLUSTER 'main' SETTINGS max_table_size_to_drop = 0"]
        );
        assert_eq!(
            rendered("DROP VIEW IF EXISTS feature_days_of_events"),
            ["DROP VIEW IF EXISTS feature_days_of_events ON CLUSTER 'main'"]
        );
    }

    #[test]
    fn a_statement_without_a_rule_is_refused() {
        let error = cluster().render("RENAME TABLE events TO others").unwrap_err();
        assert!(error.to_string().contains("RENAME TABLE events"), "{error}");
    }
}
