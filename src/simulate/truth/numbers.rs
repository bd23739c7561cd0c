//! The numbers of product.md, computed from the ledger in the plainest way, in the shape of the API's answers.
//!
//! Nothing here knows how Uptake computes them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::civil::Date;
use serde_json::{Map, Value, json};

use super::ledger::{Feature, Ledger, Row};
use super::window::{Grain, Window};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dimension {
    Unit,
    Role,
    Tier,
    Site,
    Phase,
}

impl Dimension {
    pub const ALL: [Self; 5] = [Self::Unit, Self::Role, Self::Tier, Self::Site, Self::Phase];

    pub fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Role => "role",
            Self::Tier => "tier",
            Self::Site => "site",
            Self::Phase => "phase",
        }
    }

    fn of(self, row: &Row) -> &'static str {
        match self {
            Self::Unit => row.unit,
            Self::Role => row.role,
            Self::Tier => row.tier,
            Self::Site => row.site,
            Self::Phase => row.phase,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    Active,
    Login,
}

/// A breakdown: its groups by name, each with its entitled users, and which of them are too small to show.
struct Groups {
    members: BTreeMap<&'static str, Vec<u32>>,
    suppressed: BTreeSet<&'static str>,
}

/// The numbers of one ledger.
pub struct Truth<'a> {
    pub ledger: &'a Ledger,
    /// Groups with fewer entitled people show no numbers.
    pub min_group_size: usize,
}

