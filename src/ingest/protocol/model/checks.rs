//! What must hold, and that every rule is needed for it.

use std::collections::HashSet;

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::Message::{Event, Malformed};
use super::world::{Action, World};
use super::{Fault, Message, Rule, Setup};

const COVERED: &str = "committed offsets pass nothing that is neither stored nor rejected";
const COUNTED: &str = "what is committed is counted, and nothing is counted twice";
const EXACT: &str = "when nothing moves any more, everything is committed and counted once";
const ENDS_WELL: &str = "all faults may happen and all be well in the end";

impl Model for Setup {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        actions.extend(world.steps(self));
        actions.extend(world.faults(self));
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        next.take(self, action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::sometimes(ENDS_WELL, |setup: &Setup, world: &World| {
                world.faults_left() == 0 && world.is_exact(setup)
            }),
            Property::always(COVERED, |setup: &Setup, world: &World| world.is_covered(setup)),
            // Also: nothing gets stuck.
            Property::always(EXACT, |setup: &Setup, world: &World| {
                !world.steps(setup).is_empty() || world.is_exact(setup)
            }),
        ];
        if self.is_exact_at_once() {
            properties.push(Property::always(COUNTED, |setup: &Setup, world: &World| {
                world.is_counted(setup)
            }));
        }
        properties
    }
}

/// Of a worker, of Kafka, of a connection.
const WORKER_FAULTS: &[Fault] = &[
    Fault::Kill,
    Fault::Silence,
    Fault::Rebalance,
    Fault::OutOfTime,
    Fault::LoseAnswer,
];

/// Also of ClickHouse, and inserts that arrive when nobody expects them any more.
const ANY_FAULT: &[Fault] = &[
    Fault::Kill,
    Fault::Silence,
    Fault::Rebalance,
    Fault::OutOfTime,
    Fault::LoseAnswer,
    Fault::FailInsert,
    Fault::CrashClickHouse,
    Fault::ForgetTokens,
    Fault::DelayInsert,
    Fault::KillReconciler,
];

const TWO: &[Message] = &[Event(1), Event(2)];
const THREE: &[Message] = &[Event(1), Malformed, Event(2)];
const REPEAT: &[Message] = &[Event(1), Event(2), Event(1)];

impl Setup {
    /// ClickHouse does as it is told, and every repeat is remembered.
    fn is_exact_at_once(&self) -> bool {
        self.memory >= self.log.len() && self.faults.iter().all(|fault| WORKER_FAULTS.contains(fault))
    }
}

/// Without a reconciler.
fn ingest(log: &'static [Message], faults: &'static [Fault], fault_count: u8) -> Setup {
    Setup {
        log,
        faults,
        fault_count,
        memory: log.len(),
        has_reconciler: false,
        without: &[],
    }
}

fn reconciled(log: &'static [Message], faults: &'static [Fault], fault_count: u8) -> Setup {
    Setup {
        has_reconciler: true,
        ..ingest(log, faults, fault_count)
    }
}

fn look_at_all(setup: Setup) -> impl Checker<Setup> {
    let told = format!("{:?}, at most {} of {:?}", setup.log, setup.fault_count, setup.faults);
    let without = setup.without;
    let checker = setup
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    println!("{told}, without {without:?}: {} states", checker.unique_state_count());
    checker
}

/// Nothing that can happen breaks a promise.
fn assert_holds(setup: Setup) {
    let checker = look_at_all(setup);
    for (property, path) in checker.discoveries() {
        let is_good = property == ENDS_WELL;
        assert!(
            is_good,
            "not true: {property}\n{:#?}\n{:#?}",
            path.clone().into_actions(),
            path.last_state()
        );
    }
    assert!(checker.discovery(ENDS_WELL).is_some(), "not one way ends well");
}

/// With every rule no promise is broken; without these something breaks one.
fn assert_needed(rules: &'static [Rule], setup: Setup) {
    assert_holds(setup.clone());
    let checker = look_at_all(Setup {
        without: rules,
        ..setup
    });
    let broken = checker
        .discoveries()
        .into_iter()
        .find(|(property, _)| *property != ENDS_WELL);
    let (property, path) = broken.unwrap_or_else(|| panic!("nothing breaks without {rules:?}"));
    println!("  not true any more: {property}\n  {:?}", path.into_actions());
}

/// No step leads back to where one was: whatever is begun, a takeover too, comes to its end.
fn assert_ends(setup: Setup) {
    let next = |world: &World| setup.next_states(world);
    let start = World::new(&setup);
    let mut way = HashSet::from([start.clone()]);
    let mut ended = HashSet::new();
    let mut forks = vec![(next(&start), start)];
    while let Some((branches, world)) = forks.last_mut() {
        let Some(branch) = branches.pop() else {
            way.remove(world);
            ended.insert(world.clone());
            forks.pop();
            continue;
        };
        assert!(!way.contains(&branch), "this comes back for ever:\n{branch:#?}");
        if !ended.contains(&branch) {
            way.insert(branch.clone());
            forks.push((next(&branch), branch));
        }
    }
    println!("{} states, and every way ends", ended.len());
}

