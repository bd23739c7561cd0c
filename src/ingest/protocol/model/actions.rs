//! What can happen next: the steps of the parts, and faults.

use super::clickhouse::Torn;
use super::reconciler::Reconciler;
use super::world::{Effect, Worker, World};
use super::{Fault, Rule, Setup, Who};

/// A step, or a fault.
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
}
