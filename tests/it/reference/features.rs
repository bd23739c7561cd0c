//! M7, M8, M10, M11 and M12: which features are used, by whom and when; M9's "adopted".

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::ToSpan;
use jiff::civil::Date;
use serde_json::{Value, json};

use super::people::{Users, median, ratio};
use super::world::{Deed, Event, Feature, Member, World, days};

impl World {
    /// Clicks on a feature in [from, to) of everybody.
    fn clicks_on(&self, feature: &str, from: Date, to: Date) -> impl Iterator<Item = &Event> {
        self.events
            .iter()
            .filter(move |event| from <= event.day && event.day < to && event.clicks(feature))
    }

    pub fn users_of(&self, feature: &str, from: Date, to: Date) -> Users<'_> {
        self.users(from, to, |event| event.clicks(feature))
    }

    /// Catalogued, or clicked in the window; the catalogue's entry where there is one.
    fn features_of(&self, from: Date, to: Date) -> BTreeMap<&str, Option<&Feature>> {
        let catalogued: BTreeMap<_, _> = self
            .catalogue()
            .iter()
            .map(|feature| (feature.key.as_str(), Some(feature)))
            .collect();
        let clicked = self
            .features
            .iter()
            .filter(|feature| self.clicks_on(&feature.key, from, to).next().is_some());
        let mut all: BTreeMap<_, _> = clicked.map(|feature| (feature.key.as_str(), None)).collect();
        all.extend(catalogued);
        all
    }

    /// M7 to M10.
    pub fn feature_ranking(&self, from: Date, to: Date) -> Value {
        let world = if self.filter.is_empty() {
            self
        } else {
            &self.alone(from, to)
        };
        let mut features: Vec<_> = world
            .features_of(from, to)
            .into_iter()
            .map(|(key, entry)| self.feature(key, entry, from, to))
            .collect();
        features.sort_by(|one, other| {
            let by = |feature: &Value, key: &str| feature[key].as_f64().unwrap_or(f64::NEG_INFINITY);
            let order = ["breadth", "clicks", "change"].map(|key| by(other, key).total_cmp(&by(one, key)));
            let keys = [one, other].map(|feature| feature["feature"].as_str().unwrap());
            order
                .into_iter()
                .fold(std::cmp::Ordering::Equal, |order, next| order.then(next))
                .then(keys[0].cmp(keys[1]))
        });
        for (number, feature) in features.iter_mut().enumerate() {
            feature["rank"] = json!(number + 1);
        }
        json!({"features": features})
    }

    fn feature(&self, key: &str, entry: Option<&Feature>, from: Date, to: Date) -> Value {
        let people = self.entitled(from, to);
        let expected = expected(entry, &people);
        let users = self.users_of(key, from, to);
        let counts = |event: &&Event| self.filter.is_empty() || people.contains_key(event.user.as_str());
        let clicks = self.clicks_on(key, from, to).filter(counts).count();
        let mut answer = json!({
            "feature": key, "catalogued": entry.is_some(), "suppressed": false, "unused": false, "declining": false,
            "breadth": null, "clicks": null, "depth": null, "previous_breadth": null, "change": null,
            "users": null, "expected_users": null, "expected": null, "adopted_users": null,
        });
        if !self.is_shown(expected.len()) || !self.is_shown(people.len()) {
            answer["suppressed"] = json!(true);
            return answer;
        }
        let breadth = ratio(users.intersection(&expected).count(), expected.len());
        answer["users"] = json!(users.iter().filter(|user| people.contains_key(*user)).count());
        answer["expected_users"] = json!(users.intersection(&expected).count());
        answer["expected"] = json!(expected.len());
        answer["breadth"] = json!(breadth);
        answer["clicks"] = json!(clicks);

        let mut on_days: BTreeMap<(&str, Date), usize> = BTreeMap::new();
        for event in self.clicks_on(key, from, to).filter(counts) {
            *on_days.entry((&event.user, event.day)).or_default() += 1;
        }
        let mut a_day: Vec<_> = on_days.values().copied().collect();
        a_day.sort_unstable();
        answer["depth"] = json!(median(&a_day));
        let late = from.max(to.saturating_sub(28.days()));
        let days_of = |user: &str| on_days.keys().filter(|(who, day)| *who == user && *day >= late).count();
        answer["adopted_users"] = json!(people.keys().filter(|user| days_of(user) >= 2).count());

        let months = match entry.and_then(|entry| entry.cadence) {
            Some("monthly") => 1,
            Some("quarterly") => 3,
            Some("yearly") => 12,
            _ => 0,
        };
        let comes_up = from.saturating_add(months.months()) <= to;
        let due = if comes_up {
            from
        } else {
            to.saturating_sub(months.months())
        };
        let released_by = |day: Date| entry.is_some_and(|entry| entry.released.is_none_or(|released| released <= day));
        let out = if comes_up {
            released_by(to.yesterday().unwrap())
        } else {
            released_by(due)
        };
        answer["unused"] = json!(entry.is_some() && out && !self.clicks_on(key, due, to).any(|event| counts(&event)));

        let before = from.saturating_sub(to - from);
        let expected_before = self::expected(entry, &self.entitled(before, from))
            .into_iter()
            .map(str::to_owned)
            .collect::<BTreeSet<_>>();
        if expected_before.is_empty() || !self.is_shown(expected_before.len()) {
            return answer;
        }
        let used_before = self
            .users_of(key, before, from)
            .iter()
            .filter(|user| expected_before.contains(**user))
            .count();
        let previous = used_before as f64 / expected_before.len() as f64;
        answer["previous_breadth"] = json!(previous);
        if let Some(breadth) = breadth.filter(|_| used_before > 0) {
            answer["change"] = json!(breadth / previous - 1.0);
            // Without the rounding of a division.
            let (now, then) = (
                users.intersection(&expected).count() * expected_before.len(),
                used_before * expected.len(),
            );
            answer["declining"] = json!(comes_up && 5 * now <= 4 * then);
        }
        answer
    }

    /// M11.
    pub fn hours(&self, from: Date, to: Date) -> Value {
        let shown = self.is_shown(self.entitled(from, to).len());
        let weekday = |day: Date| day.weekday().to_monday_one_offset();
        let mut cells = Vec::new();
        for (number, hour) in (1..=7).flat_map(|number| (0..24).map(move |hour| (number, hour))) {
            let within = |event: &&Event| {
                from <= event.day && event.day < to && (weekday(event.day), event.hour) == (number, hour)
            };
            let clicks = self
                .events
                .iter()
                .filter(|event| matches!(event.deed, Deed::Click { .. }))
                .filter(within);
            let users: Users = clicks.clone().map(|event| event.user.as_str()).collect();
            let days = days(from, to).filter(|day| weekday(*day) == number).count();
            let clicks = clicks.count();
            let mut cell = json!({"weekday": number, "hour": hour, "clicks": null, "users": null, "clicks_per_day": null, "users_per_day": null});
            if shown {
                cell["clicks"] = json!(clicks);
                cell["users"] = json!(users.len());
                cell["clicks_per_day"] = json!(ratio(clicks, days));
                cell["users_per_day"] = json!(ratio(users.len(), days));
            }
            cells.push(cell);
        }
        json!({"cells": cells})
    }

    /// M12.
    pub fn feature_heatmap(&self, from: Date, to: Date, by: &str) -> Value {
        let people = self.entitled(from, to);
        let groups = self.groups(&people, by);
        let suppressed = self.suppressed(&groups.iter().map(|(group, people)| (*group, people.len())).collect());
        let mut cells = Vec::new();
        for (key, entry) in self.features_of(from, to) {
            let (users, expected) = (self.users_of(key, from, to), expected(entry, &people));
            for (group, members) in &groups {
                let hidden = suppressed.contains(group);
                let of_group: Users = members.intersection(&expected).copied().collect();
                let mut cell = json!({
                    "feature": key, by: group, "suppressed": hidden, "not_expected": !hidden && of_group.is_empty(),
                    "users": null, "entitled": null, "breadth": null, "expected": null, "expected_breadth": null,
                });
                if !hidden {
                    let count = users.intersection(members).count();
                    cell["users"] = json!(count);
                    cell["entitled"] = json!(members.len());
                    cell["breadth"] = json!(ratio(count, members.len()));
                }
                if !hidden && (self.is_shown(of_group.len()) || of_group == *members) {
                    cell["expected"] = json!(of_group.len());
                    cell["expected_breadth"] = json!(ratio(users.intersection(&of_group).count(), of_group.len()));
                }
                cells.push(cell);
            }
        }
        json!({"cells": cells})
    }
}

impl Event {
    pub fn clicks(&self, key: &str) -> bool {
        matches!(&self.deed, Deed::Click { feature, .. } if feature == key)
    }
}

/// Of `people`, those whose role is expected to use a feature.
pub fn expected<'a>(entry: Option<&Feature>, people: &BTreeMap<&'a str, &'a Member>) -> Users<'a> {
    let is_expected =
        |row: &Member| entry.is_none_or(|entry| entry.roles.is_empty() || entry.roles.contains(&row.groups["role"]));
    people
        .iter()
        .filter(|(_, row)| is_expected(row))
        .map(|(user, _)| *user)
        .collect()
}

/// Largest first, those of equal size by name.
pub fn ranked<K: Ord>(mut list: Vec<(K, Vec<usize>)>) -> Vec<(K, Vec<usize>)> {
    list.sort_by(|one, other| (Reverse(&one.1), &one.0).cmp(&(Reverse(&other.1), &other.0)));
    list
}
