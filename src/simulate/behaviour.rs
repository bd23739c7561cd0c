//! What the people of the simulated company do on a day: they log in, click and now and then give feedback.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::catalogue::{FEATURES, Fate, ROLES, Shift};
use super::company::{Company, Kind, Member, weighted};

/// Something a member did. Members, days and features are indices into the company.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    pub member: u32,
    /// The day whose behaviour it belongs to; after a late shift its own local day is the next one.
    pub day: u16,
    /// Numbers the events of a member and day.
    pub number: u16,
    /// Milliseconds since 1970, UTC.
    pub time_ms: i64,
    pub action: Action,
}

impl Event {
    pub fn is_click(&self) -> bool {
        matches!(self.action, Action::Click { .. })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Login { success: bool },
    Click { feature: u16 },
    Feedback { score: u8, category: u8 },
}

pub const CATEGORIES: [&str; 4] = ["usability", "speed", "missing data", "培训"];

/// What is the same for everybody on one day: which features each role clicks, and how gladly.
pub struct Day {
    index: u16,
    date: Date,
    is_working_day: bool,
    /// Where the last simulated day ends.
    all_end_ms: i64,
    /// For each role: what it is expected to use, the most popular first.
    choices: Vec<Vec<(u16, f64)>>,
    /// What anybody might click out of curiosity.
    anything: Vec<(u16, f64)>,
}

impl Day {
    pub fn new(company: &Company, index: u16) -> Self {
        let date = company.plan.day(index);
        let passed = f64::from(index) / f64::from(company.plan.days);
        let appeal = |place: usize| match FEATURES[place].fate {
            Fate::Steady | Fate::Uncatalogued => 1.0,
            Fate::NeverUsed | Fate::NotYetReleased => 0.0,
            fate @ Fate::ReleasedAt(_) => f64::from(u8::from(date >= company.released(fate))),
            Fate::Fading(until) => (1.0 - passed / until).max(0.0),
        };
        // Popularity falls as in Zipf's law with the place among the features of the role.
        let choices_of = |is_choice: &dyn Fn(usize) -> bool| -> Vec<(u16, f64)> {
            (0..FEATURES.len())
                .filter(|&place| is_choice(place))
                .enumerate()
                .map(|(rank, place)| (place as u16, appeal(place) / (rank as f64 + 1.0).powf(0.8)))
                .filter(|&(_, weight)| weight > 0.0)
                .collect()
        };
        let expected =
            |role: usize, place: usize| FEATURES[place].roles.is_empty() || FEATURES[place].roles.contains(&role);
        Self {
            index,
            date,
            is_working_day: company.calendar.is_working_day(date),
            all_end_ms: start_of_hour_ms(company.plan.end(), 0, &company.plan.zone),
            choices: (0..ROLES.len())
                .map(|role| choices_of(&|place| expected(role, place)))
                .collect(),
            anything: choices_of(&|_| true),
        }
    }
}

/// Appends what one member does on one day to `events`. Draws only from the member's stream for that day, `rng`.
pub fn act(company: &Company, member_index: u32, day: &Day, rng: &mut ChaCha8Rng, events: &mut Vec<Event>) {
    let member = &company.members[member_index as usize];
    let Some(first) = member.uses_from else { return };
    if day.date < first || member.uses_until.is_some_and(|until| day.date >= until) {
        return;
    }
    let chance = if day.is_working_day || member.kind == Kind::Service {
        member.diligence
    } else {
        0.03
    };
    if !rng.random_bool(chance) {
        return;
    }
    let mut person_day = PersonDay {
        company,
        member,
        member_index,
        day,
        // One learns the system feature by feature.
        known: 3 + usize::try_from((day.date - first).get_days() / 3).unwrap_or_default(),
        number: 0,
        rng,
        events,
    };
    match member.shift {
        Shift::RoundTheClock => person_day.run_jobs(),
        Shift::Office | Shift::LateToo => person_day.work(),
    }
}

struct PersonDay<'a> {
    company: &'a Company,
    member: &'a Member,
    member_index: u32,
    day: &'a Day,
    known: usize,
    number: u16,
    rng: &'a mut ChaCha8Rng,
    events: &'a mut Vec<Event>,
}

