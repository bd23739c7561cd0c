//! The protocol of one membership in the consumer group: a pure state machine without IO, clock or threads.
//!
//! The worker tells it what happened ([`Input`]) and does what it answers ([`Effect`]). Whether a batch may be sent, repeated or
//! committed, and whether a partition may be read or let go, is decided here and nowhere else (architecture.md, "What ingest
//! guarantees, and how"). `model` runs two of it against Kafka and ClickHouse with faults and looks at every interleaving.

#[cfg(test)]
mod model;

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
    /// The drain took too long.
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

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Phase {
    Serving,
    /// These partitions are let go once nothing is left to write.
    Draining(Vec<i32>),
    /// For good: a membership that may have lost its partitions never writes again.
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    Inserting,
    Checking,
    Publishing,
    Committing,
}

/// The one batch that is being written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Write<B> {
    batch: B,
    stage: Stage,
    token: u64,
    /// Attempts of this stage whose outcome is not `Done`.
    failed: u32,
}

/// A partition of this membership.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Owned {
    /// Tells this ownership from an earlier one of the same partition, whose takeover may still be running.
    assignment: u64,
    /// Its takeover is over: it is read.
    is_open: bool,
}

/// The state of one membership.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Membership<B> {
    phase: Phase,
    owned: BTreeMap<i32, Owned>,
    /// The committed offsets of takeovers that wait for inserts, by assignment.
    waiting: BTreeMap<u64, BTreeMap<i32, u64>>,
    write: Option<Write<B>>,
    assignments: u64,
    tokens: u64,
}

impl<B> Default for Membership<B> {
    fn default() -> Self {
        Self {
            phase: Phase::Serving,
            owned: BTreeMap::new(),
            waiting: BTreeMap::new(),
            write: None,
            assignments: 0,
            tokens: 0,
        }
    }
}

impl<B: Content> Membership<B> {
    /// Takes in what happened and says what to do, in this order.
    pub fn step<M>(&mut self, input: Input<B, M>) -> Vec<Effect<B, M>> {
        if self.phase == Phase::Ended {
            return match input {
                Input::Drain { revoked } => vec![Effect::Release(revoked)],
                _ => Vec::new(),
            };
        }
        match input {
            Input::Assigned(partitions) => self.assigned(partitions),
            Input::Committed { assignment, offsets } => {
                self.waiting.insert(assignment, offsets);
                let partitions = self.taking_over(assignment);
                vec![Effect::AwaitInserts { assignment, partitions }]
            }
            Input::InsertsEnded { assignment } => self.inserts_ended(assignment),
            Input::Remembered { assignment, memories } => self.remembered(assignment, memories),
            Input::Due if self.write.is_none() && self.phase == Phase::Serving => vec![Effect::CloseBatch],
            Input::Due => Vec::new(),
            Input::Closed(Some(batch)) => self.begin(batch),
            Input::Closed(None) => self.release(),
            Input::Ended(outcome) => self.ended(outcome),
            Input::PauseOver => self.attempt(),
            Input::Drain { revoked } => {
                self.phase = Phase::Draining(revoked);
                if self.is_writing() {
                    Vec::new()
                } else {
                    vec![Effect::CloseBatch]
                }
            }
            Input::OutOfTime => self.end(Reason::OutOfTime),
            Input::Lost => self.end(Reason::Lost),
            Input::Silent => self.end(Reason::Silent),
        }
    }

    /// A batch is under way; another one would have to wait.
    pub fn is_writing(&self) -> bool {
        self.write.is_some()
    }

    pub fn is_draining(&self) -> bool {
        matches!(self.phase, Phase::Draining(_))
    }

    pub fn owned_count(&self) -> usize {
        self.owned.len()
    }

    /// The partition is taken over and read.
    pub fn is_open(&self, partition: i32) -> bool {
        self.owned.get(&partition).is_some_and(|owned| owned.is_open)
    }

    fn assigned<M>(&mut self, partitions: Vec<i32>) -> Vec<Effect<B, M>> {
        if partitions.is_empty() {
            return Vec::new();
        }
        self.assignments += 1;
        let assignment = self.assignments;
        let owned = Owned {
            assignment,
            is_open: false,
        };
        self.owned
            .extend(partitions.iter().map(|&partition| (partition, owned.clone())));
        vec![Effect::AskCommitted { assignment, partitions }]
    }

