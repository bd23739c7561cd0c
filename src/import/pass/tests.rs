use std::path::PathBuf;

use clap::Parser;
use proptest::prelude::*;

use super::*;
use crate::config::Config;
use crate::event::{Body, Event, TimeRange};
use crate::import::Args;

const ANY_TIME: TimeRange = TimeRange {
    earliest_ms: i64::MIN,
    latest_ms: i64::MAX,
};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

struct Case {
    directory: tempfile::TempDir,
    file: PathBuf,
    more: Vec<String>,
}

/// A log of this name and content, imported with these arguments beside those that every test needs.
fn case(name: &str, content: impl AsRef<[u8]>, more: &[&str]) -> Case {
    let directory = tempfile::tempdir().expect("temporary directory");
    let file = directory.path().join(name);
    std::fs::write(&file, content).expect("written");
    let more = more.iter().map(ToString::to_string).collect();
    Case { directory, file, more }
}

impl Case {
    fn plan(&self) -> anyhow::Result<Plan> {
        let fixed = ["import", "--system=erp", "--user=who", "--feature=what", "--time=when"];
        let arguments = fixed.map(str::to_owned).into_iter().chain(self.more.clone());
        let cli = Cli::try_parse_from(arguments.chain([self.file.display().to_string()]))?;
        let mut config = Config::load(None)?;
        // Far enough back for the times in these tests, whenever they run.
        config.retention.raw_days = 36_500;
        Ok(Plan::new(&config, cli.args)?)
    }

    fn check(&self, known: Option<Mark>) -> anyhow::Result<Checked> {
        check(&self.plan()?, known, &|| false)
    }

    /// What it fails with, without the directory.
    fn refused(&self) -> String {
        let error = self.check(None).err().expect("must be refused");
        format!("{error:#}").replace(&format!("{}/", self.directory.path().display()), "")
    }

    /// The events that would be sent.
    fn events(&self) -> Vec<String> {
        let plan = self.plan().expect("valid arguments");
        let mut log = plan.open().expect("opens");
        let envelope = Envelope::new(plan.rules.kind, &plan.source, &plan.system);
        let mut events = Vec::new();
        loop {
            let next = log.advance().expect("readable");
            if next == Next::End {
                return events;
            }
            let id = log.hash(plan.seed());
            if let Ok(action) = plan.read(next, &log) {
                let mut event = String::new();
                envelope.write(id, &action, &mut event);
                events.push(event);
            }
        }
    }

    /// (id, user, feature, milliseconds) of each event, as ingest reads it.
    fn parsed(&self) -> Vec<(u64, String, String, i64)> {
        let parsed = |text: &String| {
            let event = Event::structured(text.as_bytes(), ANY_TIME).expect("ingest takes it");
            let Body::FeatureClick { feature, .. } = event.body else {
                panic!("expected a click: {text}");
            };
            (
                event.identity.0,
                event.subject.into_owned(),
                feature.into_owned(),
                event.time_ms,
            )
        };
        self.events().iter().map(parsed).collect()
    }

    fn append(&self, text: &str) {
        let content = std::fs::read_to_string(&self.file).expect("readable");
        std::fs::write(&self.file, content + text).expect("written");
    }
}

const LOG: &str = "who,what,when
anna,Open order,2026-03-02 08:00:00Z
bert,\"Print, twice\",2026-03-02 08:00:01Z
anna,采购,2026-03-02 09:00:00.5+01:00
";

