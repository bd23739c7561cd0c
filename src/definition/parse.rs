//! From the text of a definition to its types; every rule that a definition must keep stands here.

use std::collections::HashSet;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::node::{Cursor, Leaf, Node};
use super::{Cadence, Calendar, Definition, Dimension, FIRST_DAY, Feature, LAST_DAY, Metric, Phase, Target, Weekday};
use crate::error::Problems;
use crate::event;

pub fn definition(text: &str, origin: &str) -> Result<Definition, Problems> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let root = Node::parse(text, origin)?;
    let mut problems = Problems::new(origin);
    match read_definition(&Cursor::root(&root), &mut problems) {
        Some(definition) if problems.list.is_empty() => Ok(definition),
        _ => Err(problems),
    }
}

// Each `read_…` returns `None` only after it has noted a problem. All parts are read before `?` gives up, so that one
// problem hides no other.

fn read_definition(at: &Cursor, problems: &mut Problems) -> Option<Definition> {
    let keys = [
        "system", "name", "timezone", "calendar", "phases", "features", "targets",
    ];
    let [system, name, timezone, calendar, phases, features, targets] = at.entries(problems, keys)?;
    let system = system.required(problems, system_name);
    let name = name.required(problems, short_text);
    let timezone = timezone.required(problems, zone);
    let calendar = read_calendar(&calendar, problems);
    let phases = list(&phases, problems, read_phase, |phase| phase.id.clone());
    let features = list(&features, problems, read_feature, |feature| feature.key.clone());
    let targets = list(&targets, problems, read_target, |target| target.id.clone());
    Some(Definition {
        system: system?,
        name: name?,
        timezone: timezone?,
        calendar: calendar?,
        phases,
        features,
        targets,
    })
}

fn read_calendar(at: &Cursor, problems: &mut Problems) -> Option<Calendar> {
    let keys = ["weekdays", "week_start", "holidays", "extra_working_days"];
    let [weekdays, week_start, holidays, extra] = at.entries(problems, keys)?;
    let mut days = leaves(&weekdays, problems, weekday, |_| None);
    if weekdays.is_empty_list() {
        weekdays.refuse(problems, "at least one of mon, tue, wed, thu, fri, sat, sun");
    }
    days.sort_by_key(|&day| day as u8);
    let week_start = week_start.optional(problems, weekday).unwrap_or_default();
    let holidays = leaves(&holidays, problems, date, |_| None);
    let extra_working_days = leaves(&extra, problems, date, |day| {
        holidays.contains(day).then_some("a day that is not in holidays too")
    });
    Some(Calendar {
        weekdays: days,
        week_start,
        holidays,
        extra_working_days,
    })
}

fn read_phase(at: &Cursor, problems: &mut Problems) -> Option<Phase> {
    let [id, name, go_live, kpi_met] = at.entries(problems, ["id", "name", "go_live", "kpi_met"])?;
    let id = id.required(problems, label);
    let name = name.required(problems, short_text);
    let go_live = go_live.required(problems, date);
    let kpi_met = kpi_met.optional(problems, boolean);
    Some(Phase {
        id: id?,
        name: name?,
        go_live: go_live?,
        kpi_met,
    })
}

fn read_feature(at: &Cursor, problems: &mut Problems) -> Option<Feature> {
    let [key, title, released, roles, cadence] =
        at.entries(problems, ["key", "title", "released", "roles", "cadence"])?;
    let key = key.required(problems, feature_key);
    let title = title.required(problems, short_text);
    let released = released.optional(problems, date);
    let roles = leaves(&roles, problems, label, |_| None);
    let cadence = cadence.optional(problems, |node| one_of(node, &CADENCES));
    Some(Feature {
        key: key?,
        title: title?,
        released,
        roles,
        cadence,
    })
}

fn read_target(at: &Cursor, problems: &mut Problems) -> Option<Target> {
    let keys = ["id", "metric", "by", "target", "due_days", "breach_days", "drop"];
    let [id, metric, by, target, due_days, breach_days, drop_at] = at.entries(problems, keys)?;
    let id = id.required(problems, label);
    let metric = metric.required(problems, |node| one_of(node, &METRICS));
    let by = by.optional(problems, |node| one_of(node, &DIMENSIONS));
    let target = target.required(problems, share);
    let due_days = due_days.required(problems, days);
    let breach_days = breach_days.required(problems, days);
    let drop = drop_at.optional(problems, share);
    if drop.is_some() && metric.is_some_and(|metric: Metric| !metric.is_daily()) {
        drop_at.refuse(problems, "nothing: only activity and logins are compared day by day");
    }
    Some(Target {
        id: id?,
        metric: metric?,
        by: by.unwrap_or_default(),
        target: target?,
        due_days: due_days?,
        breach_days: breach_days?,
        drop,
    })
}

/// The items of a list, each read by `read`, no two with the same key.
fn list<T>(
    at: &Cursor,
    problems: &mut Problems,
    read: fn(&Cursor, &mut Problems) -> Option<T>,
    key: fn(&T) -> String,
) -> Vec<T> {
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for item in at.items(problems) {
        let Some(value) = read(&item, problems) else { continue };
        let key = key(&value);
        if !seen.insert(key.clone()) {
            problems.push(item.place(), &key, "a value that no other item of the list has");
        }
        all.push(value);
    }
    all
}