impl PersonDay<'_> {
    /// One to three sessions at the hours of the shift.
    fn work(&mut self) {
        let sessions = weighted(&[(1, 0.6), (2, 0.3), (3, 0.1)], self.rng);
        for _ in 0..sessions {
            // Every third week the late shift swaps with the early one.
            let late = self.member.late_shift && (self.day.index / 7) % 3 != 2;
            let hours: &[(i32, f64)] = match (self.member.shift, late) {
                (_, true) => &[(15, 2.0), (16, 3.0), (18, 3.0), (20, 3.0), (22, 2.0), (23, 2.0)],
                (Shift::LateToo, false) => &[(6, 3.0), (7, 3.0), (9, 2.0), (11, 2.0), (13, 2.0)],
                _ => &[
                    (8, 2.0),
                    (9, 4.0),
                    (10, 3.0),
                    (11, 2.0),
                    (13, 2.0),
                    (14, 3.0),
                    (15, 3.0),
                    (16, 2.0),
                    (18, 0.5),
                ],
            };
            let hour = weighted(hours, self.rng);
            let start = start_of_hour_ms(self.day.date, hour, &self.company.plan.zone);
            let begins = start + self.rng.random_range(0..3_600_000);
            self.session(begins);
        }
        if self.rng.random_bool(0.01) {
            let score = weighted(
                &[(0, 0.1), (1, 0.05), (2, 0.1), (3, 0.2), (4, 0.35), (5, 0.2)],
                self.rng,
            );
            let category = self.rng.random_range(0..CATEGORIES.len()) as u8;
            let noon = start_of_hour_ms(self.day.date, 12, &self.company.plan.zone);
            let at = noon + self.rng.random_range(0..3_600_000);
            self.push(at, Action::Feedback { score, category });
        }
    }

    fn session(&mut self, start_ms: i64) {
        let mut now = start_ms;
        if self.rng.random_bool(0.04) {
            self.push(now, Action::Login { success: false });
            now += self.rng.random_range(3_000..20_000);
        }
        // Some come in by single sign-on, which the system does not report as a login.
        if !self.rng.random_bool(0.03) {
            self.push(now, Action::Login { success: true });
        }
        // Some only look in.
        if self.rng.random_bool(0.05) {
            return;
        }
        let clicks = 1.0 + exponential(self.member.intensity, self.rng);
        for _ in 0..(clicks as u32).min(200) {
            now += 1_000 + exponential(60_000.0, self.rng).min(1_800_000.0) as i64;
            let feature = self.feature();
            self.push(now, Action::Click { feature });
        }
    }

    /// One click in every half hour, day and night; no login.
    fn run_jobs(&mut self) {
        for half_hour in 0..48 {
            let start = start_of_hour_ms(self.day.date, half_hour / 2, &self.company.plan.zone);
            let feature = self.feature();
            self.push(start + i64::from(half_hour % 2) * 1_800_000, Action::Click { feature });
        }
    }

    fn feature(&mut self) -> u16 {
        if self.rng.random_bool(0.004) {
            return weighted(&self.day.anything, self.rng);
        }
        let choices = &self.day.choices[self.member.row_on(self.day.date).role];
        weighted(&choices[..self.known.min(choices.len())], self.rng)
    }

    /// What would fall after the last simulated day is left out: it may not have happened yet.
    fn push(&mut self, time_ms: i64, action: Action) {
        if time_ms >= self.day.all_end_ms {
            return;
        }
        self.events.push(Event {
            member: self.member_index,
            day: self.day.index,
            number: self.number,
            time_ms,
            action,
        });
        self.number += 1;
    }
}

fn exponential(mean: f64, rng: &mut ChaCha8Rng) -> f64 {
    -mean * (1.0 - rng.random::<f64>()).ln()
}

/// Milliseconds since 1970 at which a local hour begins; an hour that a clock change skips begins where the clock resumes.
pub fn start_of_hour_ms(date: Date, hour: i32, zone: &TimeZone) -> i64 {
    let local = date.at(hour as i8, 0, 0, 0);
    let timestamp = zone.to_ambiguous_timestamp(local).compatible();
    timestamp
        .expect("simulated days are far from the ends of the calendar")
        .as_millisecond()
}
