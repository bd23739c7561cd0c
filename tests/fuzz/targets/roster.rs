//! A roster, JSON where it begins with `[`, else CSV: what is taken says the same in the other format, and what is
//! refused names every bad row.

#![no_main]

use csv::{ReaderBuilder, StringRecord, Writer};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use uptake::error::{Problem, Problems};
use uptake::pseudonym::Pseudonymizer;
use uptake::roster::{COLUMNS, Context, Format, Roster};
use uptake_fuzz::check_problem;

/// Of larger rosters not every row is read alone.
const ALONE: usize = 12;

fuzz_target!(|text: &str| {
    let phases = ["pilot".to_owned(), "extension".to_owned()];
    for phases in [None, Some(phases.as_slice())] {
        if text.starts_with('[') {
            json(text, phases);
        } else {
            csv(text, phases);
        }
    }
});

fn parse(text: &str, format: Format, phases: Option<&[String]>) -> Result<Roster, Problems> {
    let pseudonymizer = &Pseudonymizer::new(b"a secret of at least 32 characters");
    Roster::parse(text, format, "roster", &Context { pseudonymizer, phases })
}

fn csv(text: &str, phases: Option<&[String]>) {
    let parsed = parse(text, Format::Csv, phases);
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = ReaderBuilder::new()
        .flexible(true)
        .has_headers(false)
        .from_reader(text.as_bytes());
    let mut records = reader.records().map(|record| record.expect("text"));
    let header = records.next().unwrap_or_default();
    let records: Vec<StringRecord> = records.collect();
    match parsed {
        Ok(roster) => {
            check_rows(&roster, records.len());
            let columns: Vec<&str> = header.iter().map(str::trim).collect();
            let item = |record: &StringRecord| {
                columns
                    .iter()
                    .zip(record)
                    .map(|(c, v)| ((*c).to_owned(), Value::from(v)))
                    .collect()
            };
            let items: Vec<Map<String, Value>> = records.iter().rev().map(item).collect();
            let json = serde_json::to_string(&items).expect("memory");
            check_same(&roster, &parse(&json, Format::Json, phases));
        }
        Err(problems) => {
            problems.list.iter().for_each(check_problem);
            assert!(!problems.list.is_empty());
            if records.len() <= ALONE && !problems.list[0].place.starts_with("line 1 (header)") {
                check_lines(text, &header, &records, &problems, phases);
            }
        }
    }
}

fn json(text: &str, phases: Option<&[String]>) {
    let items: Option<Vec<Map<String, Value>>> = serde_json::from_str(text).ok();
    match (parse(text, Format::Json, phases), items) {
        (Ok(roster), Some(items)) => {
            check_rows(&roster, items.len());
            let mut csv = Writer::from_writer(Vec::new());
            csv.write_record(COLUMNS).expect("memory");
            for item in items.iter().rev() {
                let field = |column: &str| item.get(column).and_then(Value::as_str).unwrap_or_default();
                csv.write_record(COLUMNS.map(field)).expect("memory");
            }
            let csv = String::from_utf8(csv.into_inner().expect("memory")).expect("text");
            check_same(&roster, &parse(&csv, Format::Csv, phases));
        }
        (Err(problems), items) => {
            problems.list.iter().for_each(check_problem);
            assert!(!problems.list.is_empty());
            if let Some(items) = items.filter(|items| items.len() <= ALONE) {
                check_items(&items, &problems, phases);
            }
        }
        (Ok(_), None) => panic!("this is no array of objects"),
    }
}

/// One row for each record, in order, none of which shares a day with another of the same user.
fn check_rows(roster: &Roster, records: usize) {
    let rows = roster.rows();
    assert_eq!(rows.len(), records);
    assert!(rows.iter().all(|row| row.from < row.to));
    assert!(
        rows.windows(2)
            .all(|two| two[0].user < two[1].user || two[0].user == two[1].user && two[0].to <= two[1].from)
    );
    let mut users: Vec<_> = rows.iter().map(|row| row.user).collect();
    users.dedup();
    assert_eq!(roster.users(), users.len());
}

fn check_same(roster: &Roster, other: &Result<Roster, Problems>) {
    let other = other.as_ref().expect("taken in the other format too");
    assert_eq!(roster, other);
    assert_eq!(roster.sha256(), other.sha256());
}

/// What is wrong with a row by itself must be told of it among others too, on a line that is there.
fn check_lines(
    text: &str,
    header: &StringRecord,
    records: &[StringRecord],
    told: &Problems,
    phases: Option<&[String]>,
) {
    let mut alone = Vec::new();
    for record in records {
        let mut csv = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
        csv.write_record(header).expect("memory");
        csv.write_record(record).expect("memory");
        let csv = String::from_utf8(csv.into_inner().expect("memory")).expect("text");
        alone.extend(
            parse(&csv, Format::Csv, phases)
                .err()
                .into_iter()
                .flat_map(|problems| problems.list),
        );
    }
    check_told(alone, told);
    for line in told.list.iter().filter_map(|problem| number(&problem.place)) {
        let line = text.split('\n').nth(line - 1).unwrap_or_default();
        assert!(!line.trim_matches('\r').is_empty(), "an empty line is named: {told}");
    }
}

fn check_items(items: &[Map<String, Value>], told: &Problems, phases: Option<&[String]>) {
    let alone = items.iter().flat_map(|item| {
        let json = serde_json::to_string(&[item]).expect("memory");
        parse(&json, Format::Json, phases)
            .err()
            .into_iter()
            .flat_map(|problems| problems.list)
    });
    check_told(alone.collect(), told);
}

/// But for the number of the row, and for rows that overlap, the same problems.
fn check_told(alone: Vec<Problem>, told: &Problems) {
    let rest = |problem: &Problem| {
        let place = problem
            .place
            .trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == ' ');
        (place.to_owned(), problem.value.clone(), problem.expected.clone())
    };
    let overlap = |problem: &&Problem| problem.expected.ends_with("do not overlap");
    let told: Vec<_> = told.list.iter().filter(|problem| !overlap(problem)).map(rest).collect();
    assert_eq!(alone.iter().map(rest).collect::<Vec<_>>(), told);
}

/// N of `line N…`.
fn number(place: &str) -> Option<usize> {
    let digits = place.strip_prefix("line ")?;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}