/// The leaves of a list, no two alike and none that `refused` has an expectation for.
fn leaves<T: PartialEq>(
    at: &Cursor,
    problems: &mut Problems,
    read: Leaf<T>,
    refused: impl Fn(&T) -> Option<&'static str>,
) -> Vec<T> {
    let mut all = Vec::new();
    for item in at.items(problems) {
        let Some(value) = item.required(problems, read) else {
            continue;
        };
        let repeated = all
            .contains(&value)
            .then_some("a value that no other item of the list has");
        if let Some(expected) = repeated.or_else(|| refused(&value)) {
            item.refuse(problems, expected);
        }
        all.push(value);
    }
    all
}

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Mon),
    ("tue", Weekday::Tue),
    ("wed", Weekday::Wed),
    ("thu", Weekday::Thu),
    ("fri", Weekday::Fri),
    ("sat", Weekday::Sat),
    ("sun", Weekday::Sun),
];
const CADENCES: [(&str, Cadence); 5] = [
    (Cadence::Daily.name(), Cadence::Daily),
    (Cadence::Weekly.name(), Cadence::Weekly),
    (Cadence::Monthly.name(), Cadence::Monthly),
    (Cadence::Quarterly.name(), Cadence::Quarterly),
    (Cadence::Yearly.name(), Cadence::Yearly),
];
const METRICS: [(&str, Metric); 5] = [
    (Metric::AdoptionRate.name(), Metric::AdoptionRate),
    (Metric::LoginRate.name(), Metric::LoginRate),
    (Metric::LoginFrequency.name(), Metric::LoginFrequency),
    (Metric::FeatureBreadth.name(), Metric::FeatureBreadth),
    (Metric::Satisfaction.name(), Metric::Satisfaction),
];
const DIMENSIONS: [(&str, Dimension); 6] = [
    ("none", Dimension::None),
    ("unit", Dimension::Unit),
    ("role", Dimension::Role),
    ("tier", Dimension::Tier),
    ("site", Dimension::Site),
    ("phase", Dimension::Phase),
];

fn one_of<T: Copy>(node: &Node, choices: &[(&str, T)]) -> Result<T, String> {
    let found = node
        .text()
        .and_then(|text| choices.iter().find(|(name, _)| *name == text));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        format!("one of {}", names.join(", "))
    })
}

fn weekday(node: &Node) -> Result<Weekday, String> {
    one_of(node, &WEEKDAYS)
}

fn text_of(node: &Node, fits: impl Fn(&str) -> bool, expected: &str) -> Result<String, String> {
    node.text()
        .filter(|text| fits(text))
        .map(str::to_owned)
        .ok_or_else(|| expected.to_owned())
}

fn system_name(node: &Node) -> Result<String, String> {
    text_of(node, event::is_system_name, SYSTEM_NAME)
}

/// What [`event::is_system_name`] accepts, for messages.
pub(crate) const SYSTEM_NAME: &str = "1 to 64 characters a-z, 0-9, _ or -, beginning with a letter or digit";

/// A unit, role, site, phase or the like, as it stands in rosters and breakdowns.
pub(crate) fn is_label(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= event::MAX_LABEL && !text.chars().any(char::is_control)
}

const LABEL: &str = "1 to 128 characters (quoted if it is a number), no control characters";

fn label(node: &Node) -> Result<String, String> {
    text_of(node, is_label, LABEL)
}

fn feature_key(node: &Node) -> Result<String, String> {
    text_of(node, event::is_feature, LABEL)
}

fn short_text(node: &Node) -> Result<String, String> {
    let fits = |text: &str| (1..=256).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    text_of(
        node,
        fits,
        "1 to 256 characters (quoted if it is a number), no control characters",
    )
}

/// The zone's own spelling, since lookup ignores case. Offsets such as `+01:00` are no zones.
fn zone(node: &Node) -> Result<String, String> {
    node.text()
        .and_then(|text| TimeZone::get(text).ok())
        .and_then(|zone| zone.iana_name().map(str::to_owned))
        .ok_or_else(|| "an IANA time zone, e.g. Europe/Berlin".to_owned())
}

fn date(node: &Node) -> Result<Date, String> {
    node.text()
        .and_then(day)
        .ok_or_else(|| format!("a date YYYY-MM-DD from {FIRST_DAY} to {LAST_DAY}"))
}

/// A date `YYYY-MM-DD` and nothing else, among the days that storage can hold.
pub(crate) fn day(text: &str) -> Option<Date> {
    let date: Date = text.parse().ok().filter(|_| text.len() == 10)?;
    (FIRST_DAY..=LAST_DAY).contains(&date).then_some(date)
}

fn boolean(node: &Node) -> Result<bool, String> {
    node.bool().ok_or_else(|| "true or false".to_owned())
}

fn share(node: &Node) -> Result<f64, String> {
    node.number()
        .filter(|&x| x > 0.0 && x <= 1.0)
        .ok_or_else(|| "a number above 0 and at most 1".to_owned())
}

fn days(node: &Node) -> Result<u32, String> {
    node.number()
        .filter(|&x| (1.0..=3650.0).contains(&x) && x.fract() == 0.0)
        .map(|x| x as u32)
        .ok_or_else(|| "a whole number of days from 1 to 3650".to_owned())
}
