//! Every interleaving of two workers, one partition and three messages, with a bounded number of faults.
//!
//! The workers run the real [`Membership`](super::Membership). Kafka, ClickHouse and the reconciler are modelled by what the
//! protocol relies on, and by no more: see [`world`], [`clickhouse`], [`reconciler`]. `checks` says what must hold, and that
//! each [`Rule`] of the protocol is needed: without it a counterexample is found.

mod checks;
mod clickhouse;
mod reconciler;
mod world;

use super::Content;

/// The identity of an event.
type Id = u8;
type Offset = u8;
/// A worker: 0 or 1.
type Who = usize;
/// The identities that a worker remembers, the newest last.
type Memory = Vec<Id>;

/// The one partition.
const PARTITION: i32 = 0;

/// What stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Message {
    Event(Id),
    Malformed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Row {
    id: Id,
    offset: Offset,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Batch {
    rows: Vec<Row>,
    dead_letters: Vec<Offset>,
    /// The offset to commit; 0 while nothing was read.
    next: Offset,
}

impl Content for Batch {
    fn has_rows(&self) -> bool {
        !self.rows.is_empty()
    }

    fn has_dead_letters(&self) -> bool {
        !self.dead_letters.is_empty()
    }
}

/// Which worker, in which of its memberships, under which number: never the same for other data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Token(Who, u8, u64);

/// A rule of the protocol that a check can take away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    AwaitInserts,
    Remember,
    SameToken,
    SameBytes,
    FreshToken,
    CheckRepeats,
    CommitAfterInsert,
    CommitAfterDeadLetters,
    Fence,
    DrainBeforeRelease,
    ReconcileOnlyCommitted,
    ReconcileAwaitsInserts,
    ReconcileReadsTwice,
    ReconcileLooksBack,
}

/// What may go wrong, each at any moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// A worker is killed.
    Kill,
    /// A worker stands still for so long that the group goes on without it, and then goes on itself.
    Silence,
    /// The group moves the partition.
    Rebalance,
    /// A drain takes too long.
    OutOfTime,
    /// The answer to an insert, a commit or a dead letter is lost.
    LoseAnswer,
    /// ClickHouse breaks an insert off, before or after it stored the raw rows.
    FailInsert,
    /// ClickHouse is killed.
    CrashClickHouse,
    /// ClickHouse is killed and forgets its tokens, whose log is not as durable as the rows.
    ForgetTokens,
    /// An insert arrives only after its sender has lost the partition.
    DelayInsert,
    /// The reconciler is killed.
    KillReconciler,
}

/// What is looked at.
#[derive(Debug, Clone)]
struct Setup {
    log: &'static [Message],
    faults: &'static [Fault],
    /// How many of them happen at most.
    fault_count: u8,
    /// Identities that a worker remembers.
    memory: usize,
    has_reconciler: bool,
    without: &'static [Rule],
}

impl Setup {
    fn keeps(&self, rule: Rule) -> bool {
        !self.without.contains(&rule)
    }
}
