//! M22 and M23: champions, and what a training changed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use super::people::{Users, ratio};
use super::world::{Deed, Feature, World};

impl World {
    /// M22.
    pub fn champions(&self, month: Date, by: &str) -> Value {
        let next = month.saturating_add(1.month());
        let before = self.leaders(month.saturating_sub(1.month()), month);
        let champions: BTreeSet<_> = self.leaders(month, next).intersection(&before).cloned().collect();
        let people = self.entitled(month, next);
        let tell = |people: &Users| {
            let count = people.iter().filter(|user| champions.contains(**user)).count();
            json!({"entitled": people.len(), "champions": count, "share": ratio(count, people.len())})
        };
        let everybody = people.keys().copied().collect();
        json!({"groups": self.told_by_group(by, &self.groups(&people, by), tell), "total": self.told_of_all(&everybody, tell)})
    }

    /// Of the top tenth by active working days in [from, to), and of a breadth of three quarters of what the role expects.
    fn leaders(&self, from: Date, to: Date) -> BTreeSet<String> {
        let people = self.persons(from, to);
        let active_days = |user: &str| {
            let clicks = self
                .events
                .iter()
                .filter(|event| event.user == user && from <= event.day && event.day < to);
            let clicks =
                clicks.filter(|event| matches!(event.deed, Deed::Click { .. }) && self.is_working_day(event.day));
            clicks.map(|event| event.day).collect::<BTreeSet<_>>().len()
        };
        let mut days: Vec<_> = people.keys().map(|user| active_days(user)).collect();
        days.sort_unstable();
        days.reverse();
        let Some(least) = people.len().div_ceil(10).checked_sub(1).map(|last| days[last].max(1)) else {
            return BTreeSet::new();
        };
        let leads = |user: &str, role: &str| {
            let expected = self.expected_of(role, |released| released < to);
            let used = expected
                .iter()
                .filter(|feature| self.users_of(&feature.key, from, to).contains(user))
                .count();
            active_days(user) >= least && !expected.is_empty() && 4 * used >= 3 * expected.len()
        };
        let leaders = people.iter().filter(|(user, row)| leads(user, &row.groups["role"]));
        leaders.map(|(user, _)| (*user).to_owned()).collect()
    }

    /// The catalogued features that a role is expected to use, of those that were out.
    fn expected_of(&self, role: &str, was_out: impl Fn(Date) -> bool) -> Vec<&Feature> {
        let concerns = |feature: &&Feature| feature.roles.is_empty() || feature.roles.iter().any(|named| named == role);
        let features = self.catalogue().iter().filter(concerns);
        features
            .filter(|feature| feature.released.is_none_or(&was_out))
            .collect()
    }

    /// M23, without the interval.
    pub fn training(&self, from: Date, to: Date) -> Value {
        let in_window: Vec<_> = self
            .trainings
            .iter()
            .filter(|(_, day)| from <= **day && **day < to)
            .collect();
        let today = Timestamp::now().in_tz(self.zone).unwrap().date();
        // For each role: of every trained person the change, and the mean change of the untrained it is compared with.
        let mut roles: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for day in in_window.iter().map(|(_, day)| **day).collect::<BTreeSet<_>>() {
            if day.saturating_add(29.days()) > today {
                continue;
            }
            let mut changes: BTreeMap<String, [Vec<f64>; 2]> = BTreeMap::new();
            for (user, role) in self.steady(day) {
                let expected = self.expected_of(&role, |released| released <= day.saturating_sub(28.days()));
                if expected.is_empty() {
                    continue;
                }
                let used = |from: Date, to: Date| {
                    expected
                        .iter()
                        .filter(|feature| self.users_of(&feature.key, from, to).contains(user.as_str()))
                        .count() as f64
                };
                let after = used(day.saturating_add(1.day()), day.saturating_add(29.days()));
                let change = (after - used(day.saturating_sub(28.days()), day)) / expected.len() as f64;
                match self.trainings.get(&user) {
                    Some(trained) if *trained == day => changes.entry(role).or_default()[0].push(change),
                    Some(trained) if *trained < day.saturating_add(29.days()) => {}
                    _ => changes.entry(role).or_default()[1].push(change),
                }
            }
            for (role, [trained, untrained]) in changes {
                if untrained.len() as u64 >= self.min_group_size.max(2) {
                    let mean = untrained.iter().sum::<f64>() / untrained.len() as f64;
                    roles
                        .entry(role)
                        .or_default()
                        .extend(trained.iter().map(|change| (*change, mean)));
                }
            }
        }
        roles.retain(|_, trained| !trained.is_empty());
        let suppressed = self.suppressed(
            &roles
                .iter()
                .map(|(role, trained)| (role.as_str(), trained.len()))
                .collect(),
        );
        let told = roles.iter().map(|(role, trained)| {
            let mut told = effect(trained, suppressed.contains(role.as_str()));
            told["role"] = json!(role);
            told
        });
        let all: Vec<_> = roles.values().flatten().copied().collect();
        json!({"trainings": in_window.len(), "roles": told.collect::<Vec<_>>(), "total": effect(&all, !self.is_shown(all.len()))})
    }

    /// Persons entitled on the first and on the last of the 57 days around `day` with the same role.
    fn steady(&self, day: Date) -> Vec<(String, String)> {
        let on = |day: Date| self.entitled(day, day.saturating_add(1.day()));
        let (first, last) = (on(day.saturating_sub(28.days())), on(day.saturating_add(28.days())));
        let role = |user: &&str| first.get(user).map(|row| row.groups["role"].clone());
        let same = last
            .iter()
            .filter(|(user, row)| role(user).as_ref() == Some(&row.groups["role"]));
        same.map(|(user, row)| ((*user).to_owned(), row.groups["role"].clone()))
            .collect()
    }
}

fn effect(trained: &[(f64, f64)], suppressed: bool) -> Value {
    let mut told = json!({"suppressed": suppressed, "trained": null, "trained_change": null, "untrained_change": null, "effect": null});
    if !suppressed {
        told["trained"] = json!(trained.len());
    }
    if !suppressed && !trained.is_empty() {
        let count = trained.len() as f64;
        let change = trained.iter().map(|(change, _)| change).sum::<f64>() / count;
        let untrained = trained.iter().map(|(_, untrained)| untrained).sum::<f64>() / count;
        told["trained_change"] = json!(change);
        told["untrained_change"] = json!(untrained);
        told["effect"] = json!(change - untrained);
    }
    told
}
