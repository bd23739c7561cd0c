//! M9, M15, M16, M18 and M19: how long until a feature is used, where users go, what they say.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use super::features::{expected, ranked};
use super::people::{Users, median, ratio};
use super::world::{Deed, World};

impl World {
    /// M9: the Kaplan–Meier median, and who has not adopted yet.
    pub fn time_to_adopt(&self, from: Date, to: Date, key: &str) -> Value {
        let people = self.entitled(from, to);
        let entry = self.catalogue().iter().find(|feature| feature.key == key);
        // (days watched, whether the feature was used then)
        let mut watched = Vec::new();
        for user in expected(entry, &people) {
            let row = people[user];
            let first_row = self.roster.iter().find(|row| row.user == user).unwrap();
            let go_live = self
                .phases
                .iter()
                .find(|(phase, _)| *phase == row.groups["phase"])
                .map(|(_, day)| *day);
            let released = entry.and_then(|entry| entry.released);
            let begin = [Some(first_row.from), go_live, released]
                .into_iter()
                .flatten()
                .max()
                .unwrap();
            let end = row.to.min(to);
            if begin >= end {
                continue;
            }
            let first_use = self
                .events
                .iter()
                .filter(|event| event.user == user && event.clicks(key))
                .map(|event| event.day)
                .min();
            watched.push(match first_use.filter(|day| *day < end) {
                Some(day) => ((day - begin).get_days().max(0), true),
                None => ((end - begin).get_days(), false),
            });
        }
        if !self.is_shown(watched.len()) || !self.is_shown(people.len()) {
            return json!({"suppressed": true, "expected": null, "not_adopted": null, "not_adopted_share": null, "median_days": null});
        }
        watched.sort_unstable();
        let not_adopted = watched.iter().filter(|(_, used)| !used).count();
        // Who did it on a day is still at risk on that day, and so is who was watched no longer than that day.
        let mut survival = 1.0;
        let mut median_days = None;
        let adopted_on: BTreeSet<_> = watched
            .iter()
            .filter(|(_, used)| *used)
            .map(|(days, _)| *days)
            .collect();
        for day in adopted_on {
            let at_risk = watched.iter().filter(|(days, _)| *days >= day).count();
            let events = watched.iter().filter(|one| **one == (day, true)).count();
            survival *= 1.0 - events as f64 / at_risk as f64;
            if survival < 0.5 + 1e-9 {
                median_days = Some(day);
                break;
            }
        }
        json!({
            "suppressed": false, "expected": watched.len(), "not_adopted": not_adopted,
            "not_adopted_share": ratio(not_adopted, watched.len()), "median_days": median_days,
        })
    }

    /// M15.
    pub fn funnel(&self, from: Date, to: Date, steps: &[&str], hours: i64) -> Value {
        let times_of = |user: &str, step: &str| {
            let mut times: Vec<_> = self
                .events
                .iter()
                .filter(|event| event.user == user && event.clicks(step))
                .map(|event| (event.at, event.day))
                .collect();
            times.sort_unstable();
            times
        };
        let mut waits: Vec<Vec<usize>> = vec![Vec::new(); steps.len()];
        for user in self.users_of(steps[0], from, to) {
            let clicks: Vec<_> = steps.iter().map(|step| times_of(user, step)).collect();
            let starts = clicks[0]
                .iter()
                .filter(|(_, day)| from <= *day && *day < to)
                .map(|(at, _)| *at);
            let run = |start: Timestamp| {
                let mut run = vec![start];
                for clicks in &clicks[1..] {
                    let last = *run.last().unwrap();
                    let limit = start.checked_add(hours.hours()).unwrap();
                    match clicks.iter().find(|(at, _)| last <= *at && *at <= limit) {
                        Some((at, _)) => run.push(*at),
                        None => break,
                    }
                }
                run
            };
            let best = starts
                .map(run)
                .max_by_key(|run| (run.len(), std::cmp::Reverse(*run.last().unwrap()), run[0]))
                .unwrap();
            waits[0].push(0);
            for (step, pair) in best.windows(2).enumerate() {
                waits[step + 1].push((pair[1] - pair[0]).as_secs() as usize);
            }
        }
        let system_shown = self.is_shown(self.entitled(from, to).len());
        let told = steps.iter().enumerate().map(|(number, step)| {
            waits[number].sort_unstable();
            let users = waits[number].len();
            let shown = system_shown && self.is_shown(users);
            let tell = |value: Value| if shown { value } else { Value::Null };
            let before = number.checked_sub(1).map(|before| waits[before].len());
            json!({
                "step": number + 1, "feature": step, "suppressed": !shown, "users": tell(json!(users)),
                "conversion": tell(json!(ratio(users, waits[0].len()))),
                "step_conversion": tell(json!(before.and_then(|before| ratio(users, before)))),
                "median_seconds": tell(json!(before.and_then(|_| median(&waits[number])))),
            })
        });
        json!({"steps": told.collect::<Vec<_>>()})
    }

