//! The workers, Kafka, and what can happen next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::clickhouse::{Arrival, ClickHouse, Torn};
use super::reconciler::Reconciler;
use super::{Batch, Fault, Id, Memory, Message, Offset, PARTITION, Row, Rule, Setup, Token, Who};
use crate::ingest::protocol::{self, Membership, Outcome};

type Input = protocol::Input<Batch, Memory>;
type Effect = protocol::Effect<Batch, Memory>;

/// A worker process. One that stops starts again at once and joins the group: until it is given the partition nobody can tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Worker {
    /// Its memberships before this one; part of its tokens.
    life: u8,
    protocol: Membership<Batch>,
    /// By Kafka's word: what it commits is accepted.
    is_member: bool,
    /// What it reads next.
    position: Offset,
    /// `None` while it does not read.
    memory: Option<Memory>,
    open: Batch,
    /// Effects under way.
    tasks: Vec<Effect>,
    /// Only without [`Rule::SameToken`]: numbers its attempts.
    attempts: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    committed: Offset,
    owner: Option<Who>,
    /// Kafka waits for the owner to let the partition go.
    is_moving: bool,
    rejects: BTreeSet<Offset>,
    workers: [Worker; 2],
    clickhouse: ClickHouse,
    reconciler: Reconciler,
    faults: u8,
}

/// What can happen next: a step of the parts, or a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    Assign(Who),
    Read(Who),
    Due(Who),
    /// An effect under way comes to its end.
    Finish(Who, usize),
    /// The worker learns that the group went on without it.
    Notice(Who),
    Insert(usize),
    Reconcile,

    Kill(Who),
    Silence(Who),
    Move,
    OutOfTime(Who),
    /// The task ends without an answer, after it was done or before.
    LoseAnswer(Who, usize, bool),
    LoseInsertAnswer(usize),
    FailInsert(usize),
    CrashClickHouse(Torn),
    ForgetTokens,
    /// Its sender is killed; the insert is still on its way.
    DelayInsert(usize),
    KillReconciler,
}

impl Action {
    pub fn is_fault(self) -> bool {
        use Action::*;
        !matches!(
            self,
            Assign(_) | Read(_) | Due(_) | Finish(..) | Notice(_) | Insert(_) | Reconcile
        )
    }
}

impl World {
    /// The first worker is given the partition; the other one would do the same.
    pub fn new(setup: &Setup) -> Self {
        let mut world = Self {
            committed: 0,
            owner: None,
            is_moving: false,
            rejects: BTreeSet::new(),
            workers: [Worker::joined(0), Worker::joined(0)],
            clickhouse: ClickHouse::default(),
            reconciler: Reconciler::default(),
            faults: setup.fault_count,
        };
        world.take(setup, Action::Assign(0));
        world
    }

    /// The steps that come by themselves.
    pub fn steps(&self, setup: &Setup) -> Vec<Action> {
        let mut actions = Vec::new();
        for (who, worker) in self.workers.iter().enumerate() {
            let protocol = &worker.protocol;
            if !worker.is_member {
                actions.push(Action::Notice(who));
            } else if self.owner.is_none() {
                actions.push(Action::Assign(who));
            }
            // A worker that has to notice its silence does so before it polls.
            let polls = !protocol.is_draining() && (worker.is_member || !setup.keeps(Rule::Fence));
            if polls && worker.memory.is_some() && usize::from(worker.position) < setup.log.len() {
                actions.push(Action::Read(who));
            }
            if polls && worker.open.next > 0 && !protocol.is_writing() {
                actions.push(Action::Due(who));
            }
            for (index, task) in worker.tasks.iter().enumerate() {
                let awaits = matches!(task, Effect::AwaitInserts { .. }) && setup.keeps(Rule::AwaitInserts);
                if !(awaits && self.clickhouse.is_inserting()) {
                    actions.push(Action::Finish(who, index));
                }
            }
        }
        actions.extend((0..self.clickhouse.running.len()).map(Action::Insert));
        if setup.has_reconciler && self.reconciler.can_step(setup, &self.clickhouse, self.committed) {
            actions.push(Action::Reconcile);
        }
        actions
    }

    pub fn faults(&self, setup: &Setup) -> Vec<Action> {
        if self.faults == 0 {
            return Vec::new();
        }
        setup.faults.iter().flat_map(|&fault| self.ways_of(fault)).collect()
    }