#[test]
fn whatever_is_begun_ends() {
    assert_ends(ingest(THREE, WORKER_FAULTS, 1));
    assert_ends(reconciled(TWO, ANY_FAULT, 1));
}

#[test]
#[ignore = "minutes; to be run after a change of the protocol, with --release"]
fn more_messages_and_more_faults_change_nothing() {
    assert_holds(ingest(THREE, WORKER_FAULTS, 3));
    assert_holds(reconciled(THREE, ANY_FAULT, 2));
}

#[test]
fn workers_that_die_stand_still_or_lose_answers_count_everything_once_at_once() {
    assert_holds(ingest(THREE, WORKER_FAULTS, 2));
    assert_holds(ingest(REPEAT, WORKER_FAULTS, 2));
    assert_holds(reconciled(TWO, WORKER_FAULTS, 2));
}

#[test]
fn the_reconciler_makes_up_for_whatever_clickhouse_does() {
    assert_holds(reconciled(TWO, ANY_FAULT, 2));
    assert_holds(reconciled(THREE, ANY_FAULT, 1));
}

#[test]
fn the_reconciler_is_needed_when_clickhouse_dies_between_a_table_and_its_view() {
    let alone = ingest(TWO, &[Fault::CrashClickHouse], 1);
    assert!(look_at_all(alone).discovery(EXACT).is_some());
}

#[test]
fn the_reconciler_is_needed_for_a_repeat_older_than_the_memory() {
    let alone = Setup {
        memory: 1,
        ..ingest(REPEAT, &[], 0)
    };
    assert!(look_at_all(alone.clone()).discovery(EXACT).is_some());
    assert_holds(Setup {
        has_reconciler: true,
        fault_count: 1,
        faults: ANY_FAULT,
        ..alone
    });
}

#[test]
fn a_takeover_must_wait_for_running_inserts() {
    assert_needed(&[Rule::AwaitInserts], ingest(TWO, &[Fault::Kill], 1));
}

#[test]
fn a_takeover_must_remember_what_is_stored() {
    assert_needed(&[Rule::Remember], ingest(TWO, &[Fault::Kill], 1));
}

#[test]
fn a_repeat_must_have_the_token_of_the_first_attempt() {
    assert_needed(&[Rule::SameToken], ingest(TWO, &[Fault::LoseAnswer], 1));
}

#[test]
fn a_repeat_must_have_the_bytes_of_the_first_attempt() {
    assert_needed(&[Rule::SameBytes], ingest(TWO, &[Fault::LoseAnswer], 1));
}

#[test]
fn a_token_must_never_stand_for_other_data() {
    assert_needed(&[Rule::FreshToken], ingest(TWO, &[], 0));
}

#[test]
fn a_repeat_that_is_taken_for_known_must_be_seen_in_the_table() {
    assert_needed(&[Rule::CheckRepeats], reconciled(TWO, &[Fault::CrashClickHouse], 1));
}

#[test]
fn the_commit_must_come_after_the_insert() {
    assert_needed(&[Rule::CommitAfterInsert], ingest(TWO, &[], 0));
}

#[test]
fn the_commit_must_come_after_the_dead_letters() {
    assert_needed(&[Rule::CommitAfterDeadLetters], ingest(THREE, &[], 0));
}

#[test]
fn a_worker_that_was_silent_must_not_send() {
    assert_needed(&[Rule::Fence], ingest(TWO, &[Fault::Silence], 1));
}

#[test]
fn a_worker_must_drain_before_it_lets_a_partition_go() {
    assert_needed(&[Rule::DrainBeforeRelease], ingest(TWO, &[Fault::Rebalance], 1));
}

#[test]
fn the_reconciler_must_leave_alone_what_is_not_committed() {
    assert_needed(
        &[Rule::ReconcileOnlyCommitted],
        reconciled(TWO, &[Fault::FailInsert], 1),
    );
}

#[test]
fn the_reconciler_must_wait_for_inserts_where_it_does_look_at_what_is_not_committed() {
    let rules = &[Rule::ReconcileOnlyCommitted, Rule::ReconcileAwaitsInserts];
    assert_needed(rules, reconciled(TWO, &[], 0));
    assert_holds(Setup {
        without: &[Rule::ReconcileOnlyCommitted],
        ..reconciled(TWO, &[], 0)
    });
}

#[test]
fn the_reconciler_must_see_the_same_rows_before_and_after() {
    assert_needed(&[Rule::ReconcileReadsTwice], reconciled(TWO, &[], 0));
}

#[test]
fn the_reconciler_must_look_back_as_far_as_an_insert_can_be_under_way() {
    let faults = &[Fault::FailInsert, Fault::DelayInsert];
    assert_needed(&[Rule::ReconcileLooksBack], reconciled(TWO, faults, 2));
}
