//! Rows of `raw_events` as they are sent: column by column, in ClickHouse's Native format. Texts that repeat are sent once, with a
//! number in each row, which is how ClickHouse stores them: it neither parses nor hashes them again.

use bytes::Bytes;

use super::dictionary::{Dictionary, varint};
use super::envelope::Position;
use super::zones::SystemZone;
use crate::event::{Body, Event};

const TEXT: &str = "String";
const REPEATED: &str = "LowCardinality(String)";
const TIME: &str = "DateTime64(3, 'UTC')";

/// Name and type of the columns, in the order in which they are sent.
const COLUMNS: [(&str, &str); 21] = [
    ("ordinal", "UInt64"),
    ("time", TIME),
    ("identity", "UInt64"),
    ("kafka_offset", "UInt64"),
    ("kafka_partition", "UInt16"),
    ("local_date", "Date"),
    ("local_hour", "UInt8"),
    ("type", "Enum8('login' = 1, 'feature_click' = 2, 'feedback' = 3)"),
    ("outcome", "Enum8('' = 0, 'success' = 1, 'failure' = 2)"),
    ("score", "UInt8"),
    ("session", TEXT),
    ("comment", TEXT),
    ("system", REPEATED),
    ("zone", REPEATED),
    ("feature", REPEATED),
    ("element", REPEATED),
    ("method", REPEATED),
    ("category", REPEATED),
    ("source", REPEATED),
    ("kafka_topic", REPEATED),
    ("ingested_at", TIME),
];

/// What one row takes in the columns of fixed width, and of the lengths of its texts.
const FIXED_BYTES: usize = 5 * 8 + 2 * 2 + 4 + 2;

/// The names of the columns, for an INSERT.
pub fn columns() -> String {
    COLUMNS.map(|(name, _)| name).join(", ")
}

/// What all rows of a batch have in common.
pub struct Common<'a> {
    pub topic: &'a str,
    pub ingested_ms: i64,
}

/// One buffer for each column, except those that are the same in all rows.
#[derive(Default)]
pub struct Rows {
    count: usize,
    ordinals: Vec<u8>,
    times: Vec<u8>,
    identities: Vec<u8>,
    offsets: Vec<u8>,
    partitions: Vec<u8>,
    dates: Vec<u8>,
    hours: Vec<u8>,
    kinds: Vec<u8>,
    outcomes: Vec<u8>,
    scores: Vec<u8>,
    sessions: Vec<u8>,
    comments: Vec<u8>,
    systems: Dictionary,
    zones: Dictionary,
    features: Dictionary,
    elements: Dictionary,
    methods: Dictionary,
    categories: Dictionary,
    sources: Dictionary,
}

/// How much room rows need.
#[derive(Debug, Clone, Copy, Default)]
pub struct Room {
    rows: usize,
    sessions: usize,
    comments: usize,
}

impl Rows {
    pub fn with_room(room: Room) -> Self {
        let bytes = |each: usize| Vec::with_capacity(room.rows * each);
        let texts = || Dictionary::with_room(room.rows);
        Self {
            count: 0,
            ordinals: bytes(8),
            times: bytes(8),
            identities: bytes(8),
            offsets: bytes(8),
            partitions: bytes(2),
            dates: bytes(2),
            hours: bytes(1),
            kinds: bytes(1),
            outcomes: bytes(1),
            scores: bytes(1),
            sessions: Vec::with_capacity(room.sessions),
            comments: Vec::with_capacity(room.comments),
            systems: texts(),
            zones: texts(),
            features: texts(),
            elements: texts(),
            methods: texts(),
            categories: texts(),
            sources: texts(),
        }
    }

    /// The room that these rows take.
    pub fn room(&self) -> Room {
        Room {
            rows: self.count,
            sessions: self.sessions.len(),
            comments: self.comments.len(),
        }
    }

