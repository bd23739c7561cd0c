//! Who works at the simulated company: a pure function of the arguments, person by person.
//!
//! Each person draws from a random stream of their own, so that a larger company has the same people and some more.

use std::fmt::Write as _;

use jiff::Span;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::catalogue::{FEATURES, Fate, PHASES, ROLES, Shift, TINY_UNIT, TINY_UNIT_PEOPLE, UNITS, Unit};

/// What the company is made from.
#[derive(Debug, Clone)]
pub struct Plan {
    pub system: String,
    pub users: usize,
    pub days: u16,
    pub start: Date,
    pub seed: u64,
    pub zone: TimeZone,
}

pub struct Company {
    pub plan: Plan,
    pub calendar: Calendar,
    pub members: Vec<Member>,
}

/// Monday to Friday, but for the holidays, and the extra working days.
#[derive(Debug, Clone)]
pub struct Calendar {
    pub holidays: Vec<Date>,
    pub extra_working_days: Vec<Date>,
}

impl Calendar {
    pub fn is_working_day(&self, day: Date) -> bool {
        let weekend = matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday);
        self.extra_working_days.contains(&day) || (!weekend && !self.holidays.contains(&day))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Person,
    Service,
    /// Uses the system without standing on the roster.
    Stranger,
}

/// One line of the roster: valid on `[from, to)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RosterRow {
    pub unit: &'static str,
    pub role: usize,
    pub site: &'static str,
    pub phase: usize,
    pub from: Date,
    pub to: Option<Date>,
}

/// A person, a service account or a stranger, with their habits.
#[derive(Debug, Clone)]
pub struct Member {
    pub subject: String,
    /// The random stream that is theirs alone.
    pub stream: u64,
    pub kind: Kind,
    /// In the order of their dates; never empty. A stranger's say what they do, but are not on the roster.
    pub rows: Vec<RosterRow>,
    /// First day of use; none: never logs in.
    pub uses_from: Option<Date>,
    /// No use on and after this day.
    pub uses_until: Option<Date>,
    pub shift: Shift,
    pub late_shift: bool,
    /// Probability of use on a working day.
    pub diligence: f64,
    /// Mean clicks of a session.
    pub intensity: f64,
}

impl Member {
    /// The row that says what they do on a day: the valid one, else the last before, else the first.
    pub fn row_on(&self, day: Date) -> &RosterRow {
        let valid_or_before = self.rows.iter().rev().find(|row| row.from <= day);
        valid_or_before.unwrap_or(&self.rows[0])
    }
}

const SERVICE_STREAMS: u64 = 1 << 40;
const STRANGER_STREAMS: u64 = 2 << 40;

impl Plan {
    /// The day after the last simulated one.
    pub fn end(&self) -> Date {
        self.day(self.days)
    }

    pub fn day(&self, index: u16) -> Date {
        add_days(self.start, i64::from(index))
    }

    pub fn at_share(&self, share: f64) -> Date {
        add_days(self.start, (f64::from(self.days) * share) as i64)
    }

    /// The generator of one stream, set to a place of its own for each `chapter`, so that what is drawn in one never
    /// shifts another.
    pub fn rng(&self, stream: u64, chapter: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(stream);
        rng.set_word_pos(u128::from(chapter) << 24);
        rng
    }

    /// A Thursday and Friday three weeks before the end are holidays, and the Saturday after them is worked.
    fn calendar(&self) -> Calendar {
        let mut thursday = add_days(self.end(), -22);
        while thursday.weekday() != Weekday::Thursday {
            thursday = add_days(thursday, 1);
        }
        Calendar {
            holidays: vec![thursday, add_days(thursday, 1)],
            extra_working_days: vec![add_days(thursday, 2)],
        }
    }
}

pub fn add_days(day: Date, days: i64) -> Date {
    day.saturating_add(Span::new().days(days))
}

