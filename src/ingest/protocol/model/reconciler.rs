//! The reconciler as its part of the protocol: it compares what was stored since it last looked with what the rollup counts,
//! and adds the difference. It believes a difference only when the raw rows are the same after reading as before, every
//! insert that had begun before the reading has ended after it, and no row is there that a worker may still send again.

use std::collections::BTreeMap;

use super::clickhouse::{ClickHouse, Compared};
use super::{Id, Offset, Rule, Setup};

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Reconciler {
    #[default]
    Idle,
    /// The identities before the reading; the inserts that were running then are awaited.
    Awaiting(Vec<Id>),
    ReadRaw(Vec<Id>, BTreeMap<Id, i8>),
    /// What is to be added to the rollup if it stands.
    ReadRollup(Vec<Id>, BTreeMap<Id, i8>),
}

fn identities(clickhouse: &ClickHouse) -> Vec<Id> {
    clickhouse.raw.iter().map(|stored| stored.row.id).collect()
}

fn await_inserts(clickhouse: &mut ClickHouse) {
    for running in clickhouse.running.iter_mut().filter(|running| running.is_known()) {
        running.is_awaited = true;
    }
}

fn note(clickhouse: &mut ClickHouse, from: Compared, to: Compared) {
    for stored in clickhouse.raw.iter_mut().filter(|stored| stored.compared == from) {
        stored.compared = to;
    }
}

impl Reconciler {
    pub fn can_step(&self, setup: &Setup, clickhouse: &ClickHouse, committed: Offset) -> bool {
        let ended = !clickhouse.running.iter().any(|running| running.is_awaited);
        let may_go_on = ended || !setup.keeps(Rule::ReconcileAwaitsInserts);
        let raw = &clickhouse.raw;
        match self {
            Self::Idle => {
                let settled = raw.iter().all(|stored| stored.row.offset < committed);
                raw.iter().any(|stored| stored.compared == Compared::No)
                    && (settled || !setup.keeps(Rule::ReconcileOnlyCommitted))
            }
            Self::ReadRaw(..) => true,
            Self::Awaiting(_) | Self::ReadRollup(..) => may_go_on,
        }
    }

    pub fn step(self, setup: &Setup, clickhouse: &mut ClickHouse) -> Self {
        match self {
            Self::Idle => {
                await_inserts(clickhouse);
                note(clickhouse, Compared::No, Compared::Begun);
                Self::Awaiting(identities(clickhouse))
            }
            Self::Awaiting(before) => {
                let raw = identities(clickhouse).into_iter().map(|id| (id, 1)).collect();
                Self::ReadRaw(before, raw)
            }
            Self::ReadRaw(before, mut missing) => {
                for (&id, count) in &clickhouse.counts {
                    *missing.entry(id).or_default() -= count;
                }
                missing.retain(|_, count| *count != 0);
                await_inserts(clickhouse);
                Self::ReadRollup(before, missing)
            }
            Self::ReadRollup(before, missing) => {
                let stands = before == identities(clickhouse) || !setup.keeps(Rule::ReconcileReadsTwice);
                if stands && missing.is_empty() {
                    note(clickhouse, Compared::Begun, Compared::Done);
                } else {
                    note(clickhouse, Compared::Begun, Compared::No);
                }
                for (id, by) in missing.into_iter().filter(|_| stands) {
                    clickhouse.count(id, by);
                }
                Self::Idle
            }
        }
    }

    /// Whatever it was at is begun again.
    pub fn kill(clickhouse: &mut ClickHouse) -> Self {
        note(clickhouse, Compared::Begun, Compared::No);
        Self::Idle
    }
}
