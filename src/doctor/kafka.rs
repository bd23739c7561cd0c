//! Kafka as the commands need it: reached, logged in, both topics there, healthy, and readable by the consumer group.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::metadata::{Metadata, MetadataTopic};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::Findings;
use crate::config::{Config, Kafka};
use crate::store::login::Login;
use crate::store::topics;

/// How long a partition is read before its broker counts as willing: a refusal comes with the first answer.
const LOOK: Duration = Duration::from_millis(1_000);
const PAUSE: Duration = Duration::from_millis(200);

pub async fn examine(config: &Config, findings: &mut Findings) {
    let kafka = config.kafka.clone();
    let examined = tokio::task::spawn_blocking(move || {
        let mut findings = Findings::default();
        examine_blocking(&kafka, &mut findings);
        findings
    });
    match examined.await {
        Ok(examined) => findings.0.extend(examined.0),
        Err(error) => findings.not_checked(&["kafka"], &error.to_string()),
    }
}

fn examine_blocking(kafka: &Kafka, findings: &mut Findings) {
    let client = match connect(kafka) {
        Ok(client) => client,
        Err(error) => {
            let mend = "see that a broker listens there, and that kafka.tls and kafka.sasl say how it lets us in";
            findings.note("kafka", mend, Err(error));
            findings.not_checked(&["topics", "permissions"], "Kafka is not reached");
            return;
        }
    };
    let (client, brokers) = client;
    findings.note(
        "kafka",
        "",
        Ok(format!("{} answers, brokers: {brokers}", kafka.brokers)),
    );
    let topics_are_well = findings.note(
        "topics",
        "run `uptake migrate` for a topic that is missing; for the rest use Kafka's own tools (partitions can be added, a lost replica comes \
         back with its broker)",
        examine_topics(kafka, &client),
    );
    if topics_are_well {
        let mend = "let our user describe and read both topics, write kafka.rejected_topic, and read the group";
        findings.note("permissions", mend, examine_permissions(kafka, &client));
    } else {
        findings.not_checked(&["permissions"], "something is wrong with the topics");
    }
}

/// A client that has reached the cluster, and how many brokers that has.
fn connect(kafka: &Kafka) -> anyhow::Result<(BaseConsumer<Login>, usize)> {
    topics::check_access(kafka)?;
    let mut client = topics::client_config(kafka);
    client.set("group.id", &kafka.group_id);
    let client: BaseConsumer<Login> = client.create_with_context(Login).context("configuration: kafka")?;
    // A token is given to a client that is polled.
    drop(client.poll(Duration::ZERO));
    let timeout = Duration::from_millis(kafka.connect_timeout_ms);
    let metadata = client.fetch_metadata(Some(&kafka.topic), timeout);
    let metadata: Metadata = metadata.with_context(|| {
        format!(
            "Kafka at {} did not answer within {} s",
            kafka.brokers,
            timeout.as_secs()
        )
    })?;
    Ok((client, metadata.brokers().len()))
}

fn examine_topics(kafka: &Kafka, client: &BaseConsumer<Login>) -> anyhow::Result<String> {
    let mut told = Vec::new();
    for name in [&kafka.topic, &kafka.rejected_topic] {
        let metadata = client.fetch_metadata(Some(name), Duration::from_millis(kafka.connect_timeout_ms))?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == name);
        told.push(examine_topic(
            kafka,
            topic.with_context(|| format!("Kafka told nothing of topic {name}"))?,
        )?);
    }
    Ok(told.join("; "))
}

fn examine_topic(kafka: &Kafka, topic: &MetadataTopic) -> anyhow::Result<String> {
    let name = topic.name();
    if let Some(error) = topic.error() {
        bail!("topic {name}: {}", RDKafkaErrorCode::from(error));
    }
    let partitions = topic.partitions();
    let replicas = partitions.iter().map(|p| p.replicas().len()).min().unwrap_or_default();
    for partition in partitions {
        let id = partition.id();
        if partition.leader() < 0 {
            bail!("topic {name}, partition {id} has no leader: nothing can be read or written there");
        }
        let (in_sync, all) = (partition.isr().len(), partition.replicas().len());
        if in_sync < all {
            bail!("topic {name}, partition {id}: {in_sync} of {all} replicas are in step");
        }
    }
    if partitions.len() < kafka.partitions as usize || replicas < kafka.replication_factor as usize {
        bail!(
            "topic {name} has {} partitions and {replicas} replicas, expected kafka.partitions = {} and kafka.replication_factor = {}",
            partitions.len(),
            kafka.partitions,
            kafka.replication_factor
        );
    }
    Ok(format!(
        "{name} has {} partitions, replicas {replicas}",
        partitions.len()
    ))
}

/// Reads what ingest reads: the offsets of the group and the end of a partition. What may be written cannot be known without writing.
fn examine_permissions(kafka: &Kafka, client: &BaseConsumer<Login>) -> anyhow::Result<String> {
    let timeout = Duration::from_millis(kafka.connect_timeout_ms);
    let mut partition = TopicPartitionList::new();
    partition.add_partition(&kafka.topic, 0);
    let offsets = committed_offsets(client, &partition, timeout);
    offsets.with_context(|| format!("the offsets of group {} cannot be read", kafka.group_id))?;
    for topic in [&kafka.topic, &kafka.rejected_topic] {
        let mut end = TopicPartitionList::new();
        end.add_partition_offset(topic, 0, Offset::OffsetTail(1))?;
        client.assign(&end)?;
        match client.poll(LOOK) {
            Some(Err(error)) if !is_end(&error) => {
                return Err(error).with_context(|| format!("topic {topic} cannot be read"));
            }
            _ => {}
        }
    }
    Ok(format!(
        "both topics and the offsets of group {} can be read",
        kafka.group_id
    ))
}

/// Asks again while the brokers have not settled who answers for the group, as in the first seconds of a cluster.
fn committed_offsets(
    client: &BaseConsumer<Login>,
    partitions: &TopicPartitionList,
    timeout: Duration,
) -> KafkaResult<TopicPartitionList> {
    use RDKafkaErrorCode::{CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator};
    let passing = [CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator];
    let started = Instant::now();
    loop {
        let answer = client.committed_offsets(partitions.clone(), timeout);
        let code = answer.as_ref().err().and_then(KafkaError::rdkafka_error_code);
        if !code.is_some_and(|code| passing.contains(&code)) || started.elapsed() >= timeout {
            return answer;
        }
        std::thread::sleep(PAUSE);
    }
}

fn is_end(error: &KafkaError) -> bool {
    matches!(error, KafkaError::PartitionEOF(_))
}
