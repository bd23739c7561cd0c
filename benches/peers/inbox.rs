//! What a peer needs in ClickHouse: the table `inbox`, which it reads from or writes to, and a view that makes rows of `raw_events` from it.
//!
//! Neither peer can do what a worker does to an event. The view comes as near as SQL does: nobody is pseudonymised, an ordinal is read off the user's
//! id, the time zone is written into the view, nothing is validated, and nothing is checked for repeats.

use crate::parts::{Installation, ZONE};

/// The shape of an event; what it lacks is empty, what else it has is ignored.
const DATA: &str = "Tuple(system String, feature String, session String, element String, outcome String, method String, \
    score UInt8, category String, comment String)";

/// The engine reads the topic with as many consumers as there are processors, and closes a block when the worker would. It waits for ten
/// empty polls before it closes one that is not full; short polls keep that wait at the end of the topic from counting much.
pub async fn read_from_kafka(installation: &Installation) -> anyhow::Result<()> {
    let config = &installation.config;
    let inbox = format!(
        "CREATE TABLE inbox (id String, source String, type String, subject String, time String, data {DATA})
        ENGINE = Kafka
        SETTINGS kafka_broker_list = '{brokers}', kafka_topic_list = '{topic}', kafka_group_name = '{group}',
            kafka_format = 'JSONEachRow', input_format_skip_unknown_fields = 1,
            kafka_num_consumers = {consumers}, kafka_thread_per_consumer = 1,
            kafka_max_block_size = {rows}, kafka_poll_max_batch_size = 65536, kafka_poll_timeout_ms = 50",
        brokers = config.kafka.brokers,
        topic = config.kafka.topic,
        group = config.kafka.group_id,
        consumers = consumers(),
        rows = config.ingest.batch_rows,
    );
    let events = "SELECT id, source, type, subject, time, data, _topic AS topic, _partition AS partition, _offset AS offset FROM inbox";
    create(installation, &inbox, events).await
}

/// A connector inserts messages as they are; they are parsed on the way and not stored themselves.
pub async fn take_rows(installation: &Installation) -> anyhow::Result<()> {
    let inbox = "CREATE TABLE inbox (event String, topic String, partition Int32, offset Int64) ENGINE = Null";
    let events = format!(
        "SELECT parsed.id AS id, parsed.source AS source, parsed.type AS type, parsed.subject AS subject, parsed.time AS time,
            parsed.data AS data, topic, partition, offset
        FROM
        (
            SELECT JSONExtract(event, 'Tuple(id String, source String, type String, subject String, time String, data {DATA})') AS parsed,
                topic, partition, offset
            FROM inbox
        )"
    );
    create(installation, inbox, &events).await
}

/// The Kafka engine stops when nothing reads from its table any more.
pub async fn stop_reading(installation: &Installation) -> anyhow::Result<()> {
    let client = installation.store.client();
    client.query("DROP TABLE events_of_inbox SYNC").execute().await?;
    Ok(client.query("DROP TABLE inbox SYNC").execute().await?)
}

/// As many as can run side by side.
pub fn consumers() -> usize {
    std::thread::available_parallelism().map_or(1, |cpus| cpus.get())
}

async fn create(installation: &Installation, inbox: &str, events: &str) -> anyhow::Result<()> {
    let view = format!(
        "CREATE MATERIALIZED VIEW events_of_inbox TO raw_events AS
        WITH parseDateTime64BestEffort(e.time, 3, 'UTC') AS at, toTimeZone(at, '{ZONE}') AS local
        SELECT
            e.data.system AS system,
            multiIf(e.type = 'usage.login.v1', 'login', e.type = 'usage.feature_click.v1', 'feature_click', 'feedback') AS type,
            at AS time,
            toUInt64(substring(e.subject, 3)) AS ordinal,
            e.data.feature AS feature, e.data.session AS session, e.data.element AS element, e.data.outcome AS outcome,
            e.data.method AS method, e.data.score AS score, e.data.category AS category, e.data.comment AS comment,
            e.source AS source,
            sipHash64(e.source, e.id) AS identity,
            '{ZONE}' AS zone, toDate(local) AS local_date, toHour(local) AS local_hour,
            e.topic AS kafka_topic, e.partition AS kafka_partition, e.offset AS kafka_offset,
            now64(3) AS ingested_at
        FROM ({events}) AS e"
    );
    let client = installation.store.client();
    client.query(inbox).execute().await?;
    Ok(client.query(&view).execute().await?)
}