    /// Where a fault makes a difference.
    fn ways_of(&self, fault: Fault) -> Vec<Action> {
        let owners = || self.owner.into_iter();
        let running = || {
            self.clickhouse
                .running
                .iter()
                .enumerate()
                .filter(|(_, running)| running.is_known())
        };
        match fault {
            Fault::Kill => owners().map(Action::Kill).collect(),
            Fault::Silence => owners().map(Action::Silence).collect(),
            Fault::Rebalance if !self.is_moving => owners().map(|_| Action::Move).collect(),
            Fault::Rebalance => Vec::new(),
            Fault::OutOfTime => {
                let draining = |worker: &Worker| worker.protocol.is_draining();
                (0..2)
                    .filter(|&who| draining(&self.workers[who]))
                    .map(Action::OutOfTime)
                    .collect()
            }
            Fault::LoseAnswer => {
                let tasks = self.workers.iter().enumerate().flat_map(|(who, worker)| {
                    let tasks = worker.tasks.iter().enumerate();
                    let writes =
                        tasks.filter(|(_, task)| matches!(task, Effect::Commit(_) | Effect::PublishDeadLetters(_)));
                    writes.flat_map(move |(index, _)| [true, false].map(|done| Action::LoseAnswer(who, index, done)))
                });
                let inserts = running().filter(|(_, running)| running.sender.is_some());
                tasks
                    .chain(inserts.map(|(index, _)| Action::LoseInsertAnswer(index)))
                    .collect()
            }
            Fault::FailInsert => running().map(|(index, _)| Action::FailInsert(index)).collect(),
            Fault::CrashClickHouse => {
                let torn = [Torn::Clean, Torn::TokenOnly].map(Action::CrashClickHouse);
                torn.into_iter().filter(|_| self.clickhouse.is_inserting()).collect()
            }
            Fault::ForgetTokens => vec![Action::ForgetTokens],
            Fault::DelayInsert => {
                let begun = running().filter(|(_, running)| running.sender.is_some() && !running.has_stored_raw);
                begun.map(|(index, _)| Action::DelayInsert(index)).collect()
            }
            Fault::KillReconciler if self.reconciler != Reconciler::Idle => vec![Action::KillReconciler],
            Fault::KillReconciler => Vec::new(),
        }
    }

    pub fn take(&mut self, setup: &Setup, action: Action) {
        if action.is_fault() {
            self.faults -= 1;
        }
        match action {
            Action::Assign(who) => {
                self.owner = Some(who);
                self.workers[who].position = self.committed;
                self.tell(setup, who, Input::Assigned(vec![PARTITION]));
            }
            Action::Read(who) => self.workers[who].read(setup),
            Action::Due(who) => self.tell(setup, who, Input::Due),
            Action::Finish(who, index) => self.finish(setup, who, index),
            Action::Notice(who) => self.tell(setup, who, Input::Lost),
            Action::Insert(index) => {
                if let Some(who) = self.clickhouse.advance(index, setup.keeps(Rule::ReconcileLooksBack)) {
                    self.tell(setup, who, Input::Ended(Outcome::Done));
                }
            }
            Action::Reconcile => {
                self.reconciler = std::mem::take(&mut self.reconciler).step(setup, &mut self.clickhouse);
            }
            Action::Kill(who) => self.stop(who),
            Action::Silence(who) => self.expire(who),
            Action::Move => self.begin_move(setup),
            Action::OutOfTime(who) => self.tell(setup, who, Input::OutOfTime),
            Action::LoseAnswer(who, index, done) => {
                let task = self.workers[who].tasks.remove(index);
                if done {
                    self.write(who, &task);
                }
                self.tell(setup, who, Input::Ended(Outcome::Unknown));
            }
            Action::LoseInsertAnswer(index) => {
                if let Some(who) = self.clickhouse.running[index].sender.take() {
                    self.tell(setup, who, Input::Ended(Outcome::Unknown));
                }
            }
            Action::FailInsert(index) => {
                if let Some(who) = self.clickhouse.running.remove(index).sender {
                    self.tell(setup, who, Input::Ended(Outcome::Unknown));
                }
            }
            Action::CrashClickHouse(torn) => {
                for who in self.clickhouse.crash(torn) {
                    self.tell(setup, who, Input::Ended(Outcome::Unknown));
                }
            }
            Action::ForgetTokens => {
                for who in self.clickhouse.crash(Torn::Clean) {
                    self.tell(setup, who, Input::Ended(Outcome::Unknown));
                }
                self.clickhouse.forget_tokens();
            }
            Action::DelayInsert(index) => {
                self.clickhouse.running[index].arrival = Arrival::Delayed;
                if let Some(who) = self.clickhouse.running[index].sender {
                    self.stop(who);
                }
            }
            Action::KillReconciler => self.reconciler = Reconciler::kill(&mut self.clickhouse),
        }
    }