#[test]
fn an_event_is_what_the_row_says() {
    let events = case(
        "log.csv",
        "who,when,what,tab\na\"b,2026-03-02 08:00:00Z,x\\y,t\n",
        &["--session=tab"],
    )
    .events();
    insta::assert_snapshot!(events[0], @r#"
    {"specversion":"1.0","source":"/import/erp","type":"usage.feature_click.v1","id":"5d498753ecdb8ef7f920c82b8c3be5ba","subject":"a\"b","time":"2026-03-02T08:00:00Z","data":{"system":"erp","feature":"x\\y","session":"t"}}
    "#);
    let login = case("log.csv", "who,when\nanna,2026-03-02 08:00:00Z\n", &["--event=login"]);
    insta::assert_snapshot!(login.events()[0], @r#"
    {"specversion":"1.0","source":"/import/erp","type":"usage.login.v1","id":"708a5e818c034ded7aa1ec0ff95ad1c6","subject":"anna","time":"2026-03-02T08:00:00Z","data":{"system":"erp","outcome":"success"}}
    "#);
    assert!(Event::structured(login.events()[0].as_bytes(), ANY_TIME).is_ok());
}

#[test]
fn csv_and_ndjson_give_the_same_actions() {
    let csv = case("log.csv", LOG, &[]).parsed();
    let ndjson = r#"{"when":"2026-03-02T08:00:00Z","who":"anna","what":"Open order","other":{"a":[1,2]}}

{"who":"bert","what":"Print, twice","when":"2026-03-02T08:00:01Z"}
{"who":"anna","what":"\u91c7购","when":"2026-03-02 08:00:00.5Z"}"#;
    let ndjson = case("log.ndjson", ndjson, &[]).parsed();
    let without_id = |events: Vec<(u64, String, String, i64)>| {
        events
            .into_iter()
            .map(|(_, user, feature, time)| (user, feature, time))
            .collect::<Vec<_>>()
    };
    assert_eq!(csv[1].2, "Print, twice");
    assert_eq!(csv[2].3, 1_772_438_400_500);
    assert_eq!(without_id(csv), without_id(ndjson));
}

#[test]
fn byte_order_mark_crlf_and_delimiter_make_no_difference() {
    let plain = case("log.csv", LOG, &[]).parsed();
    let dressed = format!(
        "\u{feff}{}",
        LOG.replace('\n', "\r\n")
            .replace(", twice", "; twice")
            .replace(',', "\t")
    );
    let dressed = case("log.csv", dressed.replace("; twice", ", twice"), &["--delimiter=tab"]).parsed();
    assert_eq!(plain, dressed);
}

#[test]
fn ids_stay_when_the_log_grows_and_differ_between_sources_and_equal_rows() {
    let twice = "anna,Open order,2026-03-02 08:00:00Z\n";
    let log = case("log.csv", format!("{LOG}{twice}"), &[]);
    let before = log.parsed();
    log.append(twice);
    let after = log.parsed();
    assert_eq!(after[..before.len()], before);
    let other = case("log.csv", format!("{LOG}{twice}{twice}"), &["--source=/other"]).parsed();
    let ids = after.iter().chain(&other).map(|event| event.0).collect::<HashSet<_>>();
    assert_eq!(ids.len(), 10);
}

#[test]
fn what_was_sent_is_recognised_when_the_log_grows_but_not_when_it_is_rewritten() {
    let log = case("log.csv", LOG, &[]);
    let first = log.check(None).expect("valid");
    assert_eq!((first.rows, first.users, first.resume.position.records), (3, 2, 0));
    log.append("carl,Open order,2026-03-02 10:00:00Z\n");
    let grown = log.check(Some(first.end)).expect("valid");
    assert_eq!((grown.resume, grown.end.position.records), (first.end, 4));
    let rewritten = case("log.csv", LOG.replace("anna", "anne"), &[]);
    assert_eq!(
        rewritten.check(Some(first.end)).expect("valid").resume.position.records,
        0
    );
}

#[test]
fn bad_rows_are_named_and_nothing_is_sent() {
    let mut text = b"who,what,when
,a,2026-03-02 08:00:00Z
anna,,2026-03-02 08:00:00Z
anna,a,yesterday
anna,a,2026-03-02 08:00:00
anna,a,2999-01-01 00:00:00Z
anna,a
anna,\"a\nb\",2026-03-02 08:00:00Z
anna,\xff,2026-03-02 08:00:00Z
"
    .to_vec();
    insta::assert_snapshot!(case("log.csv", &text, &[]).refused(), @r#"
    log.csv: 8 problems; nothing was sent
      line 2, column who: "": expected 1 to 256 characters
      line 3, column what: "": expected 1 to 128 characters
      line 4, column when: "yesterday": expected a time like 2026-03-02T08:15:30Z or 2026/03/02 08:15:30.000, or --time-format
      line 5, column when: "2026-03-02 08:00:00": expected a time with an offset such as Z or +02:00, or --timezone to say where these clocks stand
      line 6, column when: "2999-01-01 00:00:00Z": expected a time before now (2999-01-01T00:00:00Z is in the future)
      line 7: "anna,a": expected 3 fields, as in the header (it has 2)
      line 8, column what: "a\nb": expected no control characters
      line 10, column what: "�": expected text in UTF-8
    (--skip-bad leaves such rows out)
    "#);
    text.extend_from_slice(b"anna,a,2026-03-02 08:00:00Z\n");
    let checked = case("log.csv", &text, &["--skip-bad"])
        .check(None)
        .expect("bad rows are left out");
    assert_eq!((checked.rows, checked.bad), (1, 8));
    let ndjson = "[1]\n{\"who\":1,\"what\":\"a\",\"when\":[]}\n{\"who\":\nnull\n";
    insta::assert_snapshot!(case("log.ndjson", ndjson, &[]).refused(), @r#"
    log.ndjson: 4 problems; nothing was sent
      line 1: "[1]": expected a JSON object (invalid type: sequence, expected an object at line 1 column 0)
      line 2: "{"who":1,"what":"a","when":[]}": expected a JSON object (when is neither text nor number at line 1 column 30)
      line 3: "{"who":": expected a JSON object (EOF while parsing a value at line 1 column 7)
      line 4: "null": expected a JSON object (invalid type: null, expected an object at line 1 column 4)
    (--skip-bad leaves such rows out)
    "#);
}

#[test]
fn the_line_of_a_row_is_named_whatever_stands_above_it() {
    for end in ["\n", "\r\n"] {
        let good = format!(
            "anna,\"a\",2026-03-02 08:00:00Z{end}{end}anna,b,2026-03-02 08:00:00Z,\"more{end}\"{end}{end}{end}"
        );
        let told = case(
            "log.csv",
            format!("{end}who,what,when{end}{end}{good}x{end}{end}y"),
            &[],
        )
        .refused();
        let lines: Vec<_> = told
            .lines()
            .filter_map(|line| line.trim().strip_prefix("line ")?.split(':').next())
            .collect();
        assert_eq!(lines, ["6", "10", "12"], "{told}");
    }
}

#[test]
fn what_is_told_repeats_no_more_than_a_piece_of_a_row() {
    let long = "long ".repeat(1_000);
    let told = case(
        "log.ndjson",
        format!("\"{long}\"\n{{\"when\":\"{long}\",\"who\":[]}}\n"),
        &[],
    )
    .refused();
    assert!(told.len() < 1_000, "{told}");
}

#[test]
fn space_of_any_kind_around_a_value_makes_no_difference() {
    let ndjson = "{\"who\":\"\u{a0}anna\u{3000}\",\"what\":\"a\",\"when\":\"2026-03-02 08:00:00Z\"}";
    let csv = "who,what,when\n\u{a0}anna\u{3000},a,2026-03-02 08:00:00Z\n";
    assert_eq!(case("log.csv", csv, &[]).parsed()[0].1, "anna");
    assert_eq!(case("log.ndjson", ndjson, &[]).parsed()[0].1, "anna");
}

#[test]
fn of_many_bad_rows_some_are_listed() {
    let text = format!("who,what,when\n{}", "x\n".repeat(100));
    let error = case("log.csv", &text, &[]).refused();
    assert_eq!(error.lines().count(), 1 + LISTED as usize + 2, "{error}");
    assert!(error.contains("\n  and more\n"));
    let checked = case("log.csv", &text, &["--skip-bad"]).check(None).expect("left out");
    assert_eq!(checked.bad, 100);
}

#[test]
fn rows_that_ingest_would_refuse_for_their_age_stop_it_before_anything_is_sent() {
    let log = case(
        "log.csv",
        LOG.replace("2026-03-02 08:00:01", "1901-01-01 00:00:00"),
        &[],
    );
    let error = log.refused();
    assert!(
        error.contains("log.csv: line 3: 1901-01-01T00:00:00Z is older"),
        "{error}"
    );
    assert!(error.contains("retention.raw_days = 36500"), "{error}");
    let plan = log.plan().expect("valid arguments");
    let mut sent = Mark {
        position: plan.open().expect("opens").position(),
        chain: 0,
    };
    let mut reader = plan.open().expect("opens");
    while reader.advance().expect("readable") != Next::End {
        let id = reader.hash(plan.seed());
        sent.after(id, reader.position());
    }
    log.append("carl,Open order,2026-03-02 10:00:00Z\n");
    assert!(
        log.check(Some(sent)).is_ok(),
        "rows that were sent in time do not stop later ones"
    );
}

#[test]
fn columns_that_are_missing_or_ambiguous_are_told() {
    insta::assert_snapshot!(case("log.csv", "who,what\n", &[]).refused(), @r#"
    log.csv: line 1: column "when" is not in the header: who, what
    "#);
    insta::assert_snapshot!(case("log.csv", "who,what,when,what\n", &[]).refused(), @r#"
    log.csv: line 1: column "what" is there more than once: who, what, when, what
    "#);
    insta::assert_snapshot!(case("log.xls", "", &[]).refused(), @r"
    log.xls: expected a name that ends in .csv or .ndjson, or --format
    ");
    insta::assert_snapshot!(case("log.csv", LOG, &["--timezone=Rome"]).refused(), @r"
    --timezone Rome: expected an IANA time zone, e.g. Europe/Rome
    ");
}

#[test]
fn a_roster_is_derived() {
    let log = case(
        "log.csv",
        "who,what,when,dept
bert,a,2026-03-31 23:30:00Z,B
bert,a,2026-04-15 08:00:00Z,A
anna,a,2026-02-15 08:00:00Z,B
bert,a,2026-04-30 22:30:00Z,A
anna,a,2026-02-14 08:00:00Z,A
",
        &["--unit=dept", "--timezone=Europe/Rome"],
    );
    let out = log.directory.path().join("roster.csv");
    let log = Case {
        more: log
            .more
            .iter()
            .cloned()
            .chain([format!("--derive-roster={}", out.display())])
            .collect(),
        ..log
    };
    log.check(None).expect("valid");
    // In Rome it was April already, and May when the log ended. anna's units are equal: the first one seen.
    insta::assert_snapshot!(std::fs::read_to_string(out).expect("written"), @r"
    user_id,kind,unit,role,tier,site,phase,entitled_from,entitled_to
    anna,person,B,,,,,2026-02-01,2026-05-02
    bert,person,A,,,,,2026-04-01,2026-05-02
    ");
}

proptest! {
    #[test]
    fn whatever_stands_in_a_row_is_sent_as_an_event_that_ingest_reads_back(
        user in "[^\\p{Cc}]{1,40}", feature in "[^\\p{Cc}]{1,40}", seconds in 0i64..1_700_000_000,
    ) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let time = Timestamp::from_second(seconds).expect("in range").to_string();
        writer.write_record(["who", "what", "when"]).expect("memory");
        writer.write_record([&user, &feature, &time]).expect("memory");
        let log = case("log.csv", writer.into_inner().expect("memory"), &[]);
        let (user, feature) = (user.trim(), feature.trim());
        if user.is_empty() || feature.is_empty() {
            prop_assert!(log.check(None).is_err());
        } else {
            let events = log.parsed();
            prop_assert_eq!((events[0].1.as_str(), events[0].2.as_str(), events[0].3), (user, feature, seconds * 1000));
        }
    }

    #[test]
    fn reading_on_from_any_mark_gives_the_rest(rows in prop::collection::vec("[a-z\"\n, \u{feff}]{0,6}", 1..20), at in 0usize..20) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["who", "what", "when"]).expect("memory");
        for row in &rows {
            writer.write_record([row.as_str(), "f", "2026-03-02 08:00:00Z"]).expect("memory");
        }
        let log = case("log.csv", writer.into_inner().expect("memory"), &[]);
        let plan = log.plan().expect("valid arguments");
        let mut whole = plan.open().expect("opens");
        let mut seen = Vec::new();
        loop {
            let before = whole.position();
            if whole.advance().expect("readable") == Next::End {
                break;
            }
            seen.push((before, whole.line(), whole.hash(1)));
        }
        prop_assert_eq!(seen.len(), rows.len());
        let at = at.min(rows.len() - 1);
        let mut rest = plan.open().expect("opens");
        rest.skip_to(seen[at].0).expect("readable");
        for (_, line, hash) in &seen[at..] {
            rest.advance().expect("readable");
            prop_assert_eq!((rest.line(), rest.hash(1)), (*line, *hash));
        }
    }
}
