//! What Kafka acknowledged, and what must follow from it. Derived here from the definitions in product.md, without the
//! product's own SQL.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;
use uptake::event::Identity;
use uptake::pseudonym::Pseudonymizer;

pub const SOURCE: &str = "/chaos";
const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;

#[derive(Debug, Clone, Copy)]
pub enum Action {
    Login { success: bool },
    Click { feature: &'static str },
    Feedback { score: u8 },
}

/// One event, wherever and however often it is sent. Its system has no definition, so that its days are those of UTC.
#[derive(Debug, Clone)]
pub struct Event {
    pub id: String,
    pub partition: i32,
    pub system: &'static str,
    pub user: String,
    pub time_ms: i64,
    pub action: Action,
}

impl Event {
    pub fn identity(&self) -> u64 {
        Identity::of(SOURCE, &self.id).0
    }

    pub fn message(&self) -> Vec<u8> {
        let system = self.system;
        let (kind, data) = match self.action {
            Action::Login { success } => {
                let outcome = if success { "success" } else { "failure" };
                ("usage.login.v1", json!({"system": system, "outcome": outcome}))
            }
            Action::Click { feature } => ("usage.feature_click.v1", json!({"system": system, "feature": feature})),
            Action::Feedback { score } => ("usage.feedback.v1", json!({"system": system, "score": score})),
        };
        let time = Timestamp::from_millisecond(self.time_ms)
            .unwrap_or_default()
            .to_string();
        json!({"specversion": "1.0", "id": self.id, "source": SOURCE, "type": kind, "subject": self.user, "time": time,
            "data": data})
        .to_string()
        .into_bytes()
    }
}

/// A rollup as rows of a text key and its number: clicks, or 1 for a user in a set.
pub type Rollup = BTreeMap<String, Vec<u64>>;

/// Every event that was acknowledged, by identity.
#[derive(Default)]
pub struct Truth {
    pub events: BTreeMap<u64, Event>,
}

impl Truth {
    pub fn add(&mut self, event: Event) {
        self.events.insert(event.identity(), event);
    }

    /// `system/activity/day/user`.
    pub fn day_users(&self, names: &Pseudonymizer) -> Rollup {
        self.users(names, |event, day| {
            let activity = match event.action {
                Action::Login { success: true } => "login",
                Action::Click { .. } => "click",
                Action::Login { success: false } | Action::Feedback { .. } => "other",
            };
            Some(format!("{}/{activity}/{day}", event.system))
        })
    }

    /// `system/day/hour/user`, of clicks.
    pub fn hour_users(&self, names: &Pseudonymizer) -> Rollup {
        self.users(names, |event, day| match event.action {
            Action::Click { .. } => Some(format!("{}/{day}/{}", event.system, hour_of(event))),
            _ => None,
        })
    }

    /// `system/feature/day/user`, of clicks.
    pub fn feature_users(&self, names: &Pseudonymizer) -> Rollup {
        self.users(names, |event, day| match event.action {
            Action::Click { feature } => Some(format!("{}/{feature}/{day}", event.system)),
            _ => None,
        })
    }

    fn users(&self, names: &Pseudonymizer, key: impl Fn(&Event, i64) -> Option<String>) -> Rollup {
        let events = self.events.values();
        let member = |event: &Event| {
            let key = key(event, event.time_ms.div_euclid(DAY_MS))?;
            Some((format!("{key}/{}", names.pseudonym(&event.user)), vec![1]))
        };
        events.filter_map(member).collect()
    }

    /// `system/feature/day/hour` → clicks.
    pub fn feature_hours(&self) -> Rollup {
        self.clicks(|event, feature, day| format!("{}/{feature}/{day}/{}", event.system, hour_of(event)))
    }

    /// `system/feature/user/day` → clicks.
    pub fn feature_user_days(&self, names: &Pseudonymizer) -> Rollup {
        self.clicks(|event, feature, day| format!("{}/{feature}/{}/{day}", event.system, names.pseudonym(&event.user)))
    }

    fn clicks(&self, key: impl Fn(&Event, &str, i64) -> String) -> Rollup {
        let mut rollup = Rollup::new();
        for event in self.events.values() {
            if let Action::Click { feature } = event.action {
                let key = key(event, feature, event.time_ms.div_euclid(DAY_MS));
                rollup.entry(key).or_insert_with(|| vec![0])[0] += 1;
            }
        }
        rollup
    }
}

fn hour_of(event: &Event) -> i64 {
    event.time_ms.rem_euclid(DAY_MS) / HOUR_MS
}
