//! The state of a target, day by day: a pure machine, (standing, finding of a working day) -> standing.
//!
//! ```text
//!              below                breach_days in a row, or a drop
//! on_track ─────────► behind ──────────────────────────────────────► breached ◄─┐ below, or a drop
//!     ▲  ▲   clear      │                                               │ clear  │
//!     │  └──────────────┘                                               ▼        │
//!     └──────────────────────────────────────────────────────────── recovering ──┘
//!                                breach_days clear in a row
//! ```
//!
//! `clear` is at least [`MARGIN`] above the expected rate. A rate between the two changes no state: it only ends a row of days, so that a
//! rate which moves around the ramp does not make an alert come and go.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How far above the expected rate a rate must be to count as clear of it; for a rate of 1 it is enough to be 1.
pub const MARGIN: f64 = 0.01;

/// Where a target stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    OnTrack,
    /// Below the ramp, not yet for `breach_days` working days.
    Behind,
    Breached,
    /// Clear of the ramp after a breach, not yet for `breach_days` working days.
    Recovering,
    /// Nothing can be said.
    Undecided,
}

impl State {
    pub const ALL: [Self; 5] = [
        Self::OnTrack,
        Self::Behind,
        Self::Breached,
        Self::Recovering,
        Self::Undecided,
    ];

    /// As told and stored.
    pub const fn word(self) -> &'static str {
        match self {
            Self::OnTrack => "on_track",
            Self::Behind => "behind",
            Self::Breached => "breached",
            Self::Recovering => "recovering",
            Self::Undecided => "undecided",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// Whether it is one that people are called for.
    pub const fn is_alarming(self) -> bool {
        matches!(self, Self::Breached | Self::Recovering)
    }
}

/// Why a target stands where it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The rate is below what the ramp expects.
    BelowRamp,
    /// At least what the ramp expects.
    OnRamp,
    /// At least the margin above it.
    ClearOfRamp,
    /// The day fell too far below the same weekdays before it.
    SuddenDrop,
    /// Too few people, or the group would reveal one that has too few: no numbers.
    Suppressed,
    /// Events of the window have not arrived or are not counted, or a source is silent.
    IncompleteData,
    /// Too few have answered for a satisfaction.
    TooFewAnswers,
    /// Nothing to measure: nobody is entitled, or no feature is expected of anybody.
    NothingToMeasure,
    BeforeGoLive,
}

impl Reason {
    const ALL: [Self; 9] = [
        Self::BelowRamp,
        Self::OnRamp,
        Self::ClearOfRamp,
        Self::SuddenDrop,
        Self::Suppressed,
        Self::IncompleteData,
        Self::TooFewAnswers,
        Self::NothingToMeasure,
        Self::BeforeGoLive,
    ];

    /// As told and stored.
    pub const fn word(self) -> &'static str {
        match self {
            Self::BelowRamp => "below_ramp",
            Self::OnRamp => "on_ramp",
            Self::ClearOfRamp => "clear_of_ramp",
            Self::SuddenDrop => "sudden_drop",
            Self::Suppressed => "suppressed",
            Self::IncompleteData => "incomplete_data",
            Self::TooFewAnswers => "too_few_answers",
            Self::NothingToMeasure => "nothing_to_measure",
            Self::BeforeGoLive => "before_go_live",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.word() == word)
    }
}

/// What a working day says of a target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Finding {
    /// Nothing, for this reason.
    Undecided(Reason),
    Judged {
        rate: f64,
        expected: f64,
        /// Whether it is a sudden drop.
        dropped: bool,
    },
}

impl Finding {
    pub fn reason(self) -> Reason {
        match self {
            Self::Undecided(reason) => reason,
            Self::Judged { dropped: true, .. } => Reason::SuddenDrop,
            Self::Judged { rate, expected, .. } if rate < expected => Reason::BelowRamp,
            Self::Judged { rate, expected, .. } if rate < (expected + MARGIN).min(1.0) => Reason::OnRamp,
            Self::Judged { .. } => Reason::ClearOfRamp,
        }
    }
}

