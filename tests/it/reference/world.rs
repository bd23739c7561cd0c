//! A random system with everything that numbers depend on: calendar, phases, catalogue, roster, trainings, events. The same seed
//! makes the same world.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value, json};

/// Daylight saving begins or ends in the world's days in most of them; in Lord Howe by half an hour.
const ZONES: [&str; 6] = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "UTC",
];
const UNITS: [&str; 7] = ["Sales", "Sales", "Sales", "Finance", "Finance", "采购", "Legal"];
const ROLES: [&str; 4] = ["clerk", "clerk", "approver", "planner"];
const CATEGORIES: [&str; 3] = ["slow", "unclear", "training"];
pub const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// The days with events.
pub const FIRST: Date = date(2026, 6, 15);
pub const END: Date = date(2026, 11, 16);

/// A row of the roster.
#[derive(Debug, Clone)]
pub struct Member {
    pub user: String,
    pub person: bool,
    pub groups: BTreeMap<&'static str, String>,
    pub from: Date,
    /// The day after the last; [`Date::MAX`] is open.
    pub to: Date,
}

#[derive(Debug, Clone)]
pub struct Feature {
    pub key: String,
    pub released: Option<Date>,
    pub roles: Vec<String>,
    pub cadence: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    Login,
    FailedLogin,
    Click {
        feature: String,
        session: String,
    },
    Feedback {
        score: Option<u8>,
        category: Option<String>,
        feature: Option<String>,
    },
}

#[derive(Debug, Clone)]
pub struct Event {
    pub user: String,
    pub at: Timestamp,
    /// Local.
    pub day: Date,
    pub hour: i8,
    pub deed: Deed,
}

#[derive(Clone)]
pub struct World {
    pub zone: &'static str,
    /// 1 = Monday.
    pub week_start: i8,
    pub weekdays: BTreeSet<i8>,
    pub holidays: Vec<Date>,
    pub extra_working_days: Vec<Date>,
    pub phases: Vec<(String, Date)>,
    /// Of the phases that have been told whether theirs is met.
    pub kpis: BTreeMap<String, bool>,
    pub features: Vec<Feature>,
    pub roster: Vec<Member>,
    pub trainings: BTreeMap<String, Date>,
    pub events: Vec<Event>,
    pub min_group_size: u64,
    /// Whom a question is about: persons with one of the values in each dimension that is named; everybody where none is.
    pub filter: Vec<(&'static str, String)>,
}

impl World {
    pub fn random(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let rng = &mut rng;
        let mut weekdays: BTreeSet<i8> = if rng.random_bool(0.7) {
            (1..6).collect()
        } else {
            [7, 1, 2, 3, 4].into()
        };
        if rng.random_bool(0.2) {
            weekdays.insert(6);
        }
        let mut world = Self {
            zone: ZONES.choose(rng).unwrap(),
            week_start: *[1, 1, 7, 6].choose(rng).unwrap(),
            weekdays,
            holidays: (0..6).map(|_| day(rng)).collect::<BTreeSet<_>>().into_iter().collect(),
            extra_working_days: Vec::new(),
            phases: vec![
                ("pilot".to_owned(), FIRST.saturating_add(10.days())),
                ("wide".to_owned(), FIRST.saturating_add(rng.random_range(40..80).days())),
            ],
            kpis: BTreeMap::new(),
            features: Vec::new(),
            roster: Vec::new(),
            trainings: BTreeMap::new(),
            events: Vec::new(),
            min_group_size: rng.random_range(2..=5),
            filter: Vec::new(),
        };
        let extra: BTreeSet<_> = (0..4)
            .map(|_| day(rng))
            .filter(|day| !world.holidays.contains(day))
            .collect();
        world.extra_working_days = extra.into_iter().collect();
        world.features = features(rng);
        world.hire(rng);
        world.live(rng);
        world.fall_silent(rng);
        for (phase, _) in &world.phases {
            world
                .kpis
                .extend(rng.random_bool(0.8).then(|| (phase.clone(), rng.random_bool(0.8))));
        }
        world
    }

