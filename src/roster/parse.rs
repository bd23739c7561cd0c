//! From the text of a roster to its rows; every rule that a roster must keep stands here.

use csv::{ReaderBuilder, StringRecord};
use jiff::civil::Date;
use serde_json::{Map, Value};

use super::{Context, Entitlement, Format, Kind, Roster};
use crate::definition::{self, FIRST_DAY, LAST_DAY, is_label};
use crate::error::{Problems, told_json};

pub const COLUMNS: [&str; 9] = [
    "user_id",
    "kind",
    "unit",
    "role",
    "tier",
    "site",
    "phase",
    "entitled_from",
    "entitled_to",
];
const TIERS: [&str; 4] = ["", "management", "operator", "administrator"];

/// A row that was read, and what is only needed until rows have been compared.
struct Read {
    row: Entitlement,
    /// Of the text: the line in CSV, the number of the item (from 1) in JSON.
    number: u64,
    user_id: String,
}

pub fn roster(text: &str, format: Format, origin: &str, context: &Context) -> Result<Roster, Problems> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut problems = Problems::new(origin);
    let mut rows = match format {
        Format::Csv => read_csv(text, context, &mut problems),
        Format::Json => read_json(text, context, &mut problems),
    };
    rows.sort_by_key(|read| (read.row.user, read.row.from));
    let place = |number| match format {
        Format::Csv => format!("line {number}"),
        Format::Json => format!("item {number}"),
    };
    refuse_overlaps(&rows, place, &mut problems);
    problems.none_or(|| Roster {
        rows: rows.into_iter().map(|read| read.row).collect(),
    })
}

fn read_csv(text: &str, context: &Context, problems: &mut Problems) -> Vec<Read> {
    let mut reader = ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    // The reader is given text, so that neither input nor encoding can fail.
    let header = reader.headers().cloned().unwrap_or_default();
    let Some(positions) = positions(&header, problems) else {
        return Vec::new();
    };
    let mut rows = Vec::new();
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).unwrap_or(false) {
        let number = record.position().map_or(0, |before| line(text, before));
        if record.len() != header.len() {
            let shown = record.iter().collect::<Vec<_>>().join(",");
            problems.push(
                format!("line {number}"),
                &shown,
                format!("{} fields, as in the header", header.len()),
            );
            continue;
        }
        let fields = positions.map(|position| record[position].trim());
        rows.extend(read_row(
            fields,
            number,
            |column| format!("line {number}, column {column}"),
            context,
            problems,
        ));
    }
    rows
}

/// The line on which a record begins. `before`: where its reader stood, which leaves it the `\n` of a `\r\n` and blank lines.
fn line(text: &str, before: &csv::Position) -> u64 {
    let rest = text.bytes().skip(before.byte() as usize);
    let ends = rest
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .filter(|&byte| byte == b'\n');
    before.line() + ends.count() as u64
}

/// Where each of [`COLUMNS`] stands; `None` when the header is not exactly those columns.
fn positions(header: &StringRecord, problems: &mut Problems) -> Option<[usize; 9]> {
    let before = problems.list.len();
    let all = COLUMNS.join(",");
    for (i, name) in header.iter().enumerate() {
        if !COLUMNS.contains(&name.trim()) {
            problems.push("line 1 (header)", name, format!("only the columns {all}"));
        } else if header.iter().take(i).any(|other| other.trim() == name.trim()) {
            problems.push("line 1 (header)", name, "each column once");
        }
    }
    let found = COLUMNS.map(|column| header.iter().position(|name| name.trim() == column));
    let missing: Vec<_> = COLUMNS
        .iter()
        .zip(found)
        .filter(|(_, at)| at.is_none())
        .map(|(column, _)| *column)
        .collect();
    if !missing.is_empty() {
        let shown = header.iter().collect::<Vec<_>>().join(",");
        problems.push("line 1 (header)", &shown, format!("{} too", missing.join(", ")));
    }
    (problems.list.len() == before).then(|| found.map(Option::unwrap_or_default))
}