/// What is remembered of a target from one working day to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub state: State,
    /// The state that was decided last, which an undecided day leaves as it is: a breach does not end because a collector died.
    /// `Undecided` where none has been.
    pub decided: State,
    /// Working days in a row below the ramp (behind), or clear of it (recovering).
    pub days: u32,
}

impl Standing {
    pub const UNKNOWN: Self = Self {
        state: State::Undecided,
        decided: State::Undecided,
        days: 0,
    };

    /// The standing after a working day.
    pub fn next(self, finding: Finding, breach_days: u32) -> Self {
        let (decided, days) = match finding.reason() {
            // What is said of a group that is too small must not outlive its being shown.
            Reason::Suppressed => (State::Undecided, 0),
            Reason::SuddenDrop => (State::Breached, 0),
            Reason::BelowRamp => self.below(breach_days),
            Reason::OnRamp => self.between(),
            Reason::ClearOfRamp => self.clear(breach_days),
            Reason::IncompleteData | Reason::TooFewAnswers | Reason::NothingToMeasure | Reason::BeforeGoLive => {
                (self.decided, self.days)
            }
        };
        let state = match finding {
            Finding::Undecided(_) => State::Undecided,
            Finding::Judged { .. } => decided,
        };
        Self { state, decided, days }
    }

    fn below(self, breach_days: u32) -> (State, u32) {
        let days = match self.decided {
            State::Breached | State::Recovering => return (State::Breached, 0),
            State::Behind => self.days + 1,
            State::OnTrack | State::Undecided => 1,
        };
        if days >= breach_days {
            (State::Breached, 0)
        } else {
            (State::Behind, days)
        }
    }

    fn between(self) -> (State, u32) {
        match self.decided {
            State::Undecided => (State::OnTrack, 0),
            decided => (decided, 0),
        }
    }

