//! What the worker tells the protocol, and what the protocol has it do.

use std::collections::BTreeMap;

/// What the protocol must know of a batch.
pub trait Content: Clone {
    fn has_rows(&self) -> bool;
    fn has_dead_letters(&self) -> bool;
}

/// What happened. `B` is a batch, `M` the identity memory of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Input<B, M> {
    /// Kafka gave these partitions; nothing of them may be read yet.
    Assigned(Vec<i32>),
    /// Answers [`Effect::AskCommitted`].
    Committed {
        assignment: u64,
        offsets: BTreeMap<i32, u64>,
    },
    /// Answers [`Effect::AwaitInserts`].
    InsertsEnded { assignment: u64 },
    /// Answers [`Effect::Remember`].
    Remembered {
        assignment: u64,
        memories: BTreeMap<i32, M>,
    },
    /// The open batch is full or old enough.
    Due,
    /// Answers [`Effect::CloseBatch`]; `None` when nothing was in it.
    Closed(Option<B>),
    /// Answers the effects that write: `Insert`, `Check`, `PublishDeadLetters`, `Commit`.
    Ended(Outcome),
    /// Answers [`Effect::Pause`].
    PauseOver,
    /// Finish what was read, then let these partitions go: none of them at shutdown.
    Drain { revoked: Vec<i32> },
    /// The drain takes too long, if it is not over.
    OutOfTime,
    /// The group took the partitions away without waiting.
    Lost,
    /// Kafka has not been polled for so long that the partitions may have another owner.
    Silent,
}

/// How an attempt to write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    Done,
    /// Failed, or nobody knows: it may have happened, may still happen, or not.
    Unknown,
    /// Only of a check: ClickHouse does not have the rows.
    Missing,
    /// Trying again cannot help.
    Refused,
}

/// What the worker is to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect<B, M> {
    AskCommitted {
        assignment: u64,
        partitions: Vec<i32>,
    },
    /// Wait until no insert of these partitions is running, whoever sent it.
    AwaitInserts {
        assignment: u64,
        partitions: Vec<i32>,
    },
    /// Read back the identities that were stored at or after these offsets, and those before them.
    Remember {
        assignment: u64,
        offsets: BTreeMap<i32, u64>,
    },
    /// Read the partition from now on.
    Open {
        partition: i32,
        memory: M,
    },
    /// Take the open batch; answered at once.
    CloseBatch,
    /// Send the rows under this token, which stands for these bytes and no others.
    Insert {
        token: u64,
        batch: B,
    },
    /// Look whether the rows of the batch are stored.
    Check(B),
    PublishDeadLetters(B),
    /// Commit exactly what the batch covers.
    Commit(B),
    /// Wait before the next attempt, the longer the more have failed.
    Pause {
        failed: u32,
    },
    /// The batch is stored, its dead letters are durable, its offsets committed.
    Written(B),
    /// Forget these partitions: the group may give them to another worker.
    Release(Vec<i32>),
    /// Leave the group and stop whatever is under way.
    End(Reason),
}

/// Why a membership ends before it is asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    Lost,
    Silent,
    OutOfTime,
    Refused,
}