impl Truth<'_> {
    /// M2: the users who were active in the window.
    fn active(&self, window: Window, measure: Measure) -> HashSet<u32> {
        let days = self
            .ledger
            .user_days
            .iter()
            .filter(|((_, day), _)| window.contains(*day));
        let active = days.filter(|(_, did)| match measure {
            Measure::Active => did.clicks > 0,
            Measure::Login => did.logins > 0,
        });
        active.map(|((user, _), _)| *user).collect()
    }

    /// No group at all is not too small to be shown.
    fn is_too_small(&self, people: usize) -> bool {
        people > 0 && people < self.min_group_size
    }

    fn groups(&self, entitled: &HashMap<u32, &Row>, by: Dimension) -> Groups {
        let mut members: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for (user, row) in entitled {
            members.entry(by.of(row)).or_default().push(*user);
        }
        let mut by_size: Vec<(usize, &str)> = members.iter().map(|(name, users)| (users.len(), *name)).collect();
        by_size.sort_unstable();
        let small = by_size.iter().filter(|(size, _)| *size < self.min_group_size).count();
        // A single hidden group could be computed as the total less the others.
        let hidden = if small == 1 { 2 } else { small };
        let suppressed = by_size.iter().take(hidden).map(|(_, name)| *name).collect();
        Groups { members, suppressed }
    }

    /// The numbers of each group, or `hidden` as null where it is suppressed.
    fn each_group(
        &self,
        groups: &Groups,
        by: Dimension,
        hidden: &[&str],
        numbers: impl Fn(&[u32]) -> Value,
    ) -> Vec<Value> {
        let each = groups.members.iter().map(|(name, users)| {
            let is_suppressed = groups.suppressed.contains(name);
            let mut group = if is_suppressed { nulls(hidden) } else { numbers(users) };
            group[by.name()] = json!(name);
            group["suppressed"] = json!(is_suppressed);
            group
        });
        each.collect()
    }

    /// M1 to M3, with the periods of a grain.
    pub fn adoption(&self, window: Window, measure: Measure, by: Option<Dimension>, grain: Option<Grain>) -> Value {
        let mut answer = self.adoption_of(window, measure, by);
        if let Some(grain) = grain {
            let periods = window.split(grain).into_iter().map(|period| {
                let mut answer = self.adoption_of(period, measure, by);
                answer["from"] = json!(period.from);
                answer["to"] = json!(period.to);
                answer
            });
            answer["periods"] = periods.collect();
        }
        answer
    }

    fn adoption_of(&self, window: Window, measure: Measure, by: Option<Dimension>) -> Value {
        let entitled = self.ledger.entitled(window);
        let active = self.active(window, measure);
        let services = self.ledger.service_accounts();
        let numbers = |users: &[u32]| {
            let both = users.iter().filter(|user| active.contains(user)).count();
            json!({"entitled": users.len(), "active": both, "rate": ratio(both, users.len())})
        };
        let everybody: Vec<u32> = entitled.keys().copied().collect();
        let mut total = numbers(&everybody);
        let unentitled = active
            .iter()
            .filter(|user| !entitled.contains_key(user) && !services.contains(user));
        total["unentitled_active"] = json!(unentitled.count());
        let groups = by.map(|by| {
            let groups = self.groups(&entitled, by);
            self.each_group(&groups, by, &["entitled", "active", "rate"], numbers)
        });
        json!({"groups": groups.unwrap_or_default(), "total": total})
    }

    /// M5.
    pub fn logins(&self, window: Window, by: Option<Dimension>) -> Value {
        let entitled = self.ledger.entitled(window);
        let mut working_days_with_login: HashMap<u32, usize> = HashMap::new();
        let mut ever: HashSet<u32> = HashSet::new();
        for ((user, day), did) in &self.ledger.user_days {
            if did.logins > 0 {
                ever.insert(*user);
                if window.contains(*day) && self.ledger.calendar.is_working_day(*day) {
                    *working_days_with_login.entry(*user).or_default() += 1;
                }
            }
        }
        let numbers = |users: &[u32]| {
            let days: Vec<usize> = users
                .iter()
                .map(|user| working_days_with_login.get(user).copied().unwrap_or_default())
                .collect();
            let between = |low, high| days.iter().filter(|days| (low..=high).contains(*days)).count();
            json!({
                "entitled": users.len(),
                "never": users.iter().filter(|user| !ever.contains(user)).count(),
                "buckets": {"0": between(0, 0), "1-3": between(1, 3), "4-10": between(4, 10), "11+": between(11, usize::MAX)},
                "mean": ratio(days.iter().sum(), days.len()),
                "median": median(days),
            })
        };
        let everybody: Vec<u32> = entitled.keys().copied().collect();
        let groups = by.map(|by| {
            let groups = self.groups(&entitled, by);
            self.each_group(&groups, by, &["entitled", "never", "mean", "median"], numbers)
        });
        json!({"groups": groups.unwrap_or_default(), "total": numbers(&everybody)})
    }

    /// The users of each feature in the window, each with their days of use and the clicks on them.
    fn use_of_features(&self, window: Window) -> Vec<HashMap<u32, Vec<(Date, u32)>>> {
        let mut uses = vec![HashMap::<u32, Vec<_>>::new(); self.ledger.features.len()];
        for ((feature, user, day), clicks) in &self.ledger.feature_days {
            if window.contains(*day) {
                uses[usize::from(*feature)]
                    .entry(*user)
                    .or_default()
                    .push((*day, *clicks));
            }
        }
        uses
    }

    /// M7: who is expected to use the feature, and how many of them do.
    fn breadth<T>(feature: &Feature, entitled: &HashMap<u32, &Row>, users: &HashMap<u32, T>) -> (usize, usize) {
        let expected = entitled.iter().filter(|(_, row)| feature.is_expected_of(row.role));
        let use_it = expected.clone().filter(|(user, _)| users.contains_key(user));
        (use_it.count(), expected.count())
    }

    /// M7 to M10.
    pub fn features(&self, window: Window) -> Value {
        let entitled = self.ledger.entitled(window);
        let entitled_before = self.ledger.entitled(window.previous());
        let (uses, uses_before) = (self.use_of_features(window), self.use_of_features(window.previous()));
        let mut all_clicks = 0;
        let mut uncatalogued_clicks = 0;
        let mut ranking = Vec::new();
        for (feature, (users, users_before)) in self.ledger.features.iter().zip(uses.iter().zip(&uses_before)) {
            let clicks_per_user_day: Vec<usize> =
                users.values().flatten().map(|(_, clicks)| *clicks as usize).collect();
            let clicks: usize = clicks_per_user_day.iter().sum();
            all_clicks += clicks;
            if !feature.is_catalogued {
                uncatalogued_clicks += clicks;
                if clicks == 0 {
                    continue;
                }
            }
            let (expected_users, expected) = Self::breadth(feature, &entitled, users);
            let (expected_users_before, expected_before) = Self::breadth(feature, &entitled_before, users_before);
            // Those who are expected to use a feature are a group like any other.
            let is_suppressed = self.is_too_small(expected) || self.is_too_small(entitled.len());
            let shown = |count: usize| (!is_suppressed).then_some(count);
            let breadth = ratio(expected_users, expected).filter(|_| !is_suppressed);
            let before_is_shown = !is_suppressed && !self.is_too_small(expected_before);
            let breadth_before = ratio(expected_users_before, expected_before).filter(|_| before_is_shown);
            let change = breadth
                .zip(breadth_before.filter(|&before| before > 0.0))
                .map(|(now, before)| now / before - 1.0);
            let last_28_days = window.last(28);
            let is_adopted =
                |days: &[(Date, u32)]| days.iter().filter(|(day, _)| last_28_days.contains(*day)).count() >= 2;
            let entitled_users: Vec<_> = users.iter().filter(|(user, _)| entitled.contains_key(user)).collect();
            let is_unused = feature.is_catalogued && feature.released < window.to && clicks == 0;
            let answer = json!({
                "feature": feature.key,
                "module": feature.key.split('.').next(),
                "title": feature.is_catalogued.then_some(feature.title),
                "catalogued": feature.is_catalogued,
                "suppressed": is_suppressed,
                "users": shown(entitled_users.len()),
                "expected_users": shown(expected_users),
                "expected": shown(expected),
                "breadth": breadth,
                "clicks": shown(clicks),
                "depth": median(clicks_per_user_day).filter(|_| !is_suppressed),
                "adopted_users": shown(entitled_users.iter().filter(|(_, days)| is_adopted(days)).count()),
                "previous_breadth": breadth_before,
                "change": change,
                "unused": is_unused && !is_suppressed,
                // At least a fifth less, without rounding.
                "declining": change.is_some()
                    && 10 * expected_users * expected_before <= 8 * expected_users_before * expected,
                "released": feature.is_catalogued.then_some(feature.released),
            });
            ranking.push((breadth, shown(clicks), change, feature.key, answer));
        }
        ranking.sort_by(|a, b| {
            let by_breadth = descending(b.0).total_cmp(&descending(a.0));
            by_breadth
                .then(b.1.cmp(&a.1))
                .then(descending(b.2).total_cmp(&descending(a.2)))
                .then(a.3.cmp(b.3))
        });
        let ranked = ranking.into_iter().enumerate().map(|(place, (.., mut feature))| {
            feature["rank"] = json!(place + 1);
            feature
        });
        json!({
            "features": ranked.collect::<Vec<_>>(),
            "data_quality": {"uncatalogued_click_share": ratio(uncatalogued_clicks, all_clicks)},
        })
    }

    /// M11.
    pub fn heatmap_hours(&self, window: Window) -> Value {
        let weekday_of = |day: Date| day.weekday().to_monday_one_offset();
        let occurrences = |weekday| window.days().filter(|day| weekday_of(*day) == weekday).count();
        let mut cells = Vec::new();
        for weekday in 1..=7 {
            let days = occurrences(weekday);
            let is_here = |day: Date| window.contains(day) && weekday_of(day) == weekday;
            for hour in 0..24 {
                let here = self
                    .ledger
                    .hour_clicks
                    .iter()
                    .filter(|((day, at), _)| is_here(*day) && *at == hour);
                let clicks: u64 = here.map(|(_, clicks)| clicks).sum();
                cells.push((weekday, hour, days, clicks, HashSet::new()));
            }
        }
        for ((user, day), did) in self
            .ledger
            .user_days
            .iter()
            .filter(|((_, day), _)| window.contains(*day))
        {
            for cell in cells
                .iter_mut()
                .filter(|cell| cell.0 == weekday_of(*day) && did.click_hours & (1 << cell.1) != 0)
            {
                cell.4.insert(*user);
            }
        }
        let cells = cells.into_iter().map(|(weekday, hour, days, clicks, users)| {
            json!({
                "weekday": weekday, "hour": hour, "clicks": clicks, "users": users.len(),
                "clicks_per_day": ratio(clicks as usize, days), "users_per_day": ratio(users.len(), days),
            })
        });
        json!({
            "weekdays": (1..=7).map(|weekday| json!({"weekday": weekday, "days": occurrences(weekday)})).collect::<Vec<_>>(),
            "cells": cells.collect::<Vec<_>>(),
        })
    }

    /// M12.
    pub fn heatmap_features(&self, window: Window, by: Dimension) -> Value {
        let entitled = self.ledger.entitled(window);
        let groups = self.groups(&entitled, by);
        let mut cells = Vec::new();
        for (feature, uses) in self.ledger.features.iter().zip(self.use_of_features(window)) {
            if !feature.is_catalogued && uses.is_empty() {
                continue;
            }
            let hidden = ["users", "entitled", "expected", "breadth", "expected_breadth"];
            let of_group = |group: &[u32]| {
                let group: HashMap<u32, &Row> = group.iter().map(|user| (*user, entitled[user])).collect();
                let users = group.keys().filter(|user| uses.contains_key(user)).count();
                let (expected_users, expected) = Self::breadth(feature, &group, &uses);
                // Those of the group who are expected to use it are a smaller group.
                let is_shown = expected == group.len() || !self.is_too_small(expected);
                json!({
                    "users": users,
                    "entitled": group.len(),
                    "breadth": ratio(users, group.len()),
                    "expected": is_shown.then_some(expected),
                    "expected_breadth": ratio(expected_users, expected).filter(|_| is_shown),
                    "not_expected": expected == 0,
                })
            };
            cells.extend(
                self.each_group(&groups, by, &hidden, of_group)
                    .into_iter()
                    .map(|mut cell| {
                        cell["feature"] = json!(feature.key);
                        cell
                    }),
            );
        }
        json!({"cells": cells})
    }
}

fn nulls(keys: &[&str]) -> Value {
    Value::Object(
        keys.iter()
            .map(|key| ((*key).to_owned(), Value::Null))
            .collect::<Map<_, _>>(),
    )
}

/// A rate with denominator 0 is none.
fn ratio(numerator: usize, denominator: usize) -> Option<f64> {
    (denominator > 0).then(|| numerator as f64 / denominator as f64)
}

/// None for no values; the mean of the middle two for an even number of them.
fn median(mut values: Vec<usize>) -> Option<f64> {
    values.sort_unstable();
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some((lower + upper) as f64 / 2.0)
}

/// Orders none after every number when sorting downwards.
fn descending(value: Option<f64>) -> f64 {
    value.unwrap_or(f64::NEG_INFINITY)
}