const TARGETS: &str = "targets:
  - {id: activity-80, metric: adoption_rate, by: phase, target: 0.80, due_days: 90, breach_days: 5}
  - {id: units-active, metric: adoption_rate, by: unit, target: 0.90, due_days: 120, breach_days: 5, drop: 0.5}
  - {id: breadth, metric: feature_breadth, by: role, target: 0.60, due_days: 90, breach_days: 5}
  - {id: satisfied, metric: satisfaction, target: 0.85, due_days: 90, breach_days: 5}
";

impl Company {
    pub fn new(plan: Plan) -> Self {
        let calendar = plan.calendar();
        let services = 3 + plan.users / 2_000;
        let strangers = 2 + plan.users / 250;
        let members = (0..plan.users)
            .map(|n| person(&plan, n))
            .chain((0..services).map(|n| service(&plan, n)))
            .chain((0..strangers).map(|n| stranger(&plan, n)))
            .collect();
        Self {
            plan,
            calendar,
            members,
        }
    }

    /// The roster file (architecture.md, "Roster file").
    pub fn roster_csv(&self) -> String {
        let mut csv = String::from("user_id,kind,unit,role,tier,site,phase,entitled_from,entitled_to\n");
        for member in &self.members {
            let kind = match member.kind {
                Kind::Person => "person",
                Kind::Service => "service",
                Kind::Stranger => continue,
            };
            for row in &member.rows {
                let (role, tier) = ROLES[row.role];
                let to = row.to.map(|to| to.to_string()).unwrap_or_default();
                let (subject, unit, site, phase, from) =
                    (&member.subject, row.unit, row.site, PHASES[row.phase].0, row.from);
                let written = writeln!(csv, "{subject},{kind},{unit},{role},{tier},{site},{phase},{from},{to}");
                written.expect("a String takes every write");
            }
        }
        csv
    }

    /// The system definition (architecture.md, "System definition").
    pub fn definition_yaml(&self) -> String {
        let list = |days: &[Date]| days.iter().map(Date::to_string).collect::<Vec<_>>().join(", ");
        let mut yaml = format!(
            "system: {}\nname: Simulated ERP\ntimezone: {}\ncalendar:\n  weekdays: [mon, tue, wed, thu, fri]\n  \
             holidays: [{}]\n  extra_working_days: [{}]\nphases:\n",
            self.plan.system,
            self.plan.zone.iana_name().unwrap_or("UTC"),
            list(&self.calendar.holidays),
            list(&self.calendar.extra_working_days),
        );
        for (id, name, share) in PHASES {
            yaml += &format!(
                "  - {{id: {id}, name: {name}, go_live: {}}}\n",
                self.plan.at_share(share)
            );
        }
        yaml += "features:\n";
        for feature in FEATURES.iter().filter(|feature| feature.fate != Fate::Uncatalogued) {
            let roles: Vec<_> = feature.roles.iter().map(|&role| ROLES[role].0).collect();
            yaml += &format!(
                "  - {{key: \"{}\", title: \"{}\", released: {}, roles: [{}]}}\n",
                feature.key,
                feature.title,
                self.released(feature.fate),
                roles.join(", "),
            );
        }
        yaml + TARGETS
    }

    /// The day from which a feature can be clicked.
    pub fn released(&self, fate: Fate) -> Date {
        match fate {
            Fate::ReleasedAt(share) => self.plan.at_share(share),
            Fate::NotYetReleased => add_days(self.plan.end(), 30),
            _ => self.plan.start,
        }
    }
}

