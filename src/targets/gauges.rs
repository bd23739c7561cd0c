//! What Prometheus is told of targets. Groups that are suppressed have no series, not even one that says so.

use std::collections::HashSet;

use super::Standings;
use super::state::{Reason, State};
use crate::measure::{Choice, Dimension};
use crate::metrics::{SystemLabel, TargetLabel, TargetMetrics, TargetStateLabel};
use crate::store::targets::TargetDay;

/// Keeps the gauges as they should be. What is gone is removed one by one, so that a scrape never finds what stays missing.
pub struct Gauges {
    metrics: TargetMetrics,
    systems: HashSet<SystemLabel>,
    targets: HashSet<TargetLabel>,
    states: HashSet<(Which, TargetStateLabel)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Which {
    Now,
    Decided,
}

impl Gauges {
    pub fn new(metrics: &TargetMetrics) -> Self {
        Self {
            metrics: metrics.clone(),
            systems: HashSet::new(),
            targets: HashSet::new(),
            states: HashSet::new(),
        }
    }

    pub fn show(&mut self, standings: &[Standings]) {
        let (mut systems, mut targets, mut states) = (HashSet::new(), HashSet::new(), HashSet::new());
        for standing in standings {
            systems.insert(self.show_system(standing));
            let shown = standing
                .days
                .iter()
                .filter(|row| row.reason != Reason::Suppressed.word());
            for row in shown {
                states.extend(self.show_states(row));
                targets.extend(self.show_numbers(row));
            }
        }
        for gone in self.targets.difference(&targets) {
            self.metrics.rate.remove(gone);
            self.metrics.expected_rate.remove(gone);
            self.metrics.eligible.remove(gone);
        }
        for (which, gone) in self.states.difference(&states) {
            self.family(*which).remove(gone);
        }
        for gone in self.systems.difference(&systems) {
            self.metrics.working_day.remove(gone);
            self.metrics.evaluated_through.remove(gone);
            self.metrics.data_complete.remove(gone);
        }
        (self.systems, self.targets, self.states) = (systems, targets, states);
    }

    fn show_system(&self, standings: &Standings) -> SystemLabel {
        let label = SystemLabel {
            system: standings.system.clone(),
        };
        let metrics = &self.metrics;
        metrics
            .working_day
            .get_or_create(&label)
            .set(standings.is_working_day.into());
        if let Some((end, complete)) = standings.last {
            metrics
                .evaluated_through
                .get_or_create(&label)
                .set(end.as_second() as f64);
            metrics.data_complete.get_or_create(&label).set(complete.into());
        }
        label
    }

    /// `None` where the day has no numbers.
    fn show_numbers(&self, row: &TargetDay) -> Option<TargetLabel> {
        let label = TargetLabel {
            system: row.system.clone(),
            target: row.target.clone(),
            by: dimension(row),
            group: row.group_name.clone(),
        };
        self.metrics.rate.get_or_create(&label).set(row.rate?);
        self.metrics.expected_rate.get_or_create(&label).set(row.expected?);
        self.metrics.eligible.get_or_create(&label).set(row.eligible? as i64);
        Some(label)
    }

    /// A series for each state that a target can be in, so that a change of state ends none.
    fn show_states(&self, row: &TargetDay) -> Vec<(Which, TargetStateLabel)> {
        let mut labels = Vec::new();
        for (which, is_in) in [(Which::Now, &row.state), (Which::Decided, &row.decided)] {
            for state in State::ALL {
                let label = TargetStateLabel {
                    system: row.system.clone(),
                    target: row.target.clone(),
                    by: dimension(row),
                    group: row.group_name.clone(),
                    state: state.word(),
                };
                let gauge = self.family(which).get_or_create(&label);
                gauge.set((state.word() == is_in).into());
                drop(gauge);
                labels.push((which, label));
            }
        }
        labels
    }

    fn family(
        &self,
        which: Which,
    ) -> &prometheus_client::metrics::family::Family<TargetStateLabel, prometheus_client::metrics::gauge::Gauge> {
        match which {
            Which::Now => &self.metrics.state,
            Which::Decided => &self.metrics.decided_state,
        }
    }
}

fn dimension(row: &TargetDay) -> &'static str {
    Dimension::parse(&row.dimension).unwrap_or_default().word()
}
