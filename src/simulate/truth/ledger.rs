//! What is known of the company and what happened there: all that the numbers are computed from.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::window::Window;
use crate::simulate::behaviour::{Action, Event};
use crate::simulate::catalogue::{FEATURES, Fate, PHASES, ROLES};
use crate::simulate::company::{Calendar, Company, Kind};

/// A row of the roster, valid on `[from, to)`.
#[derive(Debug, Clone)]
pub struct Row {
    pub user: u32,
    pub is_person: bool,
    pub unit: &'static str,
    pub role: &'static str,
    pub tier: &'static str,
    pub site: &'static str,
    pub phase: &'static str,
    pub from: Date,
    pub to: Option<Date>,
}

#[derive(Debug, Clone)]
pub struct Feature {
    pub key: &'static str,
    pub title: &'static str,
    pub is_catalogued: bool,
    pub released: Date,
    /// Empty: everybody is expected to use it.
    pub roles: Vec<&'static str>,
}

impl Feature {
    pub fn is_expected_of(&self, role: &str) -> bool {
        self.roles.is_empty() || self.roles.contains(&role)
    }
}

/// What a user did on a local day.
#[derive(Debug, Clone, Copy, Default)]
pub struct UserDay {
    pub logins: u32,
    pub clicks: u32,
    /// Bit h is set when they clicked in local hour h.
    pub click_hours: u32,
}

/// Roster, catalogue, calendar, and every accepted event, summed up by user and local day.
/// Its memory grows with users × days × features, not with events.
pub struct Ledger {
    pub zone: TimeZone,
    pub calendar: Calendar,
    pub rows: Vec<Row>,
    pub features: Vec<Feature>,
    pub user_days: HashMap<(u32, Date), UserDay>,
    pub feature_days: HashMap<(u16, u32, Date), u32>,
    pub hour_clicks: HashMap<(Date, u8), u64>,
}

impl Ledger {
    /// Nothing has happened yet.
    pub fn new(company: &Company) -> Self {
        let rows = company
            .members
            .iter()
            .enumerate()
            .filter(|(_, member)| member.kind != Kind::Stranger);
        let rows = rows.flat_map(|(user, member)| {
            member.rows.iter().map(move |row| Row {
                user: user as u32,
                is_person: member.kind == Kind::Person,
                unit: row.unit,
                role: ROLES[row.role].0,
                tier: ROLES[row.role].1,
                site: row.site,
                phase: PHASES[row.phase].0,
                from: row.from,
                to: row.to,
            })
        });
        let features = FEATURES.iter().map(|feature| {
            let is_catalogued = feature.fate != Fate::Uncatalogued;
            Feature {
                key: feature.key,
                title: feature.title,
                is_catalogued,
                released: company.released(feature.fate),
                // What is not in the catalogue declares no roles, whoever clicks it.
                roles: feature
                    .roles
                    .iter()
                    .filter(|_| is_catalogued)
                    .map(|&role| ROLES[role].0)
                    .collect(),
            }
        });
        Self {
            zone: company.plan.zone.clone(),
            calendar: company.calendar.clone(),
            rows: rows.collect(),
            features: features.collect(),
            user_days: HashMap::new(),
            feature_days: HashMap::new(),
            hour_clicks: HashMap::new(),
        }
    }

    /// Enters an event that was sent well-formed; not its repeats.
    pub fn record(&mut self, event: &Event) {
        let time =
            Timestamp::from_millisecond(event.time_ms).expect("simulated days are far from the ends of the calendar");
        let local = self.zone.to_datetime(time);
        let (date, hour) = (local.date(), local.hour().unsigned_abs());
        let user_day = self.user_days.entry((event.member, date)).or_default();
        match event.action {
            Action::Login { success: true } => user_day.logins += 1,
            Action::Login { success: false } | Action::Feedback { .. } => {}
            Action::Click { feature } => {
                user_day.clicks += 1;
                user_day.click_hours |= 1 << hour;
                *self.feature_days.entry((feature, event.member, date)).or_default() += 1;
                *self.hour_clicks.entry((date, hour)).or_default() += 1;
            }
        }
    }

    /// M1: the persons entitled on at least one day of the window, each with the row that says their group: the one valid on
    /// the last day of the window, or on their last valid day in it.
    pub fn entitled(&self, window: Window) -> HashMap<u32, &Row> {
        let mut entitled: HashMap<u32, &Row> = HashMap::new();
        for row in &self.rows {
            let overlaps = row.from < window.to && row.to.is_none_or(|to| to > window.from);
            if row.is_person && overlaps && entitled.get(&row.user).is_none_or(|other| other.from < row.from) {
                entitled.insert(row.user, row);
            }
        }
        entitled
    }

    pub fn service_accounts(&self) -> HashSet<u32> {
        self.rows
            .iter()
            .filter(|row| !row.is_person)
            .map(|row| row.user)
            .collect()
    }
}
