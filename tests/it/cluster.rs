//! The schema of a cluster. The engine here runs no Keeper, so what can be asked of it is whether it understands every statement.

use uptake::store::cluster::SETTINGS;
use uptake::store::migrate;

use crate::harness::Fixture;

#[tokio::test]
async fn every_statement_of_the_schema_of_a_cluster_is_one_that_clickhouse_reads() {
    let fixture = Fixture::bare().await;
    let mut config = fixture.config.clone();
    let single = migrate::statements(&config).unwrap();
    config.clickhouse.cluster = "main".to_owned();
    let statements = migrate::statements(&config).unwrap();
    assert!(statements.len() > single.len());
    for statement in statements {
        assert!(!statement.contains("ENGINE = MergeTree"), "not replicated: {statement}");
        let sql = format!("EXPLAIN AST {}", statement.replace('?', "??"));
        let read = fixture.store.server().query(&sql).fetch_all::<String>().await;
        assert!(read.is_ok_and(|ast| !ast.is_empty()), "not read: {statement}");
    }
}

#[tokio::test]
async fn clickhouse_knows_the_settings_of_a_cluster_and_a_database_of_one_server_is_not_taken_for_one() {
    let fixture = Fixture::new().await;
    for (name, _) in SETTINGS {
        let sql = format!("SELECT count() FROM system.settings WHERE name = '{name}'");
        assert_eq!(fixture.number(&sql).await, 1, "{name}");
    }
    let mut program = fixture.program();
    let output = program
        .args(["doctor"])
        .env("UPTAKE__CLICKHOUSE__CLUSTER", "elsewhere")
        .env("UPTAKE__CLICKHOUSE__CLUSTER_SERVERS", "4")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("WRONG  schema"), "{told}");
}