    /// M16.
    pub fn paths(&self, from: Date, to: Date, after: &str) -> Value {
        let mut ways: BTreeMap<(&str, &str), BTreeSet<(Timestamp, &str)>> = BTreeMap::new();
        for event in self.events.iter().filter(|event| from <= event.day && event.day < to) {
            if let Deed::Click { feature, session } = &event.deed {
                ways.entry((&event.user, session))
                    .or_default()
                    .insert((event.at, feature));
            }
        }
        let mut next: BTreeMap<&str, (Users, usize)> = BTreeMap::new();
        for ((user, session), clicks) in &ways {
            let clicks: Vec<_> = clicks.iter().collect();
            for pair in clicks.windows(2) {
                let near = (pair[1].0 - pair[0].0).as_secs() <= 30 * 60;
                if pair[0].1 == after && (near || !session.is_empty()) {
                    let (users, times) = next.entry(pair[1].1).or_default();
                    users.insert(user);
                    *times += 1;
                }
            }
        }
        let after_users = self.users_of(after, from, to).len();
        if !self.is_shown(after_users) || !self.is_shown(self.entitled(from, to).len()) {
            return json!({"suppressed": true, "after_users": null, "paths": [], "hidden_paths": null});
        }
        let all = next.len();
        let shown = next.into_iter().filter(|(_, (users, _))| self.is_shown(users.len()));
        let shown = ranked(
            shown
                .map(|(feature, (users, times))| (feature, vec![users.len(), times]))
                .collect(),
        );
        let paths = shown.iter().map(|(feature, counts)| {
            json!({"feature": feature, "users": counts[0], "transitions": counts[1], "share": ratio(counts[0], after_users)})
        });
        json!({"suppressed": false, "after_users": after_users, "hidden_paths": all - shown.len(), "paths": paths.collect::<Vec<_>>()})
    }

