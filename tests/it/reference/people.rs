//! M1 to M3, M5, M6, M13, M14, M17 and M20: who is entitled, who is active, and what becomes of them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::ToSpan;
use jiff::civil::{Date, Weekday};
use serde_json::{Value, json};

use super::BY;
use super::world::{Deed, Event, FIRST, Member, World, days};

pub type Users<'a> = BTreeSet<&'a str>;

impl World {
    pub fn is_working_day(&self, day: Date) -> bool {
        let usual = self.weekdays.contains(&day.weekday().to_monday_one_offset()) && !self.holidays.contains(&day);
        usual || self.extra_working_days.contains(&day)
    }

    /// Users with a deed in [from, to) that counts.
    pub fn users(&self, from: Date, to: Date, counts: impl Fn(&Event) -> bool) -> Users<'_> {
        let events = self
            .events
            .iter()
            .filter(|event| from <= event.day && event.day < to && counts(event));
        events.map(|event| event.user.as_str()).collect()
    }

    pub fn clickers(&self, from: Date, to: Date) -> Users<'_> {
        self.users(from, to, |event| matches!(event.deed, Deed::Click { .. }))
    }

    /// The row of the roster that is valid last in [from, to), of everybody who has one.
    pub fn rows(&self, from: Date, to: Date) -> BTreeMap<&str, &Member> {
        // Rows of one user are in order.
        let valid = self.roster.iter().filter(|row| row.from < to && from < row.to);
        valid.map(|row| (row.user.as_str(), row)).collect()
    }

    /// M1: the persons among [`Self::rows`].
    pub fn persons(&self, from: Date, to: Date) -> BTreeMap<&str, &Member> {
        let mut rows = self.rows(from, to);
        rows.retain(|_, row| row.person);
        rows
    }

    /// Those of them whom the question is about.
    pub fn entitled(&self, from: Date, to: Date) -> BTreeMap<&str, &Member> {
        let meets = |row: &Member| {
            BY.iter().all(|by| {
                let mut values = self
                    .filter
                    .iter()
                    .filter(|(name, _)| name == by)
                    .map(|(_, value)| value)
                    .peekable();
                values.peek().is_none() || values.any(|value| *value == row.groups[by])
            })
        };
        let mut persons = self.persons(from, to);
        persons.retain(|_, row| meets(row));
        persons
    }

    /// The same world about persons with one of the values in each dimension, as far as numbers look at the roster.
    pub fn asked_about(&self, filter: &[(&'static str, String)]) -> Self {
        Self {
            filter: filter.to_vec(),
            ..self.clone()
        }
    }

    /// Without the events of others.
    pub fn alone(&self, from: Date, to: Date) -> Self {
        let mut world = self.clone();
        let people = self.entitled(from, to);
        world.events.retain(|event| people.contains_key(event.user.as_str()));
        world
    }

    /// Nobody, or enough to be shown.
    pub fn is_shown(&self, people: usize) -> bool {
        people == 0 || people as u64 >= self.min_group_size
    }

    /// The people of each group that has any.
    pub fn groups<'a>(&self, people: &BTreeMap<&'a str, &'a Member>, by: &str) -> BTreeMap<&'a str, Users<'a>> {
        let mut groups: BTreeMap<&str, Users> = BTreeMap::new();
        for (user, row) in people {
            if let Some(group) = row.groups.get(by) {
                groups.entry(group).or_default().insert(user);
            }
        }
        groups
    }

    /// Those that are too small, and the next smallest if only one is.
    pub fn suppressed<'a>(&self, sizes: &BTreeMap<&'a str, usize>) -> BTreeSet<&'a str> {
        let mut order: Vec<_> = sizes.iter().map(|(group, size)| (*size, *group)).collect();
        order.sort_unstable();
        let mut count = order.iter().filter(|(size, _)| !self.is_shown(*size)).count();
        if count == 1 {
            count = 2;
        }
        order.into_iter().take(count).map(|(_, group)| group).collect()
    }

    /// `{"<by>": group, "suppressed": …}` and what `tell` says of each group that is shown.
    pub fn told_by_group(
        &self,
        by: &str,
        groups: &BTreeMap<&str, Users>,
        tell: impl Fn(&Users) -> Value,
    ) -> Vec<Value> {
        let sizes = groups.iter().map(|(group, people)| (*group, people.len())).collect();
        let suppressed = self.suppressed(&sizes);
        let told = groups.iter().map(|(group, people)| {
            let hidden = suppressed.contains(group);
            let mut answer = if hidden { nothing(&tell(people)) } else { tell(people) };
            answer[by] = json!(group);
            answer["suppressed"] = json!(hidden);
            answer
        });
        told.collect()
    }

    pub fn told_of_all(&self, people: &Users, tell: impl Fn(&Users) -> Value) -> Value {
        let shown = self.is_shown(people.len());
        let mut answer = if shown { tell(people) } else { nothing(&tell(people)) };
        answer["suppressed"] = json!(!shown);
        answer
    }

    /// M1 to M3.
    pub fn adoption(&self, from: Date, to: Date, by: &str, measure: &str, grain: Option<&str>) -> Value {
        let people = self.entitled(from, to);
        let active = match measure {
            "login" => self.users(from, to, |event| event.deed == Deed::Login),
            _ => self.clickers(from, to),
        };
        let tell = |people: &Users| {
            let of_them = people.intersection(&active).count();
            json!({"entitled": people.len(), "active": of_them, "rate": ratio(of_them, people.len())})
        };
        let everybody = people.keys().copied().collect();
        let mut total = self.told_of_all(&everybody, tell);
        let on_roster = self.rows(from, to);
        if self.filter.is_empty() {
            total["unentitled_active"] = json!(active.iter().filter(|user| !on_roster.contains_key(*user)).count());
        }
        let mut answer = json!({"groups": self.told_by_group(by, &self.groups(&people, by), tell), "total": total});
        if let Some(grain) = grain {
            let mut periods = Vec::new();
            let mut begin = from;
            for day in days(from, to) {
                let next = day.saturating_add(1.day());
                let ends = match grain {
                    "day" => true,
                    "week" => next.weekday().to_monday_one_offset() == self.week_start,
                    _ => next.day() == 1,
                };
                if ends || next == to {
                    let mut period = self.adoption(begin, next, by, measure, None);
                    (period["from"], period["to"]) = (json!(begin), json!(next));
                    periods.push(period);
                    begin = next;
                }
            }
            answer["periods"] = json!(periods);
        }
        answer
    }

    /// M5.
    pub fn logins(&self, from: Date, to: Date, by: &str) -> Value {
        let people = self.entitled(from, to);
        let mut login_days: BTreeSet<(&str, Date)> = BTreeSet::new();
        let mut ever = Users::new();
        for event in self
            .events
            .iter()
            .filter(|event| event.deed == Deed::Login && event.day < to)
        {
            ever.insert(&event.user);
            if event.day >= from && self.is_working_day(event.day) {
                login_days.insert((&event.user, event.day));
            }
        }
        let tell = |people: &Users| {
            let count = |user: &&str| login_days.iter().filter(|(who, _)| who == user).count();
            let mut counts: Vec<_> = people.iter().map(count).collect();
            counts.sort_unstable();
            let bucket =
                |range: std::ops::RangeInclusive<usize>| counts.iter().filter(|count| range.contains(count)).count();
            json!({
                "entitled": people.len(), "never": people.difference(&ever).count(),
                "buckets": {"0": bucket(0..=0), "1-3": bucket(1..=3), "4-10": bucket(4..=10), "11+": bucket(11..=usize::MAX)},
                "mean": ratio(counts.iter().sum(), counts.len()), "median": median(&counts),
            })
        };
        let everybody = people.keys().copied().collect();
        json!({"groups": self.told_by_group(by, &self.groups(&people, by), tell), "total": self.told_of_all(&everybody, tell)})
    }

    /// M6.
    pub fn stickiness(&self, from: Date, to: Date) -> Value {
        if !self.is_shown(self.entitled(from, to).len()) {
            return json!({"suppressed": true, "stickiness": null, "ceiling": null});
        }
        let mut ratios = Vec::new();
        let mut told = Vec::new();
        for day in days(from, to).filter(|day| self.is_working_day(*day)) {
            let next = day.saturating_add(1.day());
            let dau = self.clickers(day, next).len();
            let mau = self.clickers(day.saturating_sub(27.days()), next).len();
            told.push(json!({"day": day, "dau": dau, "mau": mau, "ratio": ratio(dau, mau)}));
            ratios.extend(ratio(dau, mau));
        }
        let mean = (!ratios.is_empty()).then(|| ratios.iter().sum::<f64>() / ratios.len() as f64);
        json!({
            "suppressed": false, "days": told, "stickiness": mean, "averaged_days": ratios.len(),
            "ceiling": if told.is_empty() { None } else { Some(1.0) },
        })
    }

    /// M13.
    pub fn lifecycle(&self, on: Date, by: &str) -> Value {
        let tomorrow = on.saturating_add(1.day());
        let people = self.entitled(on, tomorrow);
        let states: BTreeMap<_, _> = people.keys().map(|user| (*user, self.state(user, on))).collect();
        let tell = |people: &Users| {
            let count = |state| people.iter().filter(|user| states[*user] == state).count();
            let mut answer = json!({"entitled": people.len()});
            for state in ["never", "new", "returning", "resurrected", "at_risk", "dormant"] {
                answer[state] = json!(count(state));
            }
            answer
        };
        let everybody = people.keys().copied().collect();
        json!({"groups": self.told_by_group(by, &self.groups(&people, by), tell), "total": self.told_of_all(&everybody, tell)})
    }

    fn state(&self, user: &str, on: Date) -> &'static str {
        let of_user = || self.events.iter().filter(|event| event.user == user && event.day <= on);
        let clicked: BTreeSet<_> = of_user()
            .filter(|event| matches!(event.deed, Deed::Click { .. }))
            .map(|event| event.day)
            .collect();
        let recent_from = on.saturating_sub(27.days());
        let Some(first_recent) = clicked.range(recent_from..).next() else {
            return if of_user().count() == 0 { "never" } else { "dormant" };
        };
        let mut back = days(recent_from, on.saturating_add(1.day()))
            .filter(|day| self.is_working_day(*day))
            .collect::<Vec<_>>();
        back.reverse();
        if back
            .get(6)
            .is_some_and(|seventh| clicked.range(*seventh..).next().is_none())
        {
            return "at_risk";
        }
        match clicked.range(..recent_from).next_back() {
            None => "new",
            Some(before) if (*first_recent - *before).get_days() > 28 => "resurrected",
            Some(_) => "returning",
        }
    }

    /// M14.
    pub fn retention(&self, from: Date, to: Date) -> Value {
        let start = Weekday::from_monday_one_offset(self.week_start).unwrap();
        let first_day = from.yesterday().unwrap().nth_weekday(1, start).unwrap();
        let weeks: Vec<_> = first_day
            .series(7.days())
            .take_while(|week| week.saturating_add(7.days()) <= to)
            .collect();
        let active = |week: &Date| self.clickers(*week, week.saturating_add(7.days()));
        let cohorts = weeks.iter().enumerate().map(|(number, week)| {
            let before = self.clickers(FIRST.saturating_sub(30.days()), *week);
            let cohort: Users = active(week).difference(&before).copied().collect();
            if !self.is_shown(cohort.len()) {
                return json!({"week": week, "suppressed": true, "size": null, "weeks": []});
            }
            let later = weeks[number..].iter().enumerate();
            let told =
                later.map(|(after, week)| json!({"week": after, "active": active(week).intersection(&cohort).count()}));
            json!({"week": week, "suppressed": false, "size": cohort.len(), "weeks": told.collect::<Vec<_>>()})
        });
        json!({"cohorts": cohorts.collect::<Vec<_>>()})
    }

    /// M17 with the ramp (M20) of 0.80 on day 90.
    pub fn phase_comparison(&self, on: Date, at_most: i64) -> Value {
        let phases = self.phases.iter().map(|(phase, go_live)| {
            let told = (0..at_most).map_while(|number| {
                let day = go_live.saturating_add(number.days());
                (day <= on).then(|| {
                    let (from, to) = (day.saturating_sub(27.days()).max(*go_live), day.saturating_add(1.day()));
                    let adoption = self.adoption(from, to, "phase", "active", None);
                    let groups = adoption["groups"].as_array().unwrap();
                    let nobody = json!({"entitled": 0, "active": 0, "rate": null, "suppressed": false});
                    let mut told = groups
                        .iter()
                        .find(|group| group["phase"] == **phase)
                        .cloned()
                        .unwrap_or(nobody);
                    told.as_object_mut().unwrap().remove("phase");
                    told["day"] = json!(number);
                    told["expected_rate"] = json!(0.8 * (number as f64 / 90.0).min(1.0));
                    told
                })
            });
            json!({"phase": phase, "days": told.collect::<Vec<_>>()})
        });
        json!({"phases": phases.collect::<Vec<_>>()})
    }
}

/// The same keys, without numbers.
fn nothing(told: &Value) -> Value {
    let keys = told.as_object().unwrap().keys();
    keys.map(|key| (key.clone(), Value::Null))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

pub fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Of sorted values; the mean of the middle two where there is no single one.
pub fn median(sorted: &[usize]) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    Some((sorted[last / 2] + sorted[last.div_ceil(2)]) as f64 / 2.0)
}
