//! One local day of one system: what it says of every target and group.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use xxhash_rust::xxh3::xxh3_128;

use super::rates::{Groups, Measured, Rate, Rates};
use super::state::{Finding, Reason, Standing, State};
use crate::calendar::Ramp;
use crate::definition::{Definition, Dimension, Metric, Target};
use crate::measure::gate::COMPLETENESS;
use crate::measure::window::date_of;
use crate::measure::{Choice, Error, Reader, SystemContext, Window, completeness, quality};
use crate::store::systems::day_of_date;
use crate::store::targets::TargetDay;

/// A fall is judged only where at least so many people are there on a usual day: of fewer, a third may just be one.
const USUAL_PEOPLE: f64 = 10.0;
/// How many same weekdays a day is compared with, and how many weeks back they may lie.
const SAME_WEEKDAYS: usize = 4;
const WEEKS_BACK: i64 = 12;

/// A target and one of its groups.
type Key = (String, String);

/// What was known before the day.
pub type Before = HashMap<Key, TargetDay>;

/// Everything that one day's evaluation needs.
pub struct Day<'a> {
    pub reader: &'a Reader,
    pub system: &'a SystemContext,
    pub definition: &'a Definition,
    pub day: Date,
}

/// What was measured for all targets of one metric and dimension.
struct Measurements {
    /// Of the last 28 days, none before go-live.
    rates: HashMap<Window, Groups>,
    /// Of single days: the day itself and those it is compared with.
    days: HashMap<Window, Groups>,
}

/// What a day is compared with, where it fell.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Fall {
    value: f64,
    usual: f64,
}

/// What a day says of one group.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Said {
    finding: Finding,
    /// How many people it is about.
    eligible: Option<u64>,
    fall: Option<Fall>,
}

impl Said {
    fn nothing(reason: Reason) -> Self {
        Self {
            finding: Finding::Undecided(reason),
            eligible: None,
            fall: None,
        }
    }
}

