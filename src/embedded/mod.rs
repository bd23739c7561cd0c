//! One machine, nothing installed by hand: a real Apache Kafka broker and ClickHouse's own engine.

pub mod clickhouse;
pub mod kafka;
pub mod up;
