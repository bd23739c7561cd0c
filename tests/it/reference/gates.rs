//! M24 and M21: how much of what was expected arrived, and whether the next phase may start.

use std::collections::BTreeMap;

use jiff::ToSpan;
use jiff::civil::Date;
use serde_json::{Value, json};

use super::world::{World, days, source};

impl World {
    /// M24, where nothing was refused and everything has been counted.
    pub fn completeness(&self, from: Date, to: Date) -> Value {
        let mut sent: BTreeMap<&str, BTreeMap<Date, usize>> = BTreeMap::new();
        for event in &self.events {
            *sent
                .entry(source(&event.deed))
                .or_default()
                .entry(event.day)
                .or_default() += 1;
        }
        let mut arrived = 0;
        let mut stalled = 0.0;
        let mut silent = Vec::new();
        for (source, sent) in &sent {
            arrived += days(from, to).filter_map(|day| sent.get(&day)).sum::<usize>();
            let quiet = days(from, to).filter(|day| self.is_working_day(*day) && !sent.contains_key(day));
            let missed: f64 = quiet.map(|day| self.would_have_sent(sent, day)).sum();
            stalled += missed;
            if missed > 0.0 {
                silent.push(*source);
            }
        }
        let expected = arrived as f64 + stalled;
        json!({
            "completeness": (expected > 0.0).then(|| arrived as f64 / expected), "arrived": arrived, "refused": 0, "waiting": 0,
            "stalled": stalled, "stalled_sources": silent,
        })
    }

    /// The mean of the working days with events among the 28 days that end with the last one before `day`, if they are three quarters of them.
    fn would_have_sent(&self, sent: &BTreeMap<Date, usize>, day: Date) -> f64 {
        let before: Vec<_> = sent
            .iter()
            .filter(|(on, _)| **on < day && self.is_working_day(**on))
            .collect();
        let Some(last) = before.last().map(|(on, _)| **on) else {
            return 0.0;
        };
        if last < day.saturating_sub(90.days()) {
            return 0.0;
        }
        let begin = last.saturating_sub(27.days());
        let working = days(begin, last.saturating_add(1.day())).filter(|on| self.is_working_day(*on));
        let counts: Vec<_> = before
            .iter()
            .filter(|(on, _)| **on >= begin)
            .map(|(_, count)| **count)
            .collect();
        if 4 * counts.len() < 3 * working.count() {
            return 0.0;
        }
        counts.iter().sum::<usize>() as f64 / counts.len() as f64
    }

    /// M21 on a day on which the phase is live.
    pub fn gate(&self, phase: &str, go_live: Date, on: Date) -> Value {
        let (from, to) = (go_live.max(on.saturating_sub(27.days())), on.saturating_add(1.day()));
        let of_phase = |answer: &Value| {
            let groups = answer["groups"].as_array().unwrap();
            groups
                .iter()
                .find(|group| group["phase"] == phase)
                .cloned()
                .unwrap_or_default()
        };
        let adoption = of_phase(&self.adoption(from, to, "phase", "active", None));
        let activity = adoption["rate"].as_f64().map(|rate| {
            let [active, entitled] = ["active", "entitled"].map(|key| adoption[key].as_u64().unwrap());
            (5 * active > 4 * entitled, rate)
        });
        let scores = of_phase(&self.satisfaction(from, to, "phase"));
        let satisfaction = scores["rate"].as_f64().and_then(|rate| {
            let [scored, satisfied, respondents, entitled] =
                ["scored", "satisfied", "respondents", "entitled"].map(|key| scores[key].as_u64().unwrap());
            (scored >= 10 && 10 * respondents >= 3 * entitled).then_some((20 * satisfied >= 17 * scored, rate))
        });
        let kpi = self.kpis.get(phase).map(|met| (*met, f64::from(u8::from(*met))));
        let completeness = self.completeness(from, to)["completeness"].as_f64();
        let completeness = completeness.map(|share| (share >= 0.98, share));

        let criteria = [
            ("activity", activity),
            ("satisfaction", satisfaction),
            ("kpi", kpi),
            ("completeness", completeness),
        ];
        let verdict = match criteria.map(|(_, judged)| judged.map(|(met, _)| met)) {
            judged if judged.contains(&None) => "undecided",
            judged if judged.contains(&Some(false)) => "fail",
            _ => "pass",
        };
        let criteria = criteria.map(|(criterion, judged)| {
            let verdict = match judged {
                None => "undecided",
                Some((false, _)) => "fail",
                Some((true, _)) => "pass",
            };
            json!({"criterion": criterion, "verdict": verdict, "value": judged.map(|(_, value)| value)})
        });
        json!({"verdict": verdict, "criteria": criteria})
    }
}