fn read_json(text: &str, context: &Context, problems: &mut Problems) -> Vec<Read> {
    let items: Vec<Map<String, Value>> = match serde_json::from_str(text) {
        Ok(items) => items,
        Err(e) => {
            let shown = text.lines().nth(e.line().saturating_sub(1)).unwrap_or_default();
            let place = format!("line {}, column {}", e.line(), e.column());
            problems.push(
                place,
                shown.trim(),
                format!("a JSON array of objects ({})", told_json(&e)),
            );
            return Vec::new();
        }
    };
    let mut rows = Vec::new();
    for (number, item) in (1..).zip(&items) {
        let place = |column: &str| format!("item {number}, {column}");
        let before = problems.list.len();
        for (key, value) in item {
            if !COLUMNS.contains(&key.as_str()) {
                let expected = format!("only the keys {}", COLUMNS.join(","));
                problems.push(format!("item {number}"), key, expected);
            } else if !value.is_string() && !value.is_null() {
                problems.push(place(key), &value.to_string(), "text or null");
            }
        }
        if problems.list.len() == before {
            let fields = COLUMNS.map(|column| item.get(column).and_then(Value::as_str).unwrap_or_default().trim());
            rows.extend(read_row(fields, number, place, context, problems));
        }
    }
    rows
}

/// A row from its fields, in the order of [`COLUMNS`]; `None` when any of them is wrong, each of which is noted.
fn read_row(
    fields: [&str; 9],
    number: u64,
    place: impl Fn(&str) -> String,
    context: &Context,
    problems: &mut Problems,
) -> Option<Read> {
    let before = problems.list.len();
    let [user_id, kind, unit, role, tier, site, phase, from, to] = fields;
    let mut refuse = |column: &str, value: &str, expected: &str| problems.push(place(column), value, expected);

    if user_id.is_empty() || user_id.chars().count() > 256 {
        refuse("user_id", user_id, "1 to 256 characters");
    }
    let kind_read = match kind {
        "" | "person" => Kind::Person,
        "service" => Kind::Service,
        _ => {
            refuse("kind", kind, "person, service or nothing (person)");
            Kind::Person
        }
    };
    for (column, value) in [("unit", unit), ("role", role), ("site", site), ("phase", phase)] {
        if !value.is_empty() && !is_label(value) {
            refuse(column, value, "at most 128 characters, no control characters");
        }
    }
    if !TIERS.contains(&tier) {
        refuse("tier", tier, "management, operator, administrator or nothing");
    }
    if let Some(known) = context
        .phases
        .filter(|known| !phase.is_empty() && !known.iter().any(|id| id == phase))
    {
        let expected = match known {
            [] => "nothing: the system's definition has no phases".to_owned(),
            _ => format!("a phase of the system's definition ({}) or nothing", known.join(", ")),
        };
        refuse("phase", phase, &expected);
    }
    let date = format!("a date YYYY-MM-DD from {FIRST_DAY} to {LAST_DAY}");
    let first = definition::day(from);
    if first.is_none() {
        refuse("entitled_from", from, &date);
    }
    let end = if to.is_empty() {
        Some(LAST_DAY)
    } else {
        definition::day(to)
    };
    match (first, end) {
        (_, None) => refuse("entitled_to", to, &format!("{date}, or nothing (open end)")),
        (Some(first), Some(end)) if end <= first => {
            refuse(
                "entitled_to",
                to,
                &format!("a day after entitled_from ({first}): it is the first day without"),
            );
        }
        _ => {}
    }
    if problems.list.len() > before {
        return None;
    }
    Some(Read {
        row: Entitlement {
            user: context.pseudonymizer.pseudonym(user_id),
            kind: kind_read,
            unit: unit.to_owned(),
            role: role.to_owned(),
            tier: tier.to_owned(),
            site: site.to_owned(),
            phase: phase.to_owned(),
            from: first?,
            to: end?,
        },
        number,
        user_id: user_id.to_owned(),
    })
}

/// Notes each row that overlaps an earlier one of the same user. `rows` is ordered by user and first day.
fn refuse_overlaps(rows: &[Read], place: impl Fn(u64) -> String, problems: &mut Problems) {
    for of_user in rows.chunk_by(|a, b| a.row.user == b.row.user) {
        let mut last: Option<&Read> = None;
        for read in of_user {
            if let Some(before) = last.filter(|before| before.row.to > read.row.from) {
                let days = |read: &Read| format!("{} {}", read.user_id, span(read.row.from, read.row.to));
                problems.push(
                    format!("{} and {}", place(before.number), place(read.number)),
                    &format!("{} and {}", days(before), days(read)),
                    "rows of one user that do not overlap",
                );
            }
            if last.is_none_or(|before| before.row.to < read.row.to) {
                last = Some(read);
            }
        }
    }
}

fn span(from: Date, to: Date) -> String {
    if to == LAST_DAY {
        format!("[{from}, open)")
    } else {
        format!("[{from}, {to})")
    }
}