    /// What the executor of the product does: the silence is told before anything else, and follow-ups at once.
    fn tell(&mut self, setup: &Setup, who: Who, input: Input) {
        let is_silent = !self.workers[who].is_member && setup.keeps(Rule::Fence);
        let mut inputs: VecDeque<Input> = is_silent.then_some(Input::Silent).into_iter().chain([input]).collect();
        let life = self.workers[who].life;
        while let Some(input) = inputs.pop_front() {
            if self.workers[who].life != life {
                return;
            }
            for effect in self.workers[who].protocol.step(input) {
                inputs.extend(self.perform(setup, who, effect));
            }
        }
    }

    fn perform(&mut self, setup: &Setup, who: Who, effect: Effect) -> Option<Input> {
        let worker = &mut self.workers[who];
        match effect {
            Effect::AskCommitted { assignment, .. } => {
                let offsets = BTreeMap::from([(PARTITION, u64::from(self.committed))]);
                return Some(Input::Committed { assignment, offsets });
            }
            Effect::Open { memory, .. } => worker.memory = Some(memory),
            Effect::CloseBatch => {
                let open = std::mem::take(&mut worker.open);
                return Some(Input::Closed((open.next > 0).then_some(open)));
            }
            Effect::Insert { token, batch } => {
                let token = worker.token(setup, who, token);
                let rows = worker.rows_to_send(setup, batch.rows.clone());
                self.clickhouse.insert(token, rows, who);
                if !setup.keeps(Rule::CommitAfterInsert) {
                    self.commit(who, &batch);
                }
            }
            Effect::PublishDeadLetters(ref batch) if !setup.keeps(Rule::CommitAfterDeadLetters) => {
                self.commit(who, &batch.clone());
                self.workers[who].tasks.push(effect);
            }
            Effect::Written(_) => worker.attempts = 0,
            Effect::Release(partitions) => {
                if !partitions.is_empty() {
                    worker.memory = None;
                    self.is_moving = false;
                    self.owner = self.owner.filter(|owner| *owner != who);
                }
            }
            Effect::End(_) => self.stop(who),
            Effect::AwaitInserts { .. }
            | Effect::Remember { .. }
            | Effect::Check(_)
            | Effect::PublishDeadLetters(_)
            | Effect::Commit(_)
            | Effect::Pause { .. } => worker.tasks.push(effect),
        }
        None
    }

    fn finish(&mut self, setup: &Setup, who: Who, index: usize) {
        let task = self.workers[who].tasks.remove(index);
        let input = match &task {
            Effect::AwaitInserts { assignment, .. } => Input::InsertsEnded {
                assignment: *assignment,
            },
            Effect::Remember { assignment, .. } => Input::Remembered {
                assignment: *assignment,
                memories: BTreeMap::from([(PARTITION, self.remembered(setup))]),
            },
            Effect::Check(batch) => {
                let is_stored = self.clickhouse.has_stored(&batch.rows) || !setup.keeps(Rule::CheckRepeats);
                Input::Ended(if is_stored { Outcome::Done } else { Outcome::Missing })
            }
            Effect::Pause { .. } => Input::PauseOver,
            _ => Input::Ended(if self.write(who, &task) {
                Outcome::Done
            } else {
                Outcome::Refused
            }),
        };
        self.tell(setup, who, input);
    }

    /// What a takeover reads back.
    fn remembered(&self, setup: &Setup) -> Memory {
        if !setup.keeps(Rule::Remember) {
            return Memory::new();
        }
        let stored = self.clickhouse.raw.iter().map(|stored| stored.row.id);
        let mut memory = Memory::new();
        stored.for_each(|id| remember(&mut memory, setup.memory, id));
        memory
    }

