//! Reads the rejected topic from its beginning to its end.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use crate::config::Kafka;
use crate::rejected::topic;

/// How many messages were rejected for each reason. One that stands there again counts once.
pub fn count_by_reason(kafka: &Kafka) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut counts = BTreeMap::new();
    let mut seen = HashSet::new();
    topic::read(kafka, None, |letter| {
        if seen.insert(letter.refusal()) {
            *counts.entry(letter.reason).or_default() += 1;
        }
        ControlFlow::Continue(())
    })?;
    Ok(counts)
}
