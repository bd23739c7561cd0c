//! The reader of the embedded engine: every number, and nothing else.

use std::collections::BTreeSet;

use reqwest::Response;
use uptake::config::{Config, Secret};
use uptake::store::numbers::Numbers;
use uptake::store::{Store, migrate};

use crate::common::{config, unique};
use crate::engine::Engine;

const OWNER: (&str, &str) = ("default", "the owner's password");
const READER: (&str, &str) = ("grafana", "the reader's password");

/// An engine of its own with a migrated database, one row in the roster, and a reader.
struct Installation {
    engine: Engine,
    config: Config,
}

async fn installation() -> Installation {
    let database = format!("test_{}", unique());
    let engine = Engine::start(&[
        ("UPTAKE__CLICKHOUSE__DATABASE", &database),
        ("UPTAKE__CLICKHOUSE__PASSWORD", OWNER.1),
        ("UPTAKE__CLICKHOUSE__READER__USER", READER.0),
        ("UPTAKE__CLICKHOUSE__READER__PASSWORD", READER.1),
    ]);
    let mut config = config();
    config.clickhouse.url = engine.url.clone();
    config.clickhouse.database = database;
    config.clickhouse.password = Secret::new(OWNER.1);
    migrate::migrate(&Store::new(&config.clickhouse), &config)
        .await
        .unwrap();
    let installation = Installation { engine, config };
    let row = "INSERT INTO roster (system, version, user, ordinal, kind, unit) SELECT 'erp', 1, 'sixteen letters.', 7, 'person', 'Sales'";
    assert_eq!(installation.ask(OWNER, &[], row).await.status(), 200);
    installation
}

impl Installation {
    async fn ask(&self, who: (&str, &str), parameters: &[(&str, &str)], sql: &str) -> Response {
        let database = [("database", self.config.clickhouse.database.as_str())];
        let given = parameters.iter().any(|(name, _)| *name == "database");
        let all = database.iter().filter(|_| !given).chain(parameters);
        let url = reqwest::Url::parse_with_params(&self.engine.url, all).unwrap();
        let request = reqwest::Client::new().post(url).body(sql.to_owned());
        let request = request
            .header("X-ClickHouse-User", who.0)
            .header("X-ClickHouse-Key", who.1);
        request.send().await.unwrap()
    }

    async fn refused(&self, parameters: &[(&str, &str)], sql: &str, codes: &[&str]) {
        let answer = self.ask(READER, parameters, sql).await;
        let code = answer.headers().get("X-ClickHouse-Exception-Code").cloned();
        let body = answer.text().await.unwrap();
        let code = code.unwrap_or_else(|| panic!("{sql} {parameters:?} was answered: {body}"));
        assert!(codes.contains(&code.to_str().unwrap()), "{sql} {parameters:?}: {body}");
        assert!(!body.contains("sixteen letters"), "{sql}: {body}");
    }

    async fn answered(&self, parameters: &[(&str, &str)], sql: &str) -> String {
        let answer = self.ask(READER, parameters, sql).await;
        let status = answer.status();
        let body = answer.text().await.unwrap();
        assert_eq!(status, 200, "{sql}: {body}");
        body
    }
}

/// Values for the parameters of the views.
fn argument(name: &str) -> &'static str {
    match name {
        "from" | "month" => "'2026-10-01'",
        "to" | "until" | "on" | "through" => "'2026-11-01'",
        "days" => "30",
        "within_s" => "3600",
        "steps" => "['a', 'b']",
        _ => "'x'",
    }
}

#[tokio::test]
async fn the_reader_reads_every_number() {
    let installation = installation().await;
    let database = &installation.config.clickhouse.database;
    let mut count = 0;
    for (name, text) in Numbers::new(10).unwrap().views() {
        let parameters: BTreeSet<_> = text
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split_once(':'))
            .map(|(name, _)| format!("{name} = {}", argument(name)))
            .collect();
        let parameters = parameters.into_iter().collect::<Vec<_>>().join(", ");
        let parameters = match parameters.is_empty() {
            true => String::new(),
            false => format!("({parameters})"),
        };
        let plain = format!("SELECT * FROM {name}{parameters}");
        let named = format!("SELECT count() AS n FROM {database}.{name}{parameters} FORMAT JSON");
        assert!(!installation.answered(&[], &named).await.is_empty());
        installation.answered(&[("default_format", "Native")], &plain).await;
        count += 1;
    }
    assert!(count >= 20, "{count}");
}