    /// The partitions of this assignment that were not revoked since.
    fn taking_over(&self, assignment: u64) -> Vec<i32> {
        let still = |owned: &Owned| owned.assignment == assignment && !owned.is_open;
        self.owned
            .iter()
            .filter(|(_, owned)| still(owned))
            .map(|(&partition, _)| partition)
            .collect()
    }

    fn inserts_ended<M>(&mut self, assignment: u64) -> Vec<Effect<B, M>> {
        let partitions = self.taking_over(assignment);
        let mut offsets = self.waiting.remove(&assignment).unwrap_or_default();
        offsets.retain(|partition, _| partitions.contains(partition));
        vec![Effect::Remember { assignment, offsets }]
    }

    fn remembered<M>(&mut self, assignment: u64, memories: BTreeMap<i32, M>) -> Vec<Effect<B, M>> {
        let mut effects = Vec::new();
        for (partition, memory) in memories {
            match self.owned.get_mut(&partition) {
                Some(owned) if owned.assignment == assignment => {
                    owned.is_open = true;
                    effects.push(Effect::Open { partition, memory });
                }
                // Revoked since, perhaps given back since: that assignment has its own takeover.
                _ => {}
            }
        }
        effects
    }

    fn begin<M>(&mut self, batch: B) -> Vec<Effect<B, M>> {
        let stage = match () {
            () if batch.has_rows() => Stage::Inserting,
            () if batch.has_dead_letters() => Stage::Publishing,
            () => Stage::Committing,
        };
        self.tokens += 1;
        self.write = Some(Write {
            batch,
            stage,
            token: self.tokens,
            failed: 0,
        });
        self.attempt()
    }

    /// Does what the write under way is at: for the first time or again, always the same.
    fn attempt<M>(&self) -> Vec<Effect<B, M>> {
        let Some(Write {
            batch, stage, token, ..
        }) = &self.write
        else {
            return Vec::new();
        };
        let batch = batch.clone();
        vec![match stage {
            Stage::Inserting => Effect::Insert { token: *token, batch },
            Stage::Checking => Effect::Check(batch),
            Stage::Publishing => Effect::PublishDeadLetters(batch),
            Stage::Committing => Effect::Commit(batch),
        }]
    }

    fn ended<M>(&mut self, outcome: Outcome) -> Vec<Effect<B, M>> {
        let Some(write) = &mut self.write else {
            return Vec::new();
        };
        match (outcome, write.stage) {
            (Outcome::Refused, _) => return self.end(Reason::Refused),
            (Outcome::Unknown, _) => {
                write.failed += 1;
                return vec![Effect::Pause { failed: write.failed }];
            }
            (Outcome::Missing, _) => {
                // ClickHouse knows the token and drops whatever comes under it; the rows need another one.
                self.tokens += 1;
                write.token = self.tokens;
                write.stage = Stage::Inserting;
            }
            (Outcome::Done, Stage::Committing) => return self.written(),
            (Outcome::Done, Stage::Inserting) if write.failed > 0 => {
                // "Done" may mean "this token is known", and a token can outlive the rows it was logged for.
                write.stage = Stage::Checking;
            }
            (Outcome::Done, Stage::Inserting | Stage::Checking) if write.batch.has_dead_letters() => {
                write.stage = Stage::Publishing;
            }
            (Outcome::Done, _) => write.stage = Stage::Committing,
        }
        write.failed = 0;
        self.attempt()
    }

    fn written<M>(&mut self) -> Vec<Effect<B, M>> {
        let written = self.write.take().map(|write| Effect::Written(write.batch));
        let next = self.is_draining().then_some(Effect::CloseBatch);
        written.into_iter().chain(next).collect()
    }

    /// Nothing is left to write: what was revoked may go.
    fn release<M>(&mut self) -> Vec<Effect<B, M>> {
        match std::mem::replace(&mut self.phase, Phase::Serving) {
            Phase::Draining(revoked) => {
                self.owned.retain(|partition, _| !revoked.contains(partition));
                vec![Effect::Release(revoked)]
            }
            phase => {
                self.phase = phase;
                Vec::new()
            }
        }
    }

    fn end<M>(&mut self, reason: Reason) -> Vec<Effect<B, M>> {
        let release = self.release();
        self.phase = Phase::Ended;
        self.owned.clear();
        self.write = None;
        std::iter::once(Effect::End(reason)).chain(release).collect()
    }
}
