//! A row as ClickHouse reads it.

use uptake::event::{Body, Event};
use uptake::ingest::envelope::Position;
use uptake::ingest::row;
use uptake::ingest::users::Users;
use uptake::ingest::zones::Zones;
use uptake::pseudonym::Pseudonymizer;

/// The row of an event must say what the event says.
pub fn check(event: &Event<'_>) {
    let users = &mut Users::new(Pseudonymizer::new(b"key"), 5);
    let user = users.of(&event.subject);
    let position = Position {
        partition: 7,
        offset: 11,
    };
    let mut bytes = Vec::new();
    let zones = Zones::default();
    row::encode(&mut bytes, event, &user, zones.of(&event.system), "topic", position, 13);

    let mut row = Reader(&bytes);
    assert_eq!(u64::from_le_bytes(row.take()), user.ordinal);
    let [kind, outcome, score] = row.take();
    let system = row.text();
    let time_ms = i64::from_le_bytes(row.take());
    assert_eq!(row.take(), user.pseudonym.0);
    let texts: [&str; 6] = std::array::from_fn(|_| row.text());
    let source = row.text();
    let identity = u128::from_be_bytes(row.take());
    assert_eq!(row.text(), "", "zone");
    let day = u16::from_le_bytes(row.take());
    let [hour] = row.take();
    assert_eq!(
        (row.text(), row.take(), row.take(), row.take()),
        ("topic", 7u16.to_le_bytes(), 11u64.to_le_bytes(), 13i64.to_le_bytes())
    );
    assert!(row.0.is_empty(), "{} bytes too many", row.0.len());

    assert_eq!(
        (system, source, identity),
        (&*event.system, &*event.source, event.identity.0)
    );
    assert_eq!(time_ms, event.time_ms);
    assert_eq!(
        i64::from(day) * 24 + i64::from(hour),
        event.time_ms.div_euclid(3_600_000)
    );
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

/// RowBinary.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.0.split_first_chunk().expect("the row goes on");
        self.0 = rest;
        *head
    }

    fn text(&mut self) -> &'b str {
        let mut length = 0;
        for shift in (0..).step_by(7) {
            let [byte] = self.take();
            length |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        std::str::from_utf8(text).expect("UTF-8")
    }
}