    fn hire(&mut self, rng: &mut ChaCha8Rng) {
        for number in 0..rng.random_range(25..60) {
            let person = number % 20 != 7;
            let user = if person {
                format!("员工-{number}")
            } else {
                format!("bot-{number}")
            };
            let mut from = if rng.random_bool(0.6) {
                date(2026, 1, 1)
            } else {
                day(rng)
            };
            for _ in 0..rng.random_range(1..=3) {
                let open = rng.random_bool(0.6);
                let to = if open {
                    Date::MAX
                } else {
                    from.saturating_add(rng.random_range(1..90).days())
                };
                let mut pick = |words: &[&str]| (*words.choose(rng).unwrap()).to_owned();
                let groups = BTreeMap::from([
                    ("unit", pick(&UNITS)),
                    ("role", pick(&ROLES)),
                    ("tier", pick(&["operator", "operator", "management"])),
                    ("site", pick(&["", "north", "south"])),
                    ("phase", pick(&["pilot", "wide", "wide", ""])),
                ]);
                self.roster.push(Member {
                    user: user.clone(),
                    person,
                    groups,
                    from,
                    to,
                });
                if open {
                    break;
                }
                // Sometimes the next row begins at once, sometimes after a gap.
                from = to.saturating_add((rng.random_range(0..3) * 9).days());
            }
            if person && rng.random_bool(0.4) {
                self.trainings
                    .insert(user, FIRST.saturating_add((60 + 7 * rng.random_range(0..3)).days()));
            }
        }
    }

    /// What everybody does, also two who are on no roster.
    fn live(&mut self, rng: &mut ChaCha8Rng) {
        let zone = TimeZone::get(self.zone).unwrap();
        let mut users: Vec<_> = self.roster.iter().map(|member| member.user.clone()).collect();
        users.extend(["stranger-1".to_owned(), "stranger-2".to_owned()]);
        users.dedup();
        let mut events = Vec::new();
        for user in users {
            let keen = *[0.0, 0.1, 0.3, 0.6].choose(rng).unwrap();
            let favourites: Vec<_> = self
                .features
                .choose_multiple(rng, 4)
                .map(|feature| feature.key.clone())
                .collect();
            let mut away = (END, END);
            if rng.random_bool(0.5) {
                let begins = day(rng);
                away = (begins, begins.saturating_add(rng.random_range(5..60).days()));
            }
            for day in days(FIRST, END) {
                if rng.random_bool(keen) && !(away.0 <= day && day < away.1) {
                    for _ in 0..rng.random_range(1..6) {
                        let minute = if rng.random_bool(0.8) {
                            rng.random_range(480..1020)
                        } else {
                            rng.random_range(0..1440)
                        };
                        let civil = day.at(0, 0, 0, 0).saturating_add(i64::from(minute).minutes());
                        let at = civil.to_zoned_datetime(zone.clone()).unwrap().timestamp();
                        // What falls into the hour that daylight saving skips is moved by it.
                        let local = at.to_zoned_datetime(zone.clone());
                        let deed = deed(rng, &favourites, day);
                        events.push(Event {
                            user: user.clone(),
                            at,
                            day: local.date(),
                            hour: local.hour(),
                            deed,
                        });
                    }
                }
            }
            if rng.random_bool(0.2) {
                let at = day(rng).at(9, 0, 0, 0).to_zoned_datetime(zone.clone()).unwrap();
                events.push(Event {
                    user,
                    at: at.timestamp(),
                    day: at.date(),
                    hour: 9,
                    deed: Deed::FailedLogin,
                });
            }
        }
        self.events = events;
    }

    /// One of the sources sends nothing for some days.
    fn fall_silent(&mut self, rng: &mut ChaCha8Rng) {
        let silent = *["/sso", "/erp", "/survey"].choose(rng).unwrap();
        let begins = day(rng);
        let ends = begins.saturating_add(rng.random_range(1..12).days());
        self.events
            .retain(|event| source(&event.deed) != silent || event.day < begins || event.day >= ends);
    }

    pub fn definition(&self) -> Value {
        let weekday = |number: &i8| WEEKDAYS[*number as usize - 1];
        let features = self.features.iter().map(|feature| {
            let mut value = json!({"key": feature.key, "title": "Title", "roles": feature.roles});
            if let Some(released) = feature.released {
                value["released"] = json!(released);
            }
            if let Some(cadence) = feature.cadence {
                value["cadence"] = json!(cadence);
            }
            value
        });
        let phases = self.phases.iter().map(|(id, go_live)| {
            let mut value = json!({"id": id, "name": id, "go_live": go_live});
            if let Some(met) = self.kpis.get(id) {
                value["kpi_met"] = json!(met);
            }
            value
        });
        json!({
            "system": "erp", "name": "ERP", "timezone": self.zone,
            "calendar": {
                "weekdays": self.weekdays.iter().map(weekday).collect::<Vec<_>>(), "week_start": weekday(&self.week_start),
                "holidays": self.holidays, "extra_working_days": self.extra_working_days,
            },
            "phases": phases.collect::<Vec<_>>(),
            // The last two are clicked, but not in the catalogue.
            "features": features.take(self.features.len() - 2).collect::<Vec<_>>(),
        })
    }