    /// Gives the bytes that it took.
    pub fn push(&mut self, event: &Event<'_>, ordinal: u64, zone: &SystemZone, position: Position) -> usize {
        let local = zone.zone.local_hour(event.time_ms);
        let labels = Labels::of(&event.body);
        self.count += 1;
        self.ordinals.extend_from_slice(&ordinal.to_le_bytes());
        self.times.extend_from_slice(&event.time_ms.to_le_bytes());
        self.identities.extend_from_slice(&event.identity.0.to_le_bytes());
        self.offsets.extend_from_slice(&(position.offset as u64).to_le_bytes());
        self.partitions
            .extend_from_slice(&(position.partition as u16).to_le_bytes());
        self.dates.extend_from_slice(&local.date.to_le_bytes());
        self.hours.push(local.hour);
        self.kinds.push(labels.kind);
        self.outcomes.push(labels.outcome);
        self.scores.push(labels.score);
        text(&mut self.sessions, labels.session);
        text(&mut self.comments, labels.comment);
        FIXED_BYTES
            + labels.session.len()
            + labels.comment.len()
            + self.systems.push(&event.system)
            + self.zones.push(&zone.name)
            + self.features.push(labels.feature)
            + self.elements.push(labels.element)
            + self.methods.push(labels.method)
            + self.categories.push(labels.category)
            + self.sources.push(&event.source)
    }

    /// Gives the user of that row an ordinal.
    pub fn set_ordinal(&mut self, row: usize, ordinal: u64) {
        let at = row * size_of::<u64>();
        self.ordinals[at..at + size_of::<u64>()].copy_from_slice(&ordinal.to_le_bytes());
    }

    /// The body of an INSERT of [`columns`]: one block, in pieces.
    pub fn into_body(self, common: &Common<'_>) -> Vec<Bytes> {
        let count = self.count;
        let mut topics = Dictionary::default();
        topics.push_many(common.topic, count);
        let ingested = common.ingested_ms.to_le_bytes().repeat(count);
        let columns: [Vec<u8>; COLUMNS.len()] = [
            self.ordinals,
            self.times,
            self.identities,
            self.offsets,
            self.partitions,
            self.dates,
            self.hours,
            self.kinds,
            self.outcomes,
            self.scores,
            self.sessions,
            self.comments,
            self.systems.into_column(),
            self.zones.into_column(),
            self.features.into_column(),
            self.elements.into_column(),
            self.methods.into_column(),
            self.categories.into_column(),
            self.sources.into_column(),
            topics.into_column(),
            ingested,
        ];
        let mut head = Vec::new();
        varint(&mut head, COLUMNS.len());
        varint(&mut head, count);
        let mut body = Vec::with_capacity(2 * COLUMNS.len());
        for ((name, kind), column) in COLUMNS.into_iter().zip(columns) {
            text(&mut head, name);
            text(&mut head, kind);
            body.push(std::mem::take(&mut head).into());
            body.push(column.into());
        }
        body
    }
}

/// The columns that depend on the type of the event; what a type does not have is empty or 0.
#[derive(Default)]
struct Labels<'a> {
    kind: u8,
    outcome: u8,
    score: u8,
    feature: &'a str,
    session: &'a str,
    element: &'a str,
    method: &'a str,
    category: &'a str,
    comment: &'a str,
}

impl<'a> Labels<'a> {
    fn of(body: &'a Body<'_>) -> Self {
        match body {
            Body::Login {
                success,
                session,
                method,
            } => Self {
                kind: 1,
                outcome: if *success { 1 } else { 2 },
                session: session.as_deref().unwrap_or_default(),
                method: method.as_deref().unwrap_or_default(),
                ..Self::default()
            },
            Body::FeatureClick {
                feature,
                session,
                element,
            } => Self {
                kind: 2,
                feature,
                session: session.as_deref().unwrap_or_default(),
                element: element.as_deref().unwrap_or_default(),
                ..Self::default()
            },
            Body::Feedback {
                score,
                category,
                feature,
                comment,
            } => Self {
                kind: 3,
                score: score.unwrap_or_default(),
                category: category.as_deref().unwrap_or_default(),
                feature: feature.as_deref().unwrap_or_default(),
                comment: comment.as_deref().unwrap_or_default(),
                ..Self::default()
            },
        }
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    varint(out, text.len());
    out.extend_from_slice(text.as_bytes());
}