fn person(plan: &Plan, number: usize) -> Member {
    let stream = number as u64;
    let mut rng = plan.rng(stream, 0);
    let unit = if number < TINY_UNIT_PEOPLE {
        &TINY_UNIT
    } else {
        pick_unit(&mut rng)
    };
    let go_live = plan.at_share(PHASES[unit.phase].2);
    let joins_late = rng.random_bool(0.03);
    let from = add_days(go_live, if joins_late { rng.random_range(1..20) } else { 0 });
    let mut rows = vec![row_in(unit, from, &mut rng)];
    let change = add_days(from, rng.random_range(8..26));
    let mut leaves = None;
    match rng.random_range(0..100) {
        0..2 => {
            rows[0].to = Some(change);
            leaves = Some(change);
        }
        // Moves to another unit, with another role; the phase stays, it is the wave in which they got the system.
        2..5 => {
            rows[0].to = Some(change);
            let phase = rows[0].phase;
            let moved = row_in(pick_unit(&mut rng), change, &mut rng);
            rows.push(RosterRow { phase, ..moved });
        }
        // Away for a while: not entitled in between.
        5 => {
            rows[0].to = Some(change);
            let back = add_days(change, rng.random_range(3..15));
            rows.push(RosterRow {
                from: back,
                to: None,
                ..rows[0].clone()
            });
        }
        _ => {}
    }
    // The S-curve: the day of first use is logistic around ten days after the person could begin.
    let p: f64 = rng.random_range(0.001..0.999);
    let delay = 10.0 + 4.0 * (p / (1.0 - p)).ln();
    let never = rng.random_bool(0.05);
    let uses_from = (!never).then(|| add_days(from, delay.max(0.0) as i64));
    let dormant = rng.random_bool(0.08).then(|| rng.random_range(4..25));
    let dormant_from = dormant.zip(uses_from).map(|(days, first)| add_days(first, days));
    // Some accounts go on being used for a few days after their person has left.
    let lingers = if rng.random_bool(0.3) { 6 } else { 0 };
    let left = leaves.map(|day| add_days(day, lingers));
    Member {
        subject: format!("u-{:06}", number + 1),
        stream,
        kind: Kind::Person,
        rows,
        uses_from,
        uses_until: dormant_from.into_iter().chain(left).min(),
        shift: unit.shift,
        late_shift: unit.shift == Shift::LateToo && rng.random_bool(0.5),
        diligence: rng.random_range(0.35..0.97),
        intensity: rng.random_range(2.0..14.0),
    }
}

/// An interface that works day and night; on the roster as `service`, and never counted as a person.
fn service(plan: &Plan, number: usize) -> Member {
    let stream = SERVICE_STREAMS + number as u64;
    let mut rng = plan.rng(stream, 0);
    Member {
        subject: format!("svc-{:03}", number + 1),
        stream,
        kind: Kind::Service,
        rows: vec![row_in(&UNITS[number % UNITS.len()], plan.start, &mut rng)],
        uses_from: Some(plan.start),
        uses_until: None,
        shift: Shift::RoundTheClock,
        late_shift: false,
        diligence: 1.0,
        intensity: 1.0,
    }
}

fn stranger(plan: &Plan, number: usize) -> Member {
    let stream = STRANGER_STREAMS + number as u64;
    let mut rng = plan.rng(stream, 0);
    Member {
        subject: format!("x-{:04}", number + 1),
        stream,
        kind: Kind::Stranger,
        rows: vec![row_in(pick_unit(&mut rng), plan.start, &mut rng)],
        uses_from: Some(plan.at_share(rng.random_range(0.0..0.9))),
        uses_until: None,
        shift: Shift::Office,
        late_shift: false,
        diligence: rng.random_range(0.2..0.6),
        intensity: 3.0,
    }
}

fn row_in(unit: &Unit, from: Date, rng: &mut ChaCha8Rng) -> RosterRow {
    RosterRow {
        unit: unit.name,
        role: weighted(unit.roles, rng),
        site: unit.sites[rng.random_range(0..unit.sites.len())],
        phase: unit.phase,
        from,
        to: None,
    }
}

fn pick_unit(rng: &mut ChaCha8Rng) -> &'static Unit {
    weighted(&UNITS.each_ref().map(|unit| (unit, unit.weight)), rng)
}

/// One of the values, as often as its weight says.
pub fn weighted<T: Copy>(choices: &[(T, f64)], rng: &mut ChaCha8Rng) -> T {
    let total: f64 = choices.iter().map(|(_, weight)| weight).sum();
    let mut left = rng.random_range(0.0..total);
    for &(value, weight) in choices {
        if left < weight {
            return value;
        }
        left -= weight;
    }
    choices[choices.len() - 1].0
}