#[tokio::test]
async fn the_reader_asks_as_dashboards_do() {
    let installation = installation().await;
    let adoption = "adoption(system = 'erp', from = '2026-10-01', to = '2026-11-01', by = 'unit', measure = 'active', grain = 'day')";
    let grafana = [
        ("max_execution_time", "60"),
        ("default_format", "Native"),
        ("compress", "1"),
    ];
    for sql in [
        "SELECT 1".to_owned(),
        "/* Grafana */ SELECT displayName(), version(), revision(), timezone()".to_owned(),
        "SHOW DATABASES".to_owned(),
        "SHOW TABLES".to_owned(),
        format!("SHOW TABLES FROM `{}`", installation.config.clickhouse.database),
        format!(
            "WITH a AS (SELECT * FROM {adoption}) SELECT toDateTime(period_from) AS time, group_name, rate, sum(active) OVER (ORDER BY time) AS seen \
            FROM a WHERE is_total = 0 AND group_name IN ('Sales', 'HR') ORDER BY time LIMIT 1000"
        ),
        format!(
            "SELECT arrayJoin(arrayMap(x -> x + 1, [1, 2])) AS n, quantile(0.5)(rate), sumIf(active, NOT is_total), countIf(suppressed) \
            FROM {adoption} AS a LEFT JOIN {adoption} AS b USING (period_from) GROUP BY n HAVING n > 1 UNION ALL SELECT 1, NULL, NULL, 0"
        ),
        format!(
            "SELECT if(suppressed, 'n < 10', toString(active)) AS shown, * EXCEPT (active) FROM {adoption} WHERE period_from IN (SELECT toDate('2026-10-01'))"
        ),
    ] {
        installation.answered(&grafana, &sql).await;
    }
}

#[tokio::test]
async fn whatever_would_read_more_than_numbers_is_denied() {
    let installation = installation().await;
    let database = &installation.config.clickhouse.database;
    let own = |sql: &str| sql.replace("DB", database);
    for sql in [
        "SELECT * FROM roster",
        "SELECT * FROM DB.roster",
        "SELECT * FROM `roster`",
        "SELECT * FROM \"DB\".\"roster\"",
        "FROM roster SELECT user",
        "(SELECT user FROM roster)",
        "SELECT (SELECT any(user) FROM roster)",
        "SELECT 1 UNION ALL SELECT ordinal FROM roster",
        "SELECT 1 EXCEPT SELECT ordinal FROM roster",
        "WITH r AS (SELECT * FROM roster) SELECT user FROM r",
        "WITH roster AS (SELECT 1 AS user) SELECT (SELECT any(user) FROM roster), (WITH x AS (SELECT 1) SELECT any(unit) FROM DB.roster)",
        "SELECT * FROM numbers(1) AS n JOIN roster AS r ON n.number < r.ordinal",
        "SELECT 7 IN (SELECT ordinal FROM roster)",
        "SELECT name IN retries_view FROM (SELECT 'x' AS name) WHERE 'x' NOT IN (SELECT unit FROM roster)",
        "SELECT tuple('erp', toUInt64(1)) IN rows_of_one_column FROM (SELECT 1) WHERE 1 IN (SELECT ordinal FROM DB.roster)",
        "SELECT count() FROM (SELECT 1) HAVING count() > (SELECT count() FROM roster)",
        "SELECT 1 ORDER BY (SELECT count() FROM roster)",
        "SELECT 1 LIMIT (SELECT count() FROM roster)",
        "SELECT sum(1) OVER (ROWS BETWEEN (SELECT count() FROM roster) PRECEDING AND CURRENT ROW)",
        "SELECT quantile(0.5)(ordinal) FROM roster",
        "SELECT * REPLACE ((SELECT count() FROM roster) AS number) FROM numbers(1)",
        "SELECT * APPLY(x -> (SELECT count() FROM roster)) FROM numbers(1)",
        "SELECT * FROM lifecycle(system = (SELECT any(unit) FROM roster), by = '', on = '2026-10-01')",
        "SELECT * FROM merge('DB', 'ros.*')",
        "SELECT * FROM remote('127.0.0.1', DB, roster)",
        "SELECT * FROM cluster('default', DB, roster)",
        "SELECT * FROM view(SELECT * FROM roster)",
        "SELECT * FROM viewIfPermitted(SELECT * FROM roster ELSE null('x String'))",
        "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')",
        "SELECT * FROM file('/etc/passwd', 'LineAsString', 'a String')",
        "SELECT file('/etc/passwd')",
        "SELECT * FROM mergeTreeIndex('DB', 'roster')",
        "SELECT * FROM input('a String')",
        "SELECT * FROM executable('sh', 'TSV', 'a String')",
        "SELECT dictGet('d', 'a', 1)",
        "SELECT joinGet('DB.roster', 'user', 1)",
        "SELECT hasColumnInTable('DB', 'roster', 'user')",
        "SELECT getSetting('readonly')",
        "SELECT sleep(3)",
        "SELECT arrayReduce('count', [1])",
        "SELECT * FROM system.tables",
        "SELECT * FROM system.processes",
        "SELECT * FROM system.one",
        "SELECT * FROM information_schema.tables",
        "SELECT 1 INTO OUTFILE '/tmp/x'",
        "SELECT 1 inTo/**/ outFile '/tmp/x' FORMAT CSV",
        "SHOW CREATE TABLE roster",
        "SHOW TABLES WHERE name IN (SELECT unit FROM roster)",
        "SHOW COLUMNS FROM roster",
        "SHOW PROCESSLIST",
        "DESCRIBE TABLE roster",
        "DESCRIBE (SELECT * FROM roster)",
        "EXISTS TABLE roster",
        "EXPLAIN SELECT * FROM roster",
        "EXPLAIN ESTIMATE SELECT * FROM roster",
        "CHECK TABLE roster",
        "INSERT INTO roster (unit) VALUES ('x')",
        "INSERT INTO roster (unit) SELECT 'x'",
        "INSERT INTO FUNCTION url('http://127.0.0.1:1/', 'CSV', 'a String') SELECT 'x'",
        "DROP TABLE roster",
        "TRUNCATE TABLE roster",
        "ALTER TABLE roster DELETE WHERE 1",
        "CREATE TABLE x (a UInt8) ENGINE = Memory",
        "CREATE TEMPORARY TABLE x (a UInt8)",
        "CREATE OR REPLACE VIEW adoption AS SELECT * FROM roster",
        "CREATE FUNCTION f AS x -> x",
        "SET readonly = 0",
        "USE system",
        "KILL QUERY WHERE 1",
        "OPTIMIZE TABLE roster",
        "SYSTEM FLUSH LOGS",
        "BACKUP TABLE roster TO File('x')",
        "GRANT ALL ON *.* TO grafana",
    ] {
        installation.refused(&[], &own(sql), &["497"]).await;
    }
    // What names a table where a column may stand. Beside a table of one column it would be read.
    installation
        .ask(
            OWNER,
            &[],
            "CREATE TABLE one_column ENGINE = Memory AS SELECT 'secret' AS a",
        )
        .await;
    for sql in [
        "SELECT 'secret' IN one_column",
        "SELECT 'secret' IN (one_column)",
        "SELECT 'secret' NOT IN DB.one_column",
        "SELECT in('secret', `one_column`)",
        "SELECT 'secret' GLOBAL IN one_column",
        "SELECT nullIn('secret', one_column)",
        "SELECT 1 WHERE 'x' IN system.databases",
    ] {
        installation.refused(&[], &own(sql), &["497"]).await;
    }
    // They are refused for what they are: the owner may ask them.
    for sql in [
        "SELECT 'secret' IN one_column",
        "SELECT count() FROM roster",
        "SELECT * FROM merge('DB', 'ros.*')",
    ] {
        let answer = installation.ask(OWNER, &[], &own(sql)).await;
        assert_eq!(answer.status(), 200, "{sql}: {}", answer.text().await.unwrap());
    }
}