    /// M18.
    pub fn satisfaction(&self, from: Date, to: Date, by: &str) -> Value {
        let people = self.entitled(from, to);
        let on_roster = self.rows(from, to);
        let mut scores: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        for event in self.events.iter().filter(|event| from <= event.day && event.day < to) {
            if let Deed::Feedback { score: Some(score), .. } = event.deed {
                scores.entry(&event.user).or_default().push(score);
            }
        }
        let respondents = |people: &Users| people.iter().filter(|user| scores.contains_key(*user)).count();
        let tell = |people: &Users, hidden: bool| {
            let given: Vec<_> = people.iter().filter_map(|user| scores.get(user)).flatten().collect();
            let good = given.iter().filter(|score| ***score >= 4).count();
            let answered = respondents(people);
            let of = |value: Value| if hidden { Value::Null } else { value };
            json!({
                "entitled": of(json!(people.len())), "respondents": of(json!(answered)), "scored": of(json!(given.len())),
                "satisfied": of(json!(good)), "rate": of(json!(ratio(good, given.len()))),
                "response_rate": of(json!(ratio(answered, people.len()))), "suppressed": hidden,
            })
        };
        let too_small = |people: &Users| !self.is_shown(people.len()) || !self.is_shown(respondents(people));
        let groups = self.groups(&people, by);
        let sizes = groups.iter().map(|(group, people)| (*group, people.len())).collect();
        let mut hidden = self.suppressed(&sizes);
        let few = groups.iter().filter(|(_, people)| too_small(people));
        hidden.extend(few.map(|(group, _)| *group));
        let together: usize = hidden.iter().map(|group| respondents(&groups[group])).sum();
        if hidden.len() == 1 || (!hidden.is_empty() && (together as u64) < self.min_group_size) {
            let others = groups.iter().filter(|(group, _)| !hidden.contains(*group));
            let next = others
                .min_by_key(|(group, people)| (respondents(people) == 0, respondents(people), people.len(), **group));
            let next = next.map(|(group, _)| *group);
            hidden.extend(next);
        }
        let told = groups.iter().map(|(group, people)| {
            let mut told = tell(people, hidden.contains(group));
            told[by] = json!(group);
            told
        });
        let everybody = people.keys().copied().collect();
        let mut total = tell(&everybody, too_small(&everybody));
        let strangers = scores.iter().filter(|(user, _)| !on_roster.contains_key(**user));
        if self.filter.is_empty() {
            total["unentitled_scored"] = json!(strangers.map(|(_, scores)| scores.len()).sum::<usize>());
        }
        json!({"groups": told.collect::<Vec<_>>(), "total": total})
    }

    /// M19.
    pub fn issues(&self, from: Date, to: Date) -> Value {
        let people = self.entitled(from, to);
        if !self.is_shown(people.len()) {
            return json!({"suppressed": true, "issues": [], "active": null});
        }
        let mut reporters: BTreeMap<(&str, &str), Users> = BTreeMap::new();
        for event in self.events.iter().filter(|event| from <= event.day && event.day < to) {
            if let Deed::Feedback {
                category: Some(category),
                feature,
                ..
            } = &event.deed
            {
                let feature = feature.as_deref().unwrap_or_default();
                reporters.entry((category, feature)).or_default().insert(&event.user);
            }
        }
        let active = self.clickers(from, to).len();
        let per_100 = |count: usize| ratio(count, active).map(|share| 100.0 * share);
        let (mut told, mut rest) = (Vec::new(), Vec::new());
        for ((category, feature), users) in &reporters {
            if !self.is_shown(users.len()) {
                rest.push(users);
                continue;
            }
            let (used, expected) = if feature.is_empty() {
                (self.clickers(from, to), people.keys().copied().collect())
            } else {
                let entry = self.catalogue().iter().find(|entry| entry.key == *feature);
                (self.users_of(feature, from, to), expected(entry, &people))
            };
            let known = !expected.is_empty() && self.is_shown(expected.len());
            let breadth = ratio(used.intersection(&expected).count(), expected.len()).filter(|_| known);
            let weight = breadth.map(|breadth| breadth * users.len() as f64);
            told.push(json!({
                "category": category, "feature": Some(feature).filter(|feature| !feature.is_empty()), "reporters": users.len(),
                "breadth": breadth, "weight": weight, "per_100_active": per_100(users.len()),
            }));
        }
        told.sort_by(|one, other| {
            let number = |issue: &Value, key: &str| issue[key].as_f64().unwrap_or(-1.0);
            let texts =
                |issue: &Value| ["category", "feature"].map(|key| issue[key].as_str().unwrap_or_default().to_owned());
            let order = ["weight", "reporters"].map(|key| number(other, key).total_cmp(&number(one, key)));
            order[0].then(order[1]).then(texts(one).cmp(&texts(other)))
        });
        for (number, issue) in told.iter_mut().enumerate() {
            issue["rank"] = json!(number + 1);
        }
        let of_rest: Users = rest.iter().copied().flatten().copied().collect();
        let shown = self.is_shown(of_rest.len());
        let rest = json!({
            "issues": rest.len(), "reporters": if shown { Some(of_rest.len()) } else { None },
            "per_100_active": if shown { per_100(of_rest.len()) } else { None },
        });
        json!({"suppressed": false, "active": active, "issues": told, "rest": rest})
    }
}