    fn clear(self, breach_days: u32) -> (State, u32) {
        let days = match self.decided {
            State::OnTrack | State::Behind | State::Undecided => return (State::OnTrack, 0),
            State::Breached => 1,
            State::Recovering => self.days + 1,
        };
        if days >= breach_days {
            (State::OnTrack, 0)
        } else {
            (State::Recovering, days)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::State::*;
    use super::*;

    const fn day(rate: f64) -> Finding {
        Finding::Judged {
            rate,
            expected: 0.5,
            dropped: false,
        }
    }
    const BELOW: Finding = day(0.49);
    const BETWEEN: Finding = day(0.505);
    const CLEAR: Finding = day(0.52);
    const DROP: Finding = Finding::Judged {
        rate: 0.9,
        expected: 0.5,
        dropped: true,
    };
    const DEAD: Finding = Finding::Undecided(Reason::IncompleteData);
    const SMALL: Finding = Finding::Undecided(Reason::Suppressed);

    /// The states of a target with three breach days after each of `findings`.
    fn states(findings: &[Finding]) -> Vec<State> {
        let mut standing = Standing::UNKNOWN;
        let next = |finding: &Finding| {
            standing = standing.next(*finding, 3);
            standing.state
        };
        findings.iter().map(next).collect()
    }

    #[test]
    fn a_breach_takes_its_days_in_a_row_and_so_does_its_end() {
        let findings = [BELOW, BELOW, BELOW, BELOW, CLEAR, CLEAR, CLEAR];
        assert_eq!(
            states(&findings),
            [Behind, Behind, Breached, Breached, Recovering, Recovering, OnTrack]
        );
        // The row is broken.
        let findings = [BELOW, BELOW, BETWEEN, BELOW, BELOW, BELOW];
        assert_eq!(states(&findings), [Behind, Behind, Behind, Behind, Behind, Breached]);
        assert_eq!(states(&[BELOW, CLEAR, BELOW, BELOW, BELOW])[4], Breached);
        assert_eq!(states(&[BELOW, BELOW, CLEAR, BELOW])[2..], [OnTrack, Behind]);
    }

    #[test]
    fn around_the_ramp_nothing_comes_and_goes() {
        assert_eq!(states(&[BETWEEN, BETWEEN]), [OnTrack, OnTrack]);
        assert_eq!(states(&[BELOW, BETWEEN, BETWEEN]), [Behind, Behind, Behind]);
        let findings = [BELOW, BELOW, BELOW, BETWEEN, CLEAR, BETWEEN, CLEAR, CLEAR, CLEAR];
        let wanted = [
            Breached, Breached, Recovering, Recovering, Recovering, Recovering, OnTrack,
        ];
        assert_eq!(states(&findings)[2..], wanted);
        // Below again while recovering is the same breach.
        assert_eq!(
            states(&[BELOW, BELOW, BELOW, CLEAR, BELOW])[2..],
            [Breached, Recovering, Breached]
        );
    }

    #[test]
    fn a_sudden_drop_is_a_breach_at_once() {
        assert_eq!(
            states(&[CLEAR, DROP, CLEAR, CLEAR, CLEAR])[1..],
            [Breached, Recovering, Recovering, OnTrack]
        );
    }

    #[test]
    fn what_is_undecided_neither_makes_nor_ends_a_breach() {
        assert_eq!(
            states(&[BELOW, BELOW, DEAD, DEAD, BELOW])[2..],
            [Undecided, Undecided, Breached]
        );
        assert_eq!(states(&[BELOW, BELOW, BELOW, DEAD, BELOW])[3..], [Undecided, Breached]);
        // A group that was too small begins anew.
        assert_eq!(states(&[BELOW, BELOW, SMALL, BELOW])[2..], [Undecided, Behind]);
        assert_eq!(states(&[DEAD, DEAD]), [Undecided, Undecided]);
    }

    #[test]
    fn a_rate_of_one_is_clear_of_every_ramp() {
        let full = Finding::Judged {
            rate: 1.0,
            expected: 1.0,
            dropped: false,
        };
        assert_eq!(full.reason(), Reason::ClearOfRamp);
    }

    #[test]
    fn words_are_those_of_the_answers() {
        for state in State::ALL {
            assert_eq!(serde_json::json!(state), state.word());
            assert_eq!(State::parse(state.word()), Some(state));
        }
        for reason in Reason::ALL {
            assert_eq!(serde_json::json!(reason), reason.word());
            assert_eq!(Reason::parse(reason.word()), Some(reason));
        }
    }

    fn finding() -> impl Strategy<Value = Finding> {
        prop::sample::select(vec![BELOW, BELOW, BETWEEN, CLEAR, CLEAR, DROP, DEAD, SMALL])
    }

    proptest! {
        #[test]
        fn a_breach_without_a_drop_has_its_days_below_behind_it(
            findings in prop::collection::vec(finding(), 0..60), breach_days in 1_u32..6
        ) {
            let mut standing = Standing::UNKNOWN;
            // Days in a row, leaving out those that said nothing.
            let (mut below, mut clear) = (0, 0);
            for finding in findings {
                let before = standing;
                standing = before.next(finding, breach_days);
                match finding.reason() {
                    Reason::BelowRamp => (below, clear) = (below + 1, 0),
                    Reason::ClearOfRamp => (below, clear) = (0, clear + 1),
                    Reason::IncompleteData => {}
                    _ => (below, clear) = (0, 0),
                }
                if standing.state == Breached && !before.decided.is_alarming() {
                    prop_assert!(finding == DROP || below >= breach_days);
                }
                if standing.state == OnTrack && before.decided.is_alarming() {
                    prop_assert!(clear >= breach_days);
                }
                prop_assert!(standing.days < breach_days);
                prop_assert_eq!(standing.state == Undecided, matches!(finding, Finding::Undecided(_)));
            }
        }
    }
}
