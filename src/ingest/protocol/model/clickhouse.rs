//! ClickHouse as the protocol relies on it: a raw table that replaces repeats, a rollup that counts what the view hands it,
//! and for each of the two a log of tokens. An insert stores the raw rows, then fills the rollup; it goes on when its sender
//! is gone, and a crash can stop it between any two steps.

use std::collections::{BTreeMap, BTreeSet};

use super::{Id, Row, Token, Who};

/// When an insert reaches ClickHouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arrival {
    /// When it is sent.
    Prompt,
    /// Not yet: ClickHouse does not know of it.
    Delayed,
    /// Long after it was sent.
    Late,
}

/// An insert that was sent and has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Running {
    pub token: Token,
    pub rows: Vec<Row>,
    /// Who waits for the answer.
    pub sender: Option<Who>,
    pub has_stored_raw: bool,
    pub arrival: Arrival,
    /// The reconciler waits for it to end.
    pub is_awaited: bool,
}

impl Running {
    pub fn is_known(&self) -> bool {
        self.arrival != Arrival::Delayed
    }
}

/// What a crash leaves of an insert that it stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Torn {
    /// Whole steps only.
    Clean,
    /// The token of the next step is in the log, its rows are not in the table: the log is written first.
    TokenOnly,
}

/// How far the reconciler is with a raw row, since that was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compared {
    No,
    Begun,
    Done,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RawRow {
    pub row: Row,
    pub compared: Compared,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ClickHouse {
    /// In the order of storing; one row for each identity, the newest.
    pub raw: Vec<RawRow>,
    raw_tokens: BTreeSet<Token>,
    /// How often each event is counted; the reconciler's additions may come before what they make up for.
    pub counts: BTreeMap<Id, i8>,
    rollup_tokens: BTreeSet<Token>,
    pub running: Vec<Running>,
}

impl ClickHouse {
    pub fn insert(&mut self, token: Token, rows: Vec<Row>, sender: Who) {
        self.running.push(Running {
            token,
            rows,
            sender: Some(sender),
            has_stored_raw: false,
            arrival: Arrival::Prompt,
            is_awaited: false,
        });
    }

    /// One step of an insert. Gives who is to be answered when that was the last one.
    pub fn advance(&mut self, index: usize, looks_back: bool) -> Option<Who> {
        let running = &mut self.running[index];
        if running.arrival == Arrival::Delayed {
            running.arrival = Arrival::Late;
            return None;
        }
        if !running.has_stored_raw {
            running.has_stored_raw = true;
            let (token, rows) = (running.token, running.rows.clone());
            if self.raw_tokens.insert(token) {
                self.store_raw(&rows);
            }
            return None;
        }
        let ended = self.running.remove(index);
        if looks_back && ended.arrival == Arrival::Late {
            self.compare_again();
        }
        if self.rollup_tokens.insert(ended.token) {
            for row in &ended.rows {
                self.count(row.id, 1);
            }
        }
        ended.sender
    }

    /// A run of the reconciler also looks at what was stored shortly before the last one; "shortly" is longer than an insert
    /// can be under way.
    fn compare_again(&mut self) {
        for stored in &mut self.raw {
            stored.compared = Compared::No;
        }
    }

    fn store_raw(&mut self, rows: &[Row]) {
        for &row in rows {
            self.raw.retain(|stored| stored.row.id != row.id);
            self.raw.push(RawRow {
                row,
                compared: Compared::No,
            });
        }
    }

    pub fn count(&mut self, id: Id, by: i8) {
        *self.counts.entry(id).or_default() += by;
        self.counts.retain(|_, count| *count != 0);
    }

    pub fn has_stored(&self, rows: &[Row]) -> bool {
        rows.iter().all(|row| self.raw.iter().any(|stored| stored.row == *row))
    }

    pub fn knows(&self, id: Id) -> bool {
        self.raw.iter().any(|stored| stored.row.id == id)
    }

    /// Whether `system.processes` shows an insert.
    pub fn is_inserting(&self) -> bool {
        self.running.iter().any(Running::is_known)
    }

    /// Every insert stops where it is. Gives who was waiting for an answer.
    pub fn crash(&mut self, torn: Torn) -> Vec<Who> {
        let (delayed, stopped): (Vec<_>, Vec<_>) = self.running.drain(..).partition(|running| !running.is_known());
        self.running = delayed;
        for running in &stopped {
            if torn == Torn::TokenOnly {
                let log = if running.has_stored_raw {
                    &mut self.rollup_tokens
                } else {
                    &mut self.raw_tokens
                };
                log.insert(running.token);
            }
        }
        stopped.iter().filter_map(|running| running.sender).collect()
    }

    pub fn forget_tokens(&mut self) {
        self.raw_tokens.clear();
        self.rollup_tokens.clear();
    }
}
