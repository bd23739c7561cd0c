//! The broker as a child process.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use uptake::embedded::kafka::Kafka;

use crate::harness::{PATIENCE, config, directory, parts};

#[tokio::test]
async fn a_broker_that_dies_is_noticed_and_its_successor_has_the_data() {
    let mut embedded = config().embedded;
    embedded.kafka_port = 0;
    let dir = directory("kafka");
    let kafka = Kafka::prepare(&dir, &embedded).await.unwrap();
    let mut broker = kafka.start().await.unwrap();
    let admin: AdminClient<_> = ClientConfig::new()
        .set("bootstrap.servers", kafka.address())
        .create()
        .unwrap();
    let topic = NewTopic::new("kept", 2, TopicReplication::Fixed(1));
    admin.create_topics(&[topic], &AdminOptions::new()).await.unwrap()[0]
        .as_ref()
        .unwrap();

    kill(broker.pid());
    let how = tokio::time::timeout(PATIENCE, broker.ended())
        .await
        .expect("the death is noticed");
    assert!(how.contains("signal: 9"), "{how}");

    let successor = kafka.start().await.unwrap();
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka.address())
        .create()
        .unwrap();
    let metadata = client.fetch_metadata(Some("kept"), PATIENCE).unwrap();
    assert_eq!(metadata.topics()[0].partitions().len(), 2);
    successor.stop().await;
    assert!(
        client.fetch_metadata(None, Duration::from_secs(1)).is_err(),
        "a stopped broker still answers"
    );
}

#[tokio::test]
async fn a_topic_that_was_not_created_does_not_come_to_be() {
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &parts().await.kafka)
        .create()
        .unwrap();
    let metadata = client.fetch_metadata(Some("nobody.made.this"), PATIENCE).unwrap();
    assert!(metadata.topics()[0].error().is_some());
}

#[tokio::test]
async fn a_port_in_use_and_missing_jars_are_the_users_mistake_and_say_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut embedded = config().embedded;
    embedded.kafka_port = taken.local_addr().unwrap().port();
    let error = Kafka::prepare(&directory("kafka"), &embedded).await.unwrap_err();
    assert!(
        error.is::<uptake::error::BadInput>() && error.to_string().contains("embedded.kafka_port"),
        "{error:#}"
    );

    embedded.kafka_libs = directory("nothing");
    let error = Kafka::prepare(&directory("kafka"), &embedded).await.unwrap_err();
    assert!(
        error.is::<uptake::error::BadInput>() && error.to_string().contains("make tools"),
        "{error:#}"
    );
}

fn kill(pid: u32) {
    assert!(
        std::process::Command::new("kill")
            .args(["-9", &pid.to_string()])
            .status()
            .unwrap()
            .success()
    );
}

#[tokio::test]
async fn a_topic_that_is_created_anew_has_another_id() {
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &parts().await.kafka)
        .create()
        .unwrap();
    let admin: AdminClient<_> = ClientConfig::new()
        .set("bootstrap.servers", &parts().await.kafka)
        .create()
        .unwrap();
    let name = "made.anew";
    let id = || uptake::store::topic_id::topic_id(client.client(), name, PATIENCE);
    let create = async || {
        let topic = NewTopic::new(name, 1, TopicReplication::Fixed(1));
        admin.create_topics(&[topic], &AdminOptions::new()).await.unwrap()[0].is_ok()
    };
    assert!(id().is_err());
    assert!(create().await);
    // Kafka tells of a new topic a moment later than that it made it.
    crate::harness::eventually("the topic is known", async || id().is_ok()).await;
    let first = id().unwrap();
    assert_eq!(first, id().unwrap());
    admin.delete_topics(&[name], &AdminOptions::new()).await.unwrap();
    crate::harness::eventually("the topic can be created anew", create).await;
    crate::harness::eventually("the topic is another one", async || id().is_ok_and(|id| id != first)).await;
}
