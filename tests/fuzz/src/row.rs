//! A row as ClickHouse reads it.

use std::collections::HashMap;

use uptake::event::{Body, Event};
use uptake::ingest::envelope::Position;
use uptake::ingest::rows::{Common, Room, Rows};
use uptake::ingest::zones::Zones;

/// The row of an event must say what the event says.
pub fn check(event: &Event<'_>) {
    let position = Position {
        partition: 7,
        offset: 11,
    };
    let mut rows = Rows::with_room(Room::default());
    rows.push(event, 0, Zones::default().of(&event.system), position);
    rows.set_ordinal(0, 13);
    let common = Common {
        topic: "topic",
        ingested_ms: 17,
    };
    let body = rows.into_body(&common).concat();
    let row = read(&body);

    let number = |name: &str| {
        let mut bytes = [0; 8];
        bytes[..row[name].len()].copy_from_slice(row[name]);
        u64::from_le_bytes(bytes)
    };
    let text = |name: &str| std::str::from_utf8(row[name]).expect("UTF-8");
    assert_eq!(number("ordinal"), 13);
    assert_eq!(
        (text("kafka_topic"), number("kafka_partition"), number("kafka_offset"), number("ingested_at")),
        ("topic", 7, 11, 17)
    );
    assert_eq!((text("system"), text("source")), (&*event.system, &*event.source));
    assert_eq!(number("identity"), event.identity.0);
    assert_eq!(number("time") as i64, event.time_ms);
    let hours = number("local_date") * 24 + number("local_hour");
    assert_eq!((text("zone"), hours as i64), ("", event.time_ms.div_euclid(3_600_000)));
    let [kind, outcome, score] = ["type", "outcome", "score"].map(|name| number(name) as u8);
    let texts = ["feature", "session", "element", "method", "category", "comment"].map(text);
    assert_eq!((kind, outcome, score, texts), columns(&event.body));
}

/// type, outcome, score; feature, session, element, method, category, comment.
fn columns<'e>(body: &'e Body<'_>) -> (u8, u8, u8, [&'e str; 6]) {
    let text = |text: &'e Option<std::borrow::Cow<'_, str>>| text.as_deref().unwrap_or("");
    match body {
        Body::Login {
            success,
            session,
            method,
        } => (
            1,
            if *success { 1 } else { 2 },
            0,
            ["", text(session), "", text(method), "", ""],
        ),
        Body::FeatureClick {
            feature,
            session,
            element,
        } => (2, 0, 0, [feature, text(session), text(element), "", "", ""]),
        Body::Feedback {
            score,
            category,
            feature,
            comment,
        } => (
            3,
            0,
            score.unwrap_or(0),
            [text(feature), "", "", "", text(category), text(comment)],
        ),
    }
}

/// The columns of a block of one row in ClickHouse's Native format.
fn read(block: &[u8]) -> HashMap<&str, &[u8]> {
    let mut block = Reader(block);
    let (columns, rows) = (block.length(), block.length());
    assert_eq!(rows, 1);
    let mut row = HashMap::new();
    for _ in 0..columns {
        let name = std::str::from_utf8(block.text()).expect("UTF-8");
        let value = match block.text() {
            b"String" => block.text(),
            b"LowCardinality(String)" => {
                assert_eq!(block.numbers(), [1, 0x600, 1]);
                let text = block.text();
                assert_eq!((block.numbers(), block.take(1)), ([1], &[0][..]));
                text
            }
            b"UInt64" | b"DateTime64(3, 'UTC')" => block.take(8),
            b"UInt16" | b"Date" => block.take(2),
            _ => block.take(1),
        };
        row.insert(name, value);
    }
    assert!(block.0.is_empty(), "{} bytes too many", block.0.len());
    row
}

struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, length: usize) -> &'b [u8] {
        let (head, rest) = self.0.split_at(length);
        self.0 = rest;
        head
    }

    fn numbers<const N: usize>(&mut self) -> [u64; N] {
        std::array::from_fn(|_| u64::from_le_bytes(self.take(8).try_into().expect("8 bytes")))
    }

    fn length(&mut self) -> usize {
        let mut length = 0;
        for shift in (0..).step_by(7) {
            let byte = self.take(1)[0];
            length |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        length
    }

    fn text(&mut self) -> &'b [u8] {
        let length = self.length();
        self.take(length)
    }
}
