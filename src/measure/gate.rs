//! The gate of a phase (M21): may the next one start? A missing input makes it undecided, never a pass.

use jiff::civil::Date;
use serde::Serialize;
use utoipa::ToSchema;

use super::adoption::{self, Group, Measure};
use super::completeness::{self, Share};
use super::satisfaction::{self, Scores};
use super::{Cut, DataQuality, Dimension, Error, Reader, SystemContext, Window, WindowAnswer};
use crate::definition::Phase;

/// Activity must be above it.
pub const ACTIVITY: f64 = 0.80;
pub const SATISFACTION: f64 = 0.85;
pub const RESPONSE_RATE: f64 = 0.30;
pub const ANSWERS: u64 = 10;
pub const COMPLETENESS: f64 = 0.98;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Pass,
    Fail,
    Undecided,
}

#[derive(Debug, Clone)]
pub struct Request {
    pub system: SystemContext,
    pub phase: Phase,
    /// The last 28 days, none before go-live.
    pub window: Window,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Gate {
    pub system: String,
    pub phase: String,
    pub name: String,
    #[schema(value_type = String, format = Date)]
    pub go_live: Date,
    /// The last 28 days, none before go-live.
    pub window: WindowAnswer,
    /// Undecided if any criterion is, else a failure if any is one.
    pub verdict: Verdict,
    pub criteria: Vec<Criterion>,
    pub data_quality: DataQuality,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Adoption rate (M3); above the threshold.
    Activity,
    /// M18; at least the threshold.
    Satisfaction,
    /// The phase's own KPI: 1 when marked met, 0 when marked not met.
    Kpi,
    /// M24; at least the threshold.
    Completeness,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Criterion {
    pub criterion: Subject,
    pub verdict: Verdict,
    pub value: Option<f64>,
    pub threshold: f64,
    /// Why it is undecided.
    pub reason: Option<String>,
}

/// What the criteria are judged by; `None` where the phase has nobody.
struct Inputs {
    live: bool,
    activity: Option<Group>,
    scores: Option<Scores>,
    kpi_met: Option<bool>,
    share: Share,
}

pub async fn ask(reader: &Reader, request: Request) -> Result<Gate, Error> {
    let Request { system, phase, window } = request;
    let adoption = adoption::Request {
        system: system.clone(),
        window,
        cut: Cut::by(Dimension::Phase),
        measure: Measure::Active,
        grain: None,
    };
    let satisfaction = satisfaction::Request {
        system: system.clone(),
        window,
        cut: Cut::by(Dimension::Phase),
    };
    let (adoption, satisfaction, share) = tokio::try_join!(
        adoption::ask(reader, adoption),
        satisfaction::ask(reader, satisfaction),
        completeness::share(reader, &system, window),
    )?;
    let criteria = criteria(Inputs {
        live: phase.go_live < window.to,
        activity: adoption
            .groups
            .into_iter()
            .find(|group| group.key.phase.as_deref() == Some(&phase.id)),
        scores: satisfaction
            .groups
            .into_iter()
            .find(|group| group.key.phase.as_deref() == Some(&phase.id))
            .map(|group| group.scores),
        kpi_met: phase.kpi_met,
        share,
    });
    Ok(Gate {
        window: window.answer(&system),
        system: system.name,
        phase: phase.id,
        name: phase.name,
        go_live: phase.go_live,
        verdict: verdict(&criteria),
        criteria,
        data_quality: adoption.data_quality,
    })
}

fn verdict(criteria: &[Criterion]) -> Verdict {
    let any = |verdict| criteria.iter().any(|criterion| criterion.verdict == verdict);
    if any(Verdict::Undecided) {
        Verdict::Undecided
    } else if any(Verdict::Fail) {
        Verdict::Fail
    } else {
        Verdict::Pass
    }
}

fn criteria(inputs: Inputs) -> Vec<Criterion> {
    let live = if inputs.live {
        Ok(())
    } else {
        Err("the phase is not live yet".to_owned())
    };
    let activity = live.clone().and_then(|()| activity(inputs.activity.as_ref()));
    let satisfaction = live.and_then(|()| satisfaction_of(inputs.scores.as_ref()));
    let kpi = inputs.kpi_met.map(|met| (met, f64::from(u8::from(met))));
    let completeness = inputs.share.completeness.map(|share| (share >= COMPLETENESS, share));
    vec![
        criterion(Subject::Activity, ACTIVITY, activity),
        criterion(Subject::Satisfaction, SATISFACTION, satisfaction),
        criterion(
            Subject::Kpi,
            1.0,
            kpi.ok_or_else(|| "nobody has marked the KPI met or not met".to_owned()),
        ),
        criterion(
            Subject::Completeness,
            COMPLETENESS,
            completeness.ok_or_else(|| "no worker has reported, or nothing is expected".to_owned()),
        ),
    ]
}

/// `judged`: whether it is met, and its value; or why that cannot be told.
fn criterion(criterion: Subject, threshold: f64, judged: Result<(bool, f64), String>) -> Criterion {
    let (verdict, value, reason) = match judged {
        Ok((true, value)) => (Verdict::Pass, Some(value), None),
        Ok((false, value)) => (Verdict::Fail, Some(value), None),
        Err(reason) => (Verdict::Undecided, None, Some(reason)),
    };
    Criterion {
        criterion,
        verdict,
        value,
        threshold,
        reason,
    }
}

fn activity(group: Option<&Group>) -> Result<(bool, f64), String> {
    let group = group.ok_or("nobody is entitled in the phase")?;
    match (group.entitled, group.active, group.rate) {
        // Whole numbers: 0.8 of a group is no f64.
        (Some(entitled), Some(active), Some(rate)) => Ok((active * 100 > entitled * 80, rate)),
        _ => Err("withheld: too few people".to_owned()),
    }
}

fn satisfaction_of(scores: Option<&Scores>) -> Result<(bool, f64), String> {
    let scores = scores.ok_or("nobody is entitled in the phase")?;
    let known = (scores.entitled, scores.respondents, scores.scored, scores.satisfied);
    let (Some(entitled), Some(respondents), Some(scored), Some(satisfied)) = known else {
        return Err("withheld: too few people are entitled or answered".to_owned());
    };
    if scored < ANSWERS {
        return Err(format!("{scored} answers: expected at least {ANSWERS}"));
    }
    if respondents * 100 < entitled * 30 {
        return Err(format!(
            "{respondents} of {entitled} answered: expected a response rate of at least {RESPONSE_RATE}"
        ));
    }
    Ok((satisfied * 100 >= scored * 85, satisfied as f64 / scored as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(change: impl FnOnce(&mut Inputs)) -> (Verdict, Vec<Verdict>) {
        let mut inputs = Inputs {
            live: true,
            activity: Some(Group {
                key: Default::default(),
                entitled: Some(100),
                active: Some(81),
                rate: Some(0.81),
                unentitled_active: None,
                suppressed: false,
            }),
            scores: Some(Scores {
                entitled: Some(100),
                respondents: Some(30),
                response_rate: Some(0.3),
                scored: Some(40),
                satisfied: Some(34),
                rate: Some(0.85),
                suppressed: false,
            }),
            kpi_met: Some(true),
            share: Share {
                completeness: Some(0.98),
                arrived: 98,
                refused: 2,
                waiting: 0,
                stalled: 0.0,
                stalled_sources: Vec::new(),
            },
        };
        change(&mut inputs);
        let criteria = criteria(inputs);
        for criterion in &criteria {
            let undecided = criterion.verdict == Verdict::Undecided;
            assert_eq!(
                (undecided, undecided),
                (criterion.reason.is_some(), criterion.value.is_none())
            );
        }
        (
            verdict(&criteria),
            criteria.iter().map(|criterion| criterion.verdict).collect(),
        )
    }

    #[test]
    fn the_gate_passes_on_its_thresholds_and_fails_beside_them() {
        use Verdict::{Fail, Pass};
        assert_eq!(judged(|_| {}), (Pass, vec![Pass; 4]));
        let fails = |change: fn(&mut Inputs), at: usize| {
            let (verdict, criteria) = judged(change);
            let wanted: Vec<_> = (0..4).map(|i| if i == at { Fail } else { Pass }).collect();
            assert_eq!((verdict, criteria), (Fail, wanted));
        };
        // Activity must be above 80 %, the others at least as high as told.
        fails(|inputs| inputs.activity.as_mut().unwrap().active = Some(80), 0);
        fails(|inputs| inputs.scores.as_mut().unwrap().satisfied = Some(33), 1);
        fails(|inputs| inputs.kpi_met = Some(false), 2);
        fails(|inputs| inputs.share.completeness = Some(0.979), 3);
    }

    #[test]
    fn a_missing_input_leaves_it_undecided_even_beside_a_failure() {
        use Verdict::Undecided;
        type Taken = fn(&mut Inputs);
        let missing: [(Taken, &[usize]); 9] = [
            (|inputs| inputs.live = false, &[0, 1]),
            (|inputs| inputs.activity = None, &[0]),
            (|inputs| inputs.activity.as_mut().unwrap().active = None, &[0]),
            (|inputs| inputs.scores = None, &[1]),
            (|inputs| inputs.scores.as_mut().unwrap().scored = None, &[1]),
            (|inputs| inputs.scores.as_mut().unwrap().scored = Some(9), &[1]),
            (|inputs| inputs.scores.as_mut().unwrap().respondents = Some(29), &[1]),
            (|inputs| inputs.kpi_met = None, &[2]),
            (|inputs| inputs.share.completeness = None, &[3]),
        ];
        for (i, (change, at)) in missing.into_iter().enumerate() {
            for failing in [false, true] {
                let (verdict, criteria) = judged(|inputs| {
                    change(inputs);
                    if failing && i != 7 {
                        inputs.kpi_met = Some(false);
                    }
                });
                assert_eq!(verdict, Undecided, "{i}");
                assert!(at.iter().all(|&at| criteria[at] == Undecided), "{i}: {criteria:?}");
            }
        }
    }
}
