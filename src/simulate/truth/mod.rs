//! What Uptake must answer about the simulated company: queries of the API, each with the numbers that must stand in its answer.
//!
//! Computed from the events as they were made, independently of the program's own SQL, calendar and windows.

mod ledger;
mod numbers;
#[cfg(test)]
mod tests;
mod window;

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::Serialize;
use serde_json::{Value, json};

pub use ledger::Ledger;
use numbers::{Dimension, Measure, Truth};
use window::{Grain, Window};

use super::company::{Company, add_days};
use super::deliveries::{Content, Delivery};
use super::wire;

/// The truth file.
#[derive(Debug, Serialize)]
pub struct TruthFile {
    pub system: String,
    pub window: Value,
    pub messages: Messages,
    pub answers: Vec<Answer>,
}

/// What was sent, by what must become of it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Messages {
    /// Distinct well-formed events: each must be counted once.
    pub accepted: u64,
    pub clicks: u64,
    /// Malformed messages by the reason for which each must be refused.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Byte-identical copies of accepted events: none must be counted.
    pub repeats: u64,
}

impl Messages {
    pub fn rejected(&self) -> u64 {
        self.rejected.values().sum()
    }

    pub fn sent(&self) -> u64 {
        self.accepted + self.rejected() + self.repeats
    }

    pub fn record(&mut self, delivery: &Delivery) {
        match &delivery.content {
            Content::Event(event) => {
                self.accepted += 1;
                self.clicks += u64::from(event.is_click());
            }
            Content::Repeat(_) => self.repeats += 1,
            Content::Malformed(_, number) => *self.rejected.entry(wire::reason(*number)).or_default() += 1,
        }
    }
}

/// One query (below `/api/v1`), and a part of what its answer must be: see [`super::compare`].
#[derive(Debug, Serialize)]
pub struct Answer {
    pub query: String,
    pub expect: Value,
}

/// The truth of a whole run.
pub fn truth_of(company: &Company, ledger: &Ledger, messages: Messages, min_group_size: usize) -> TruthFile {
    let plan = &company.plan;
    let all = Window {
        from: plan.start,
        to: plan.end(),
    };
    let asker = Asker {
        system: &plan.system,
        truth: Truth { ledger, min_group_size },
        answers: Vec::new(),
    };
    TruthFile {
        system: plan.system.clone(),
        window: json!({"from": all.from, "to": all.to, "timezone": plan.zone.iana_name()}),
        messages,
        answers: asker.ask(all),
    }
}

struct Asker<'a> {
    system: &'a str,
    truth: Truth<'a>,
    answers: Vec<Answer>,
}

impl Asker<'_> {
    fn ask(mut self, all: Window) -> Vec<Answer> {
        let last_day = add_days(all.to, -1);
        let last_28_days = Window {
            from: add_days(all.to, -28),
            to: all.to,
        };
        for measure in [Measure::Active, Measure::Login] {
            self.adoption(explicit(all), all, measure, None, None);
            for by in Dimension::ALL {
                self.adoption(explicit(all), all, measure, Some(by), None);
            }
            self.adoption(rolling(last_day), last_28_days, measure, Some(Dimension::Unit), None);
            for by in [None, Some(Dimension::Unit), Some(Dimension::Phase)] {
                self.adoption(explicit(all), all, measure, by, Some(Grain::Week));
            }
        }
        self.adoption(explicit(all), all, Measure::Active, None, Some(Grain::Day));
        self.adoption(
            explicit(all),
            all,
            Measure::Active,
            Some(Dimension::Unit),
            Some(Grain::Month),
        );
        for month in all.split(Grain::Month) {
            let window = Window::month_of(month.from);
            let parameters = format!("window=month&on={}", month.from);
            self.adoption(parameters, window, Measure::Active, Some(Dimension::Unit), None);
        }
        for day in [all.from, last_day] {
            self.adoption(
                format!("window=week&on={day}"),
                Window::week_of(day),
                Measure::Active,
                Some(Dimension::Phase),
                None,
            );
        }
        for by in [
            None,
            Some(Dimension::Unit),
            Some(Dimension::Role),
            Some(Dimension::Phase),
        ] {
            let expect = self.truth.logins(last_28_days, by);
            self.push("logins", &rolling(last_day), by, last_28_days, expect);
        }
        let last_fortnight = all.last(14);
        let second_half = Window {
            from: add_days(all.from, all.len() / 2),
            to: all.to,
        };
        for (parameters, window) in [
            (explicit(all), all),
            (rolling(last_day), last_28_days),
            (explicit(second_half), second_half),
            (explicit(last_fortnight), last_fortnight),
        ] {
            let expect = self.truth.features(window);
            self.push("features", &parameters, None, window, expect);
            let expect = self.truth.heatmap_hours(window);
            self.push("heatmap/hours", &parameters, None, window, expect);
            for by in [Dimension::Unit, Dimension::Role] {
                let expect = self.truth.heatmap_features(window, by);
                self.push("heatmap/features", &parameters, Some(by), window, expect);
            }
        }
        self.answers
    }

    fn adoption(
        &mut self,
        parameters: String,
        window: Window,
        measure: Measure,
        by: Option<Dimension>,
        grain: Option<Grain>,
    ) {
        let mut parameters = parameters;
        if measure == Measure::Login {
            parameters += "&measure=login";
        }
        match grain {
            None => {}
            Some(Grain::Day) => parameters += "&grain=day",
            Some(Grain::Week) => parameters += "&grain=week",
            Some(Grain::Month) => parameters += "&grain=month",
        }
        let expect = self.truth.adoption(window, measure, by, grain);
        self.push("adoption", &parameters, by, window, expect);
    }

    fn push(&mut self, resource: &str, parameters: &str, by: Option<Dimension>, window: Window, mut expect: Value) {
        let by = by.map(|by| format!("&by={}", by.name())).unwrap_or_default();
        expect["system"] = json!(self.system);
        expect["window"] =
            json!({"from": window.from, "to": window.to, "timezone": self.truth.ledger.zone.iana_name()});
        self.answers.push(Answer {
            query: format!("/systems/{}/{resource}?{parameters}{by}", self.system),
            expect,
        });
    }
}

fn explicit(window: Window) -> String {
    format!("from={}&to={}", window.from, window.to)
}

fn rolling(on: Date) -> String {
    format!("window=last_28d&on={on}")
}