    /// A commit, or dead letters. `false`: Kafka refuses.
    fn write(&mut self, who: Who, task: &Effect) -> bool {
        match task {
            Effect::PublishDeadLetters(batch) => {
                self.rejects.extend(&batch.dead_letters);
                true
            }
            Effect::Commit(batch) => self.commit(who, batch),
            _ => true,
        }
    }

    fn commit(&mut self, who: Who, batch: &Batch) -> bool {
        let is_member = self.workers[who].is_member;
        if is_member {
            self.committed = batch.next;
        }
        is_member
    }

    fn begin_move(&mut self, setup: &Setup) {
        let Some(who) = self.owner else { return };
        if setup.keeps(Rule::DrainBeforeRelease) {
            self.is_moving = true;
            let revoked = vec![PARTITION];
            self.tell(setup, who, Input::Drain { revoked });
        } else {
            self.owner = None;
            self.workers[who].memory = None;
        }
    }

    /// The group goes on without the worker, which does not know.
    fn expire(&mut self, who: Who) {
        self.workers[who].is_member = false;
        if self.owner == Some(who) {
            self.owner = None;
            self.is_moving = false;
        }
    }

    /// The worker is gone: what it sent goes on without it.
    fn stop(&mut self, who: Who) {
        self.expire(who);
        let life = self.workers[who].life + 1;
        self.workers[who] = Worker::joined(life);
        for running in &mut self.clickhouse.running {
            running.sender = running.sender.filter(|sender| *sender != who);
        }
    }

    /// Committed offsets never pass what is neither stored nor a durable reject.
    pub fn is_covered(&self, setup: &Setup) -> bool {
        let done = setup.log.iter().zip(0..self.committed);
        done.into_iter().all(|(message, offset)| match message {
            Message::Event(id) => self.clickhouse.knows(*id),
            Message::Malformed => self.rejects.contains(&offset),
        })
    }

    pub fn faults_left(&self) -> u8 {
        self.faults
    }

    /// What is committed is counted, and nothing is counted twice.
    pub fn is_counted(&self, setup: &Setup) -> bool {
        let count = |id| self.clickhouse.counts.get(id).copied().unwrap_or(0);
        setup.log.iter().zip(0..).all(|(message, offset)| match message {
            Message::Event(id) if offset < self.committed => count(id) == 1,
            Message::Event(id) => (0..=1).contains(&count(id)),
            Message::Malformed => true,
        })
    }

    /// All is read, and every event counted once.
    pub fn is_exact(&self, setup: &Setup) -> bool {
        let events = setup.log.iter().filter_map(|message| match message {
            Message::Event(id) => Some((*id, 1)),
            Message::Malformed => None,
        });
        let counts: BTreeMap<Id, i8> = events.collect();
        usize::from(self.committed) == setup.log.len() && self.is_covered(setup) && self.clickhouse.counts == counts
    }
}

impl Worker {
    fn joined(life: u8) -> Self {
        Self {
            life,
            is_member: true,
            ..Self::default()
        }
    }

    /// What the chain of the product does with a message.
    fn read(&mut self, setup: &Setup) {
        let offset = self.position;
        self.position += 1;
        self.open.next = self.position;
        let Some(memory) = &mut self.memory else { return };
        match setup.log[usize::from(offset)] {
            Message::Malformed => self.open.dead_letters.push(offset),
            Message::Event(id) if memory.contains(&id) => {}
            Message::Event(id) => {
                remember(memory, setup.memory, id);
                self.open.rows.push(Row { id, offset });
            }
        }
    }

    fn token(&mut self, setup: &Setup, who: Who, token: u64) -> Token {
        self.attempts += u8::from(!setup.keeps(Rule::SameToken));
        if setup.keeps(Rule::FreshToken) {
            Token(who, self.life, token * 16 + u64::from(self.attempts))
        } else {
            Token(who, 0, 0)
        }
    }

    /// Without [`Rule::SameBytes`] a repeat takes along what was read since.
    fn rows_to_send(&mut self, setup: &Setup, mut rows: Vec<Row>) -> Vec<Row> {
        if !setup.keeps(Rule::SameBytes) {
            if self.attempts > 0 {
                rows.append(&mut self.open.rows);
            }
            self.attempts = 1;
        }
        rows
    }
}

fn remember(memory: &mut Memory, capacity: usize, id: Id) {
    if !memory.contains(&id) {
        memory.push(id);
    }
    if memory.len() > capacity {
        memory.remove(0);
    }
}