#[tokio::test]
async fn parameters_of_the_request_lift_nothing() {
    let installation = installation().await;
    let one = "SELECT 1";
    for (name, value) in [
        ("readonly", "0"),
        ("max_memory_usage", "0"),
        ("max_result_rows", "0"),
        ("dialect", "prql"),
        ("allow_ddl", "1"),
        ("additional_table_filters", "{'roster': '1'}"),
        ("output_format_schema", "/tmp/x"),
        ("format_template_row", "/etc/passwd"),
    ] {
        installation.refused(&[(name, value)], one, &["164"]).await;
    }
    // The engine knows it as a change, the interface as a kind of node.
    for sql in [
        "SELECT 1 SETTINGS max_execution_time = 0",
        "SELECT 1 FORMAT JSON SETTINGS max_execution_time = 0",
        "SELECT 1 SETTINGS log_comment = 'x'",
    ] {
        installation.refused(&[], sql, &["164", "497"]).await;
    }
    installation
        .refused(&[("param_t", "roster")], "SELECT * FROM {t:Identifier}", &["497"])
        .await;
    installation
        .refused(&[("query", "SELECT * FROM")], "roster", &["497"])
        .await;
    installation
        .refused(&[("database", "system")], "SELECT * FROM one", &["497"])
        .await;
    // Two statements are none.
    for sql in ["SELECT 1; SELECT * FROM roster", "SELECT 1;\nDROP TABLE roster"] {
        installation.refused(&[], sql, &["497"]).await;
    }
    installation.answered(&[], "SELECT 1;\n").await;
    let rows = installation.ask(OWNER, &[], "SELECT count() FROM roster").await;
    assert_eq!(rows.text().await.unwrap(), "1\n");
    let wrong = installation.ask((READER.0, OWNER.1), &[], one).await;
    assert_eq!(wrong.headers()["X-ClickHouse-Exception-Code"], "516");
}
