//! What the worker sends is what ClickHouse stores, whatever the number of different texts.

use std::borrow::Cow;

use uptake::event::{Body, Event, Identity};
use uptake::ingest::envelope::Position;
use uptake::ingest::rows::{Common, Room, Rows, columns};
use uptake::ingest::zones::Zones;

use crate::harness::Fixture;

const TIME_MS: i64 = 1_790_000_000_123;

fn click(number: usize, texts: usize) -> Event<'static> {
    Event {
        identity: Identity(number as u64),
        source: Cow::Borrowed("/test"),
        subject: format!("u-{}", number % 7).into(),
        time_ms: TIME_MS + number as i64,
        system: Cow::Borrowed("erp"),
        body: Body::FeatureClick {
            feature: format!("模块.{}{}", number % texts, "x".repeat(number % texts % 200)).into(),
            session: Some(format!("s-{number}").into()),
            element: None,
        },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_arrive_as_they_were_however_many_texts_they_have() {
    let fixture = Fixture::new().await;
    let zones = Zones::default();
    // Numbers of one, two and four bytes; the last of one and the first of two.
    for (batch, texts) in [1, 0x100, 0x101, 0x1_0000, 0x1_0001].into_iter().enumerate() {
        let mut rows = Rows::with_room(Room::default());
        let count = texts + 3;
        for number in 0..count {
            let event = click(number, texts);
            let position = Position {
                partition: 3,
                offset: number as i64,
            };
            rows.push(&event, 0, zones.of("erp"), position);
            rows.set_ordinal(number, 1_000 + number as u64 % 7);
        }
        let common = Common {
            topic: "the topic",
            ingested_ms: batch as i64,
        };
        let body = rows.into_body(&common).concat();
        let columns = columns();
        let sql = format!("INSERT INTO raw_events ({columns}) FORMAT Native");
        let mut insert = fixture.store.client().insert_formatted_with(sql);
        insert.send(body.into()).await.unwrap();
        insert.end().await.unwrap();
        let all = format!("FROM raw_events WHERE ingested_at = fromUnixTimestamp64Milli({batch})");
        assert_eq!(fixture.number(&format!("SELECT count() {all}")).await, count as u64);
        let as_sent = format!(
            "{all} AND type = 'feature_click' AND system = 'erp' AND zone = '' AND source = '/test' AND kafka_topic = 'the topic'
             AND kafka_partition = 3 AND identity = kafka_offset
             AND toUnixTimestamp64Milli(time) = {TIME_MS} + kafka_offset AND session = concat('s-', toString(kafka_offset))
             AND feature = concat('模块.', toString(kafka_offset % {texts}), repeat('x', kafka_offset % {texts} % 200))
             AND ordinal = 1000 + kafka_offset % 7 AND local_date = toDate(time, 'UTC') AND local_hour = toHour(time, 'UTC')
             AND outcome = '' AND score = 0 AND comment = '' AND element = '' AND method = '' AND category = ''"
        );
        assert_eq!(fixture.number(&format!("SELECT count() {as_sent}")).await, count as u64);
    }
}
