//! From the text of a roster to its rows; every rule that a roster must keep stands here.

use jiff::civil::Date;

use super::{Context, Entitlement, Format, Kind, Roster};
use crate::columns::{self, Place};
use crate::definition::{self, FIRST_DAY, LAST_DAY, is_label};
use crate::error::Problems;

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
    place: Place,
    user_id: String,
}

pub fn roster(text: &str, format: Format, origin: &str, context: &Context) -> Result<Roster, Problems> {
    let mut problems = Problems::new(origin);
    let mut rows = Vec::new();
    columns::read(text, format, &COLUMNS, &mut problems, |fields, place, problems| {
        rows.extend(read_row(fields, place, context, problems));
    });
    rows.sort_by_key(|read| (read.row.user, read.row.from));
    refuse_overlaps(&rows, &mut problems);
    problems.none_or(|| Roster {
        rows: rows.into_iter().map(|read| read.row).collect(),
    })
}

/// A row from its fields, in the order of [`COLUMNS`]; `None` when any of them is wrong, each of which is noted.
fn read_row(fields: [&str; 9], place: Place, context: &Context, problems: &mut Problems) -> Option<Read> {
    let before = problems.list.len();
    let [user_id, kind, unit, role, tier, site, phase, from, to] = fields;
    let mut refuse = |column: &str, value: &str, expected: &str| problems.push(place.column(column), value, expected);

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
        place,
        user_id: user_id.to_owned(),
    })
}

/// Notes each row that overlaps an earlier one of the same user. `rows` is ordered by user and first day.
fn refuse_overlaps(rows: &[Read], problems: &mut Problems) {
    for of_user in rows.chunk_by(|a, b| a.row.user == b.row.user) {
        let mut last: Option<&Read> = None;
        for read in of_user {
            if let Some(before) = last.filter(|before| before.row.to > read.row.from) {
                let days = |read: &Read| format!("{} {}", read.user_id, span(read.row.from, read.row.to));
                problems.push(
                    format!("{} and {}", before.place, read.place),
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