impl Day<'_> {
    /// Why the day cannot be judged; `None` where its data are complete. A collector that died must not look like users who stopped.
    pub async fn incomplete(&self) -> Result<Option<String>, Error> {
        let day = single(self.day);
        let window = last_28_days(self.day, None);
        let (quality, of_day, of_window) = tokio::try_join!(
            quality::ask(self.reader, self.system, day),
            completeness::share(self.reader, self.system, day),
            completeness::share(self.reader, self.system, window),
        )?;
        let end = day.end(&self.system.timezone);
        Ok(match (quality.complete_through, of_window.completeness) {
            _ if quality.rebuilding => Some("the counts are being derived again in a new time zone".to_owned()),
            (None, _) => Some("no ingest worker has reported yet".to_owned()),
            (Some(through), _) if through < end => Some(format!("events after {through} are not counted yet")),
            _ if !of_day.stalled_sources.is_empty() => {
                Some(format!("silent on {}: {}", self.day, of_day.stalled_sources.join(", ")))
            }
            (_, None) => Some("no event of the last 28 days has arrived".to_owned()),
            (_, Some(share)) if share < COMPLETENESS => Some(format!(
                "{:.1} % of the events expected in the last 28 days arrived: expected at least {} %",
                share * 100.0,
                COMPLETENESS * 100.0
            )),
            _ => None,
        })
    }

    /// What the day says of every group of every target. `complete` is whether its data are.
    pub async fn rows(&self, before: &Before, complete: bool, now: Timestamp) -> Result<Vec<TargetDay>, Error> {
        let measured = if complete {
            self.measure().await?
        } else {
            HashMap::new()
        };
        let mut rows = Vec::new();
        for target in &self.definition.targets {
            let findings = match measured.get(&(target.metric, target.by)) {
                Some(measurements) => self.findings(target, measurements),
                None => self.unknown(target, before),
            };
            for (group, said) in findings {
                let known = before.get(&(target.id.clone(), group.clone()));
                let known = known.filter(|row| {
                    (row.metric.as_str(), row.dimension.as_str()) == (target.metric.name(), target.by.word())
                });
                rows.push(self.row(target, group, known, said, now));
            }
        }
        Ok(rows)
    }

    /// A few questions for each metric and dimension, however many targets they have.
    async fn measure(&self) -> Result<HashMap<(Metric, Dimension), Measurements>, Error> {
        let rates = Rates {
            reader: self.reader,
            system: self.system,
            calendar: &self.definition.calendar,
        };
        let mut all = HashMap::new();
        for target in &self.definition.targets {
            let kind @ (metric, by) = (target.metric, target.by);
            if all.contains_key(&kind) {
                continue;
            }
            let (windows, compared) = (self.windows(by), self.compared(metric, by));
            let measurements = if daily(metric) == metric {
                let both: HashSet<_> = windows.iter().chain(&compared).copied().collect();
                let answers = rates.of(metric, by, &Vec::from_iter(both)).await?;
                Measurements {
                    rates: only(&answers, &windows),
                    days: only(&answers, &compared),
                }
            } else {
                Measurements {
                    rates: rates.of(metric, by, &windows).await?,
                    days: rates.of(daily(metric), by, &compared).await?,
                }
            };
            all.insert(kind, measurements);
        }
        Ok(all)
    }

    /// Every window that a group of this dimension may need.
    fn windows(&self, by: Dimension) -> Vec<Window> {
        let phases = self.definition.phases.iter().filter(|_| by == Dimension::Phase);
        let starts = phases.map(|phase| Some(phase.go_live)).chain([self.earliest()]);
        let live = starts.filter(|start| start.is_none_or(|start| start <= self.day));
        let windows: HashSet<_> = live.map(|start| last_28_days(self.day, start)).collect();
        windows.into_iter().collect()
    }

    /// The day and those that it is compared with; none where no target asks for it or there are too few.
    fn compared(&self, metric: Metric, by: Dimension) -> Vec<Window> {
        let mut of_kind = self.definition.targets.iter();
        let is_asked = of_kind.any(|target| (target.metric, target.by) == (metric, by) && target.drop.is_some());
        match self.compared_days(None) {
            days if is_asked && !days.is_empty() => days.into_iter().chain([self.day]).map(single).collect(),
            _ => Vec::new(),
        }
    }

    fn earliest(&self) -> Option<Date> {
        self.definition.phases.iter().map(|phase| phase.go_live).min()
    }

    /// A phase begins with its own go-live; every other group, with people of several phases in it, with the first of the system.
    /// A system without phases has been live all along.
    fn go_live(&self, by: Dimension, group: &str) -> Option<Date> {
        let mut phases = self.definition.phases.iter();
        let own = phases.find(|phase| by == Dimension::Phase && phase.id == group);
        own.map_or_else(|| self.earliest(), |phase| Some(phase.go_live))
    }

    /// The last working days before this one on the same weekday, newest first, none before `go_live`; empty where there are too few.
    fn compared_days(&self, go_live: Option<Date>) -> Vec<Date> {
        let weeks = (1..=WEEKS_BACK).map(|week| self.day.saturating_sub((7 * week).days()));
        let worked = weeks.filter(|day| self.definition.calendar.is_working_day(*day));
        let live = worked.filter(|day| go_live.is_none_or(|start| start <= *day));
        let days: Vec<_> = live.take(SAME_WEEKDAYS).collect();
        if days.len() == SAME_WEEKDAYS { days } else { Vec::new() }
    }

    fn findings(&self, target: &Target, measured: &Measurements) -> HashMap<String, Said> {
        let names = measured.rates.values().flat_map(HashMap::keys).cloned();
        let phases = self.definition.phases.iter().map(|phase| phase.id.clone());
        let whole = (target.by == Dimension::None).then(String::new);
        let names: BTreeSet<_> = match target.by {
            Dimension::Phase => names.chain(phases).collect(),
            _ => names.chain(whole).collect(),
        };
        let finding = |group: String| {
            let found = self.finding(target, &group, measured);
            (group, found)
        };
        names.into_iter().map(finding).collect()
    }

    fn finding(&self, target: &Target, group: &str, measured: &Measurements) -> Said {
        let go_live = self.go_live(target.by, group);
        if go_live.is_some_and(|start| self.day < start) {
            return Said::nothing(Reason::BeforeGoLive);
        }
        let groups = measured.rates.get(&last_28_days(self.day, go_live));
        let measured_rate: Option<Measured> = groups.and_then(|groups| groups.get(group)).copied();
        let Rate { rate, eligible } = match measured_rate {
            Some(Ok(rate)) => rate,
            Some(Err(reason)) => return Said::nothing(reason),
            None => return Said::nothing(Reason::NothingToMeasure),
        };
        let fall = target
            .drop
            .and_then(|drop| self.fall(drop, group, go_live, &measured.days));
        Said {
            finding: Finding::Judged {
                rate,
                expected: self.expected_rate(target, go_live),
                dropped: fall.is_some(),
            },
            eligible: Some(eligible),
            fall,
        }
    }

    fn expected_rate(&self, target: &Target, go_live: Option<Date>) -> f64 {
        let ramp = Ramp {
            target: target.target,
            due_days: target.due_days,
        };
        go_live.map_or(target.target, |start| {
            let passed = i32::from(day_of_date(self.day)) - i32::from(day_of_date(start));
            ramp.expected_rate(passed)
        })
    }

    /// How far the day fell, where that is at least `drop` of the median.
    fn fall(&self, drop: f64, group: &str, go_live: Option<Date>, days: &HashMap<Window, Groups>) -> Option<Fall> {
        let on = |day: Date| days.get(&single(day))?.get(group)?.ok();
        let today = on(self.day)?;
        let before = self.compared_days(go_live);
        let mut usual = before
            .iter()
            .map(|day| on(*day).map(|of| of.rate))
            .collect::<Option<Vec<_>>>()?;
        if usual.len() < SAME_WEEKDAYS {
            return None;
        }
        usual.sort_by(f64::total_cmp);
        let usual = (usual[SAME_WEEKDAYS / 2 - 1] + usual[SAME_WEEKDAYS / 2]) / 2.0;
        let is_fall = usual * today.eligible as f64 >= USUAL_PEOPLE && today.rate <= usual * (1.0 - drop);
        is_fall.then_some(Fall {
            value: today.rate,
            usual,
        })
    }

    /// The groups that the target had last, of which nothing can be said. One that was suppressed stays so: it is not to be seen.
    fn unknown(&self, target: &Target, before: &Before) -> HashMap<String, Said> {
        let of_target = || before.values().filter(|row| row.target == target.id);
        let last = of_target().map(|row| row.day).max();
        let nothing = |row: &TargetDay| {
            let is_hidden = row.reason == Reason::Suppressed.word();
            let reason = if is_hidden {
                Reason::Suppressed
            } else {
                Reason::IncompleteData
            };
            (row.group_name.clone(), Said::nothing(reason))
        };
        let whole = (target.by == Dimension::None).then(|| (String::new(), Said::nothing(Reason::IncompleteData)));
        let known = of_target().filter(|row| Some(row.day) == last).map(nothing);
        whole.into_iter().chain(known).collect()
    }

    fn row(&self, target: &Target, group: String, known: Option<&TargetDay>, said: Said, now: Timestamp) -> TargetDay {
        let before = known.map_or(Standing::UNKNOWN, standing);
        let Said {
            finding,
            eligible,
            fall,
        } = said;
        let after = before.next(finding, target.breach_days);
        let day = day_of_date(self.day);
        let (rate, expected) = match finding {
            Finding::Judged { rate, expected, .. } => (Some(rate), Some(expected)),
            Finding::Undecided(_) => (None, None),
        };
        // That a new target is on track, or not decided, is no news.
        let is_change = after.state != before.state && (known.is_some() || after.state != State::OnTrack);
        TargetDay {
            alert_id: if is_change {
                alert_id(&self.system.name, &target.id, &group, day)
            } else {
                String::new()
            },
            system: self.system.name.clone(),
            target: target.id.clone(),
            group_name: group,
            day,
            metric: target.metric.name().to_owned(),
            dimension: target.by.word().to_owned(),
            state: after.state.word().to_owned(),
            decided: after.decided.word().to_owned(),
            days: after.days,
            since: known
                .filter(|row| row.state == after.state.word())
                .map_or(day, |row| row.since),
            previous: before.state.word().to_owned(),
            reason: finding.reason().word().to_owned(),
            rate,
            expected,
            eligible,
            day_value: fall.map(|fall| fall.value),
            usual_value: fall.map(|fall| fall.usual),
            evaluated_at: now.as_millisecond(),
        }
    }
}

