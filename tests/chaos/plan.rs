//! What happens in a round, drawn from its seed.

use std::time::Duration;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How long the producer sends, faults aside.
pub const SENDING: Duration = Duration::from_millis(1_500);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    WorkerKilled,
    KilledInBody,
    KilledBeforeAnswer,
    WorkerHalted,
    WorkerZombie,
    RebalanceStorm,
    EngineKilled,
    BrokerKilled,
    EngineUnreachable,
    BodyCut,
    BodyHeld,
    AnswerCut,
    AnswerHeld,
    EngineSlow,
    RejectsRefused,
    RejectsStalled,
    RepeatsAtOnce,
    RepeatsLater,
    Malformed,
    TransactionCommitted,
    TransactionAborted,
    Compaction,
    TopicAnew,
}

use Fault::*;

/// What, how often it is drawn compared with the others, and its name. What costs seconds is rare.
const FAULTS: [(Fault, u32, &str); 23] = [
    (WorkerKilled, 8, "worker killed (SIGKILL)"),
    (KilledInBody, 6, "all workers killed while an insert is cut in its body"),
    (
        KilledBeforeAnswer,
        6,
        "all workers killed between an insert and its commit",
    ),
    (WorkerHalted, 6, "worker halted for a moment (SIGSTOP, SIGCONT)"),
    (WorkerZombie, 3, "worker halted longer than its session (zombie)"),
    (RebalanceStorm, 6, "rebalance storm (workers join and leave)"),
    (EngineKilled, 3, "engine killed (SIGKILL)"),
    (BrokerKilled, 1, "broker killed (SIGKILL)"),
    (EngineUnreachable, 5, "engine unreachable"),
    (BodyCut, 6, "connection to the engine cut in a body"),
    (BodyHeld, 4, "body to the engine held"),
    (AnswerCut, 6, "connection to the engine cut before an answer"),
    (AnswerHeld, 5, "answer of the engine held"),
    (EngineSlow, 5, "engine slow"),
    (RejectsRefused, 2, "rejects topic refuses (max.message.bytes)"),
    (RejectsStalled, 4, "rejects topic stalls (min.insync.replicas)"),
    (RepeatsAtOnce, 10, "producer repeats at once"),
    (
        RepeatsLater,
        4,
        "producer repeats later than the identity memory reaches",
    ),
    (Malformed, 10, "malformed, late and early events"),
    (TransactionCommitted, 5, "transaction committed (marker)"),
    (TransactionAborted, 5, "transaction aborted"),
    (Compaction, 2, "offsets compacted away"),
    (TopicAnew, 2, "topic deleted and created anew"),
];

impl Fault {
    pub fn name(self) -> &'static str {
        FAULTS
            .iter()
            .find(|(fault, ..)| *fault == self)
            .map_or("", |(.., name)| name)
    }

    /// Happens in what is sent; everything else happens to a part.
    pub fn is_of_producer(self) -> bool {
        self >= RepeatsAtOnce
    }

    /// What may leave the rollups apart from the raw events until the reconciler has run (docs/guarantees.md).
    pub fn needs_reconciler(self) -> bool {
        matches!(self, WorkerZombie | EngineKilled | RepeatsLater)
    }
}

/// A fault at its moment. `pick` chooses what it hits.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub at: Duration,
    pub fault: Fault,
    pub pick: usize,
    /// How long it lasts, in thousandths of what is usual for it.
    pub permille: u32,
}

#[derive(Debug)]
pub struct Plan {
    pub seed: u64,
    pub workers: usize,
    pub partitions: i32,
    pub batch_rows: usize,
    /// By time.
    pub moments: Vec<Moment>,
}

impl Plan {
    pub fn of(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let count = rng.random_range(2..=7);
        let mut moments: Vec<Moment> = (0..count).map(|_| moment(&mut rng)).collect();
        moments.sort_by_key(|moment| moment.at);
        Self {
            seed,
            workers: rng.random_range(1..=4),
            partitions: rng.random_range(1..=4),
            batch_rows: rng.random_range(10..=80),
            moments,
        }
    }

    pub fn has(&self, what: impl Fn(Fault) -> bool) -> bool {
        self.moments.iter().any(|moment| what(moment.fault))
    }
}

fn moment(rng: &mut ChaCha8Rng) -> Moment {
    let fault = FAULTS
        .choose_weighted(rng, |(_, weight, _)| *weight)
        .map_or(WorkerKilled, |(fault, ..)| *fault);
    Moment {
        at: SENDING.mul_f64(rng.random_range(0.0..1.0)),
        fault,
        pick: rng.random_range(0..1_000),
        permille: rng.random_range(300..1_500),
    }
}
