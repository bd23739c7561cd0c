//! A Kafka message as the chain sees it: payload, position, headers.

use rdkafka::message::{BorrowedHeaders, Headers};

use crate::event::Attributes;

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub partition: i32,
    pub offset: i64,
}

/// One message, borrowed from librdkafka.
pub struct Envelope<'m> {
    pub position: Position,
    /// The broker's or producer's timestamp, milliseconds since the epoch.
    pub kafka_ms: i64,
    pub key: Option<&'m [u8]>,
    /// Empty for a tombstone.
    pub payload: &'m [u8],
    pub headers: Option<&'m BorrowedHeaders>,
}

impl<'m> Envelope<'m> {
    /// The CloudEvents attributes when the message is in binary mode, `None` when it is structured.
    pub fn binary_attributes(&self) -> Option<Attributes<'m>> {
        Attributes::of_headers(self.headers?.iter().map(|header| (header.key, header.value)))
    }
}
