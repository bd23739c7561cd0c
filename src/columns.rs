//! Tables that users send, with columns of known names: CSV with a header, or JSON. Everything wrong in them is told with its place.

use std::fmt;

use csv::{ReaderBuilder, StringRecord};
use serde_json::{Map, Value};

use crate::error::{Problems, told_json};

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Csv,
    /// An array of objects with the columns as keys; empty fields may be left out or null.
    Json,
}

/// Where a row stands in its text.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    format: Format,
    /// The line in CSV, the number of the item (from 1) in JSON.
    number: u64,
}

impl Place {
    pub fn column(self, column: &str) -> String {
        match self.format {
            Format::Csv => format!("{self}, column {column}"),
            Format::Json => format!("{self}, {column}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.format {
            Format::Csv => write!(f, "line {}", self.number),
            Format::Json => write!(f, "item {}", self.number),
        }
    }
}

/// Gives `row` the trimmed fields of each row, in the order of `columns`. What is no such table is noted, and skipped.
pub fn read<const N: usize>(
    text: &str,
    format: Format,
    columns: &[&str; N],
    problems: &mut Problems,
    row: impl FnMut([&str; N], Place, &mut Problems),
) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match format {
        Format::Csv => read_csv(text, columns, problems, row),
        Format::Json => read_json(text, columns, problems, row),
    }
}

fn read_csv<const N: usize>(
    text: &str,
    columns: &[&str; N],
    problems: &mut Problems,
    mut row: impl FnMut([&str; N], Place, &mut Problems),
) {
    let mut reader = ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    // The reader is given text, so that neither input nor encoding can fail.
    let header = reader.headers().cloned().unwrap_or_default();
    let Some(positions) = positions(&header, columns, problems) else {
        return;
    };
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).unwrap_or(false) {
        let number = record.position().map_or(0, |before| line(text, before));
        let place = Place {
            format: Format::Csv,
            number,
        };
        if record.len() == header.len() {
            row(positions.map(|position| record[position].trim()), place, problems);
        } else {
            let shown = record.iter().collect::<Vec<_>>().join(",");
            let expected = format!("{} fields, as in the header", header.len());
            problems.push(place.to_string(), &shown, expected);
        }
    }
}

/// The line on which a record begins. `before`: where its reader stood, which leaves it the `\n` of a `\r\n` and blank lines.
fn line(text: &str, before: &csv::Position) -> u64 {
    let rest = text.bytes().skip(before.byte() as usize);
    let ends = rest
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .filter(|&byte| byte == b'\n');
    before.line() + ends.count() as u64
}

/// Where each of `columns` stands; `None` when the header is not exactly those columns.
fn positions<const N: usize>(
    header: &StringRecord,
    columns: &[&str; N],
    problems: &mut Problems,
) -> Option<[usize; N]> {
    let before = problems.list.len();
    let all = columns.join(",");
    for (i, name) in header.iter().enumerate() {
        if !columns.contains(&name.trim()) {
            problems.push("line 1 (header)", name, format!("only the columns {all}"));
        } else if header.iter().take(i).any(|other| other.trim() == name.trim()) {
            problems.push("line 1 (header)", name, "each column once");
        }
    }
    let found = columns.map(|column| header.iter().position(|name| name.trim() == column));
    let missing: Vec<_> = columns
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

fn read_json<const N: usize>(
    text: &str,
    columns: &[&str; N],
    problems: &mut Problems,
    mut row: impl FnMut([&str; N], Place, &mut Problems),
) {
    let items: Vec<Map<String, Value>> = match serde_json::from_str(text) {
        Ok(items) => items,
        Err(e) => {
            let shown = text.lines().nth(e.line().saturating_sub(1)).unwrap_or_default();
            let place = format!("line {}, column {}", e.line(), e.column());
            let expected = format!("a JSON array of objects ({})", told_json(&e));
            problems.push(place, shown.trim(), expected);
            return;
        }
    };
    for (number, item) in (1..).zip(&items) {
        let place = Place {
            format: Format::Json,
            number,
        };
        let before = problems.list.len();
        for (key, value) in item {
            if !columns.contains(&key.as_str()) {
                let expected = format!("only the keys {}", columns.join(","));
                problems.push(place.to_string(), key, expected);
            } else if !value.is_string() && !value.is_null() {
                problems.push(place.column(key), &value.to_string(), "text or null");
            }
        }
        if problems.list.len() == before {
            let fields = columns.map(|column| item.get(column).and_then(Value::as_str).unwrap_or_default().trim());
            row(fields, place, problems);
        }
    }
}
