//! What is said to a cluster. The engine here has no replicas, so what can be asked of it is whether it understands every statement; `make check-cluster`
//! runs the other tests on two shards.

use uptake::store::cluster::{QUORUM, SETTINGS};
use uptake::store::{Store, migrate};

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
async fn a_database_of_one_server_is_not_taken_for_one_of_a_cluster() {
    let fixture = Fixture::new().await;
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

#[tokio::test]
async fn an_insert_waits_for_all_servers_that_hold_the_table() {
    let mut config = Fixture::new().await.config.clickhouse;
    (config.cluster, config.cluster_servers) = ("main".to_owned(), 4);
    let store = Store::new(&config);
    let effective = async |client: &clickhouse::Client, name: &str| {
        let question = client.query("SELECT value FROM system.settings WHERE name = ?");
        question.bind(name).fetch_one::<String>().await.unwrap()
    };
    for (name, value) in SETTINGS {
        assert_eq!(effective(store.client(), name).await, value);
        assert_eq!(effective(&store.spreading(), name).await, value);
    }
    assert_eq!(effective(store.client(), QUORUM).await, "4");
    assert_eq!(effective(&store.spreading(), QUORUM).await, "auto");
}
