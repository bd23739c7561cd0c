//! What every test stands on: one broker and one engine for the whole run, started by whoever needs them first; for each
//! test its own database and topics.

use std::process::Command;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::OwnedMessage;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::OnceCell;
use uptake::config::{self, Config};
use uptake::embedded::Child;
use uptake::embedded::engine::Engine;
use uptake::embedded::kafka::Kafka;
use uptake::store::{Store, migrate};

use crate::common;
pub use crate::common::{PATIENCE, PROGRAM, config, directory};

/// The shared broker and engine. They die with the process of the tests.
pub struct Parts {
    /// `host:port`
    pub kafka: String,
    /// `http://host:port`
    pub clickhouse: String,
    _children: (Child, Option<Child>),
}

/// Names a ClickHouse of one's own, `http://host:port`, which then takes the engine's place.
const OTHER_CLICKHOUSE: &str = "TEST_CLICKHOUSE";
/// Names a cluster of it, of two servers.
const CLUSTER: &str = "TEST_CLUSTER";

/// The shared parts, started by the first call.
pub async fn parts() -> &'static Parts {
    static PARTS: OnceCell<Parts> = OnceCell::const_new();
    PARTS
        .get_or_init(|| async {
            let dir = directory("parts");
            let mut config = config();
            config.embedded.kafka_port = 0;
            config.embedded.clickhouse_port = 0;
            let clickhouse = async {
                if let Ok(other) = std::env::var(OTHER_CLICKHOUSE) {
                    return (other, None);
                }
                let mut engine = Engine::prepare(PROGRAM.into(), &dir.join("clickhouse"), &config).expect("engine");
                let running = engine.start().await.expect("engine starts");
                (engine.url(), Some(running))
            };
            let kafka = async {
                let kafka = Kafka::prepare(&dir.join("kafka"), &config.embedded)
                    .await
                    .expect("Kafka");
                let broker = kafka.start().await.expect("Kafka starts");
                (kafka.address(), broker)
            };
            let ((address, broker), (url, running)) = tokio::join!(kafka, clickhouse);
            Parts {
                kafka: address,
                clickhouse: url,
                _children: (broker, running),
            }
        })
        .await
}

/// A database and topics of one test.
pub struct Fixture {
    /// Resolved: addresses and secret are set.
    pub config: Config,
    pub store: Store,
    producer: FutureProducer,
}

impl Fixture {
    /// Migrated and empty.
    pub async fn new() -> Self {
        let fixture = Self::bare().await;
        migrate::run(fixture.config.clone()).await.expect("migrations");
        fixture
    }

    /// Not migrated: neither database nor topics exist.
    pub async fn bare() -> Self {
        let parts = parts().await;
        let mut config = config();
        config.data_dir = directory("data");
        common::isolate(&mut config, &parts.kafka, &parts.clickhouse);
        if let Ok(cluster) = std::env::var(CLUSTER) {
            (config.clickhouse.cluster, config.clickhouse.cluster_servers) = (cluster, 2);
        }
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &parts.kafka)
            .set("linger.ms", "5")
            .create()
            .expect("a producer");
        Self {
            store: Store::new(&config.clickhouse),
            config,
            producer,
        }
    }

    /// Sends one message to the topic of events and waits until Kafka has it.
    pub async fn produce(&self, key: &str, payload: impl AsRef<[u8]>) {
        let record = FutureRecord::to(&self.config.kafka.topic)
            .key(key)
            .payload(payload.as_ref());
        self.producer
            .send(record, PATIENCE)
            .await
            .expect("Kafka takes the message");
    }

    /// A single number.
    pub async fn number(&self, sql: &str) -> u64 {
        self.store.client().query(sql).fetch_one::<u64>().await.expect(sql)
    }

    /// Removes the rows of `table` of which `condition` holds, on whichever shard they are.
    pub async fn delete(&self, table: &str, condition: &str) {
        let (stored, on) = self.store.stored(table);
        let sql = format!("DELETE FROM {stored} {on} WHERE {condition} SETTINGS mutations_sync = 2");
        self.store.client().query_raw(&sql).execute().await.expect(&sql);
    }

    /// The program with this fixture's configuration in its environment.
    pub fn program(&self) -> Command {
        common::program(&self.config)
    }
}

/// Asks until the answer is yes. `what` is what one waits for.
pub async fn eventually(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !ask().await {
        assert!(
            started.elapsed() < PATIENCE,
            "{what}: not within {} s",
            PATIENCE.as_secs()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Every message of a topic, partition by partition.
pub fn messages(kafka: &config::Kafka, topic: &str) -> Vec<OwnedMessage> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.brokers)
        .set("group.id", "messages")
        .create()
        .expect("a consumer");
    let mut messages = Vec::new();
    for partition in 0..kafka.partitions {
        // The partitions of a new topic have no leader yet.
        let (_, end) = (0..100)
            .find_map(|_| match consumer.fetch_watermarks(topic, partition, PATIENCE) {
                Ok(watermarks) => Some(watermarks),
                Err(_) => {
                    std::thread::sleep(PATIENCE / 600);
                    None
                }
            })
            .expect("the end of a partition");
        let mut assignment = TopicPartitionList::new();
        assignment
            .add_partition_offset(topic, partition, Offset::Beginning)
            .expect("an offset");
        consumer.assign(&assignment).expect("an assignment");
        // A poll may also return because of the new assignment.
        let polled = (0..100 + end).filter_map(|_| consumer.poll(PATIENCE / 100));
        messages.extend(
            polled
                .take(end as usize)
                .map(|message| message.expect("a message").detach()),
        );
    }
    messages
}
