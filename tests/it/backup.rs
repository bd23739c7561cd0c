//! Backup and restore as docs/operations.md tells them: whatever was lost is counted again, and once.

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::common;
use crate::harness::Fixture;
use crate::ingest::{Worker, assert_counted_once, eventually_committed, produce_clicks};

/// What `kafka-consumer-groups.sh --reset-offsets --execute` does: it commits older offsets for a group without members.
fn reset_offsets(fixture: &Fixture) {
    let kafka = &fixture.config.kafka;
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.brokers)
        .set("group.id", &kafka.group_id)
        .create()
        .unwrap();
    let mut offsets = TopicPartitionList::new();
    for partition in 0..kafka.partitions {
        let beginning = Offset::Offset(0);
        offsets
            .add_partition_offset(&kafka.topic, partition, beginning)
            .unwrap();
    }
    consumer.commit(&offsets, CommitMode::Sync).unwrap();
}

async fn execute(fixture: &Fixture, sql: &str) {
    let client = fixture.store.client().clone().with_database("system");
    client.query(sql).execute().await.expect(sql);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_after_a_backup_is_read_again_from_kafka_and_counted_once() {
    let fixture = Fixture::new().await;
    let database = &fixture.config.clickhouse.database;
    let backup = format!("File('{}')", common::unique());
    let mut worker = Worker::start(&fixture);
    produce_clicks(&fixture, 0..60).await;
    eventually_committed(&fixture, 60).await;
    execute(&fixture, &format!("BACKUP DATABASE {database} TO {backup}")).await;
    produce_clicks(&fixture, 60..100).await;
    eventually_committed(&fixture, 100).await;
    worker.stop();
    let users = "SELECT toUInt64(groupBitmapMerge(users)) FROM day_users";
    let before = fixture.number(users).await;

    execute(&fixture, &format!("DROP DATABASE {database} SYNC")).await;
    execute(&fixture, &format!("RESTORE DATABASE {database} FROM {backup}")).await;
    assert_counted_once(&fixture, 60).await;
    reset_offsets(&fixture);
    let _worker = Worker::start(&fixture);
    eventually_committed(&fixture, 100).await;
    assert_counted_once(&fixture, 100).await;
    assert_eq!(fixture.number(users).await, before);
}