fn only(answers: &HashMap<Window, Groups>, windows: &[Window]) -> HashMap<Window, Groups> {
    let answer = |window: &Window| Some((*window, answers.get(window)?.clone()));
    windows.iter().filter_map(answer).collect()
}

/// The metric that tells a single day.
fn daily(metric: Metric) -> Metric {
    match metric {
        Metric::LoginFrequency => Metric::LoginRate,
        other => other,
    }
}

fn standing(row: &TargetDay) -> Standing {
    let state = |word: &str| State::parse(word).unwrap_or(State::Undecided);
    Standing {
        state: state(&row.state),
        decided: state(&row.decided),
        days: row.days,
    }
}

fn single(day: Date) -> Window {
    Window {
        from: day,
        to: day.saturating_add(1.day()),
    }
}

/// Those that end with `day`, none before `go_live`.
fn last_28_days(day: Date, go_live: Option<Date>) -> Window {
    let from = day.saturating_sub(27.days());
    Window {
        from: go_live.map_or(from, |start| start.max(from)),
        to: day.saturating_add(1.day()),
    }
}

/// The same for the same day, however often it is evaluated.
pub fn alert_id(system: &str, target: &str, group: &str, day: u16) -> String {
    let day = date_of(day);
    format!(
        "{:032x}",
        xxh3_128(format!("{system}\n{target}\n{group}\n{day}").as_bytes())
    )
}
