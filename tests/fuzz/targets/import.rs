//! A log, NDJSON where it begins with `{`, else CSV, with the columns who, what, when and session: reading on from any
//! record gives the rest, and what the rules take is an event that ingest takes, the same from either format.

#![no_main]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use tempfile::NamedTempFile;
use uptake::error::Problems;
use uptake::event::{Body, Event, TimeRange};
use uptake::import::action::{Action, Envelope, Kind, Rules};
use uptake::import::log::{Columns, Format, Log, Next, Position};
use uptake::import::time::Clock;
use uptake_fuzz::check_problem;

/// Of longer logs not every record is read on from, or compared with the other format.
const EACH: usize = 5;
const ANY_TIME: TimeRange = TimeRange {
    earliest_ms: i64::MIN,
    latest_ms: i64::MAX,
};

static FILE: LazyLock<NamedTempFile> = LazyLock::new(temporary);
static OTHER: LazyLock<NamedTempFile> = LazyLock::new(temporary);
static RULES: LazyLock<[Rules; 2]> = LazyLock::new(|| [Kind::FeatureClick, Kind::Login].map(rules));

fuzz_target!(|bytes: &[u8]| {
    let format = if bytes.starts_with(b"{") {
        Format::Ndjson
    } else {
        Format::Csv
    };
    fs::write(FILE.path(), bytes).expect("written");
    for rules in RULES.iter() {
        let Some(mut log) = open(FILE.path(), format, &rules.columns) else {
            return;
        };
        let records = read(&mut log, |log| check_action(log, rules));
        check_positions(&records, bytes);
        for (at, record) in records.iter().enumerate().take(EACH) {
            let mut log = open(FILE.path(), format, &rules.columns).expect("opens again");
            log.skip_to(record.position).expect("a position of this log");
            assert_eq!(read(&mut log, |_| ()), records[at + 1..], "after {record:?}");
        }
    }
});

fn temporary() -> NamedTempFile {
    let memory = Path::new("/dev/shm");
    NamedTempFile::new_in(memory)
        .or_else(|_| NamedTempFile::new())
        .expect("a temporary file")
}

fn rules(kind: Kind) -> Rules {
    let columns = [
        Some("who"),
        Some("what").filter(|_| kind == Kind::FeatureClick),
        Some("when"),
        Some("session"),
        None,
    ];
    Rules {
        kind,
        columns: columns.map(|name| name.map(str::to_owned)),
        clock: Clock {
            pattern: None,
            zone: Some(TimeZone::get("Europe/Rome").expect("a zone")),
        },
        latest: Timestamp::MAX,
    }
}

fn open(path: &Path, format: Format, columns: &Columns) -> Option<Log> {
    Log::open(path, format, b',', columns).ok()
}

#[derive(Debug, PartialEq)]
struct Record {
    /// Where it ends.
    position: Position,
    line: u64,
    next: Next,
    hash: u128,
    shown: String,
}

/// Everything that is left.
fn read(log: &mut Log, mut each: impl FnMut(&Log)) -> Vec<Record> {
    let mut records = Vec::new();
    loop {
        let next = log.advance().expect("readable");
        match &next {
            Next::End => return records,
            Next::Record => each(log),
            Next::Malformed(expected) => check_told("", &log.shown(), expected),
        }
        let hash = log.hash(1);
        records.push(Record {
            position: log.position(),
            line: log.line(),
            next,
            hash,
            shown: log.shown(),
        });
    }
}

fn check_positions(records: &[Record], bytes: &[u8]) {
    let lines: Vec<&[u8]> = bytes.split(|&b| b == b'\n').collect();
    for two in records.windows(2) {
        let (a, b) = (two[0].position, two[1].position);
        assert!(
            a.byte < b.byte && a.lines <= b.lines && a.records + 1 == b.records,
            "{two:?}"
        );
    }
    for record in records {
        assert!(record.position.byte as usize <= bytes.len(), "{record:?}");
        let line = lines[record.line as usize - 1].trim_ascii_end();
        // Spaces make a record in CSV, and it is shown as they are.
        let blank = record.shown.trim_ascii().is_empty();
        assert!(blank || !line.is_empty(), "an empty line is named: {record:?}");
    }
}

/// What is taken arrives as the same event, and would be taken from the other format too.
fn check_action(log: &Log, rules: &Rules) {
    let action = match rules.read(log) {
        Ok(action) => action,
        Err(bad) => return check_told(&bad.column, &bad.value, &bad.expected),
    };
    let mut text = String::new();
    Envelope::new(rules.kind, "/import/\"erp\"", "erp").write(7, &action, &mut text);
    let event = Event::structured(text.as_bytes(), ANY_TIME).expect("ingest takes it");
    assert_eq!(event.subject, action.user);
    assert_eq!(event.time_ms, action.time.as_nanosecond().div_euclid(1_000_000) as i64);
    let session = (!action.session.is_empty()).then_some(action.session);
    match &event.body {
        Body::FeatureClick {
            feature,
            session: s,
            element: None,
        } => {
            assert_eq!((feature.as_ref(), s.as_deref()), (action.feature, session));
        }
        Body::Login {
            success: true,
            session: s,
            method: None,
        } => assert_eq!(s.as_deref(), session),
        other => panic!("{other:?}"),
    }
    check_other_formats(&action, rules);
}

fn check_other_formats(action: &Action<'_>, rules: &Rules) {
    let when = action.time.to_string();
    let fields = [action.user, action.feature, &when, action.session];
    let mut csv = csv::Writer::from_writer(b"who,what,when,session\n".to_vec());
    csv.write_record(fields).expect("memory");
    let csv = csv.into_inner().expect("memory");
    let [who, what, when, session] = fields;
    let ndjson = json!({"who": who, "what": what, "when": when, "session": session}).to_string();
    for (format, bytes) in [(Format::Csv, csv), (Format::Ndjson, ndjson.into_bytes())] {
        fs::write(OTHER.path(), bytes).expect("written");
        let mut log = open(OTHER.path(), format, &rules.columns).expect("opens");
        assert_eq!(log.advance().expect("readable"), Next::Record);
        let other = rules.read(&log).unwrap_or_else(|bad| panic!("{format:?}: {bad:?}"));
        let of = |a: &Action<'_>| [a.user, a.feature, a.session].map(str::to_owned);
        assert_eq!((of(&other), other.time), (of(action), action.time), "{format:?}");
    }
}

fn check_told(column: &str, value: &str, expected: &str) {
    let mut problems = Problems::new("log");
    problems.push(format!("line 1 {column}"), value, expected);
    problems.list.iter().for_each(check_problem);
}