    pub fn catalogue(&self) -> &[Feature] {
        &self.features[..self.features.len() - 2]
    }

    pub fn roster_file(&self) -> String {
        let mut file = "user_id,kind,unit,role,tier,site,phase,entitled_from,entitled_to\n".to_owned();
        for row in &self.roster {
            let kind = if row.person { "person" } else { "service" };
            let to = if row.to == Date::MAX {
                String::new()
            } else {
                row.to.to_string()
            };
            let [unit, role, tier, site, phase] = ["unit", "role", "tier", "site", "phase"].map(|by| &row.groups[by]);
            file += &format!(
                "{},{kind},{unit},{role},{tier},{site},{phase},{},{to}\n",
                row.user, row.from
            );
        }
        file
    }

    pub fn training_file(&self) -> String {
        let rows = self.trainings.iter().map(|(user, day)| format!("{user},{day}\n"));
        std::iter::once("user_id,trained_on\n".to_owned()).chain(rows).collect()
    }

    /// As CloudEvents, in no order, some of them twice.
    pub fn messages(&self, seed: u64) -> Vec<Value> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut messages: Vec<_> = self
            .events
            .iter()
            .enumerate()
            .map(|(id, event)| message(id, event))
            .collect();
        let again: Vec<_> = messages
            .choose_multiple(&mut rng, messages.len() / 20)
            .cloned()
            .collect();
        messages.extend(again);
        messages.shuffle(&mut rng);
        messages
    }
}

fn features(rng: &mut ChaCha8Rng) -> Vec<Feature> {
    let feature = |number: usize| {
        let roles: BTreeSet<_> = (0..rng.random_range(0..3))
            .map(|_| (*ROLES.choose(rng).unwrap()).to_owned())
            .collect();
        Feature {
            key: format!("模块{}.f{number}", number % 3),
            released: rng.random_bool(0.6).then(|| day(rng)),
            roles: roles.into_iter().collect(),
            cadence: *[None, None, Some("weekly"), Some("monthly"), Some("quarterly")]
                .choose(rng)
                .unwrap(),
        }
    };
    (0..12).map(feature).collect()
}

fn deed(rng: &mut ChaCha8Rng, favourites: &[String], day: Date) -> Deed {
    match rng.random_range(0..20) {
        0..4 => Deed::Login,
        4 => Deed::FailedLogin,
        5 => Deed::Feedback {
            score: rng.random_bool(0.7).then(|| rng.random_range(1..=5)),
            category: rng
                .random_bool(0.7)
                .then(|| (*CATEGORIES.choose(rng).unwrap()).to_owned()),
            feature: rng.random_bool(0.5).then(|| favourites.choose(rng).unwrap().clone()),
        },
        // What was liked in summer is not what is liked in autumn.
        _ => Deed::Click {
            feature: favourites[rng.random_range(if day < date(2026, 9, 15) { 0..3 } else { 1..4 })].clone(),
            session: if rng.random_bool(0.5) {
                format!("s{day}")
            } else {
                String::new()
            },
        },
    }
}

fn message(id: usize, event: &Event) -> Value {
    let (kind, data) = match &event.deed {
        Deed::Login => ("login", json!({"system": "erp", "outcome": "success"})),
        Deed::FailedLogin => ("login", json!({"system": "erp", "outcome": "failure"})),
        Deed::Click { feature, session } if session.is_empty() => {
            ("feature_click", json!({"system": "erp", "feature": feature}))
        }
        Deed::Click { feature, session } => (
            "feature_click",
            json!({"system": "erp", "feature": feature, "session": session}),
        ),
        Deed::Feedback {
            score,
            category,
            feature,
        } => (
            "feedback",
            json!({"system": "erp", "score": score, "category": category, "feature": feature}),
        ),
    };
    json!({
        "specversion": "1.0", "id": id.to_string(), "source": source(&event.deed), "type": format!("usage.{kind}.v1"),
        "subject": event.user, "time": event.at, "data": data,
    })
}

/// What sends such events.
pub fn source(deed: &Deed) -> &'static str {
    match deed {
        Deed::Login | Deed::FailedLogin => "/sso",
        Deed::Click { .. } => "/erp",
        Deed::Feedback { .. } => "/survey",
    }
}

/// A day on which things happen.
fn day(rng: &mut ChaCha8Rng) -> Date {
    FIRST.saturating_add(rng.random_range(0..days(FIRST, END).count() as i64).days())
}

/// The days of [from, to).
pub fn days(from: Date, to: Date) -> impl Iterator<Item = Date> {
    from.series(1.day()).take_while(move |day| *day < to)
}
