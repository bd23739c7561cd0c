//! `uptake apply` and `uptake roster import`.

use std::io::Write;
use std::process::{Output, Stdio};

use uptake::definition::{Definition, apply_text};
use uptake::roster::import_text;

use crate::harness::Fixture;

const DEFINITION: &str = include_str!("../../schemas/definition.example.yaml");
const ROSTER: &str = include_str!("../../schemas/roster.example.csv");

/// Runs the program with `input` on its standard input.
fn run(fixture: &Fixture, arguments: &[&str], input: &str) -> Output {
    let mut program = fixture.program();
    program
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = program.spawn().expect("starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("written");
    drop(stdin);
    child.wait_with_output().expect("ends")
}

fn told(output: &Output) -> (Option<i32>, String) {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test]
async fn a_definition_counts_from_its_newest_version_on() {
    let fixture = Fixture::new().await;
    let (code, text) = told(&run(&fixture, &["apply", "-f", "-"], DEFINITION));
    assert!(code == Some(0) && text.contains("erp: new system, version"), "{text}");
    let (code, text) = told(&run(&fixture, &["apply", "-f", "-"], DEFINITION));
    assert!(code == Some(0) && text.contains("erp: unchanged"), "{text}");

    let first = fixture
        .store
        .system("erp")
        .await
        .expect("the store answers")
        .expect("defined");
    assert_eq!(first.zone, "Asia/Shanghai");
    assert_eq!(
        first.phase_ids().expect("the store answers"),
        ["pilot", "extension", "company"]
    );
    let written = Definition::parse(DEFINITION, "").expect("valid");
    assert_eq!(first.parsed().expect("the store answers"), written);
    let as_stored = "SELECT count() FROM systems WHERE week_start = 1 AND weekdays = [1, 2, 3, 4, 5]
        AND extra_working_days = [toDate('2026-10-10')] AND phases[1].4 = true AND phases[2].4 IS NULL
        AND features[1].4 = ['approver'] AND features[3].1 = '采购.订单.查询' AND features[3].5 = ''";
    assert_eq!(fixture.number(as_stored).await, 1);

    let moved = DEFINITION.replace("Asia/Shanghai", "Europe/Berlin");
    let (code, text) = told(&run(&fixture, &["apply", "-f", "-"], &moved));
    assert!(
        code == Some(0) && text.contains("time zone Asia/Shanghai -> Europe/Berlin"),
        "{text}"
    );
    let crm = DEFINITION.replace("system: erp", "system: crm");
    apply_text(&fixture.config, &crm, "crm")
        .await
        .expect("the store answers");
    let systems = fixture.store.systems().await.expect("the store answers");
    let zones: Vec<_> = systems.iter().map(|s| (s.system.as_str(), s.zone.as_str())).collect();
    assert_eq!(zones, [("crm", "Asia/Shanghai"), ("erp", "Europe/Berlin")]);
    assert!(systems[1].version > first.version);
    assert_eq!(fixture.number("SELECT count() FROM systems").await, 3);
}

#[tokio::test]
async fn a_bad_definition_changes_nothing_and_ends_with_2() {
    let fixture = Fixture::new().await;
    let bad = DEFINITION
        .replace("Asia/Shanghai", "Asia/Shangai")
        .replace("0.80", "80");
    let (code, text) = told(&run(&fixture, &["apply", "-f", "-"], &bad));
    assert_eq!(code, Some(2));
    assert!(text.contains("standard input: 2 problems"), "{text}");
    assert!(
        text.contains("(timezone): \"Asia/Shangai\": expected an IANA time zone"),
        "{text}"
    );
    assert!(text.contains("(targets[0].target): \"80\""), "{text}");
    let (code, text) = told(&run(&fixture, &["apply", "-f", "no-such-file.yaml"], ""));
    assert!(code == Some(2) && text.contains("no-such-file.yaml"), "{text}");
    assert_eq!(fixture.number("SELECT count() FROM systems").await, 0);
}

#[tokio::test]
async fn a_roster_replaces_the_one_before_whole() {
    let fixture = Fixture::new().await;
    apply_text(&fixture.config, DEFINITION, "example")
        .await
        .expect("the store answers");
    let import = ["roster", "import", "-", "--system", "erp"];
    let (code, text) = told(&run(&fixture, &import, ROSTER));
    assert!(code == Some(0) && text.contains("5 rows, 4 users"), "{text}");
    let (code, text) = told(&run(&fixture, &import, ROSTER));
    assert!(code == Some(0) && text.contains("roster unchanged"), "{text}");

    let without_last = &ROSTER[..ROSTER.trim_end().rfind('\n').expect("lines") + 1];
    let second = import_text(&fixture.config, "erp", without_last, "roster")
        .await
        .expect("the store answers");
    assert_eq!((second.changed, second.rows, second.users), (true, 4, 3));
    let newest = "version = (SELECT max(version) FROM roster_versions WHERE system = 'erp')";
    let count = |what: &str| format!("SELECT count() FROM roster WHERE {newest} AND {what}");
    assert_eq!(fixture.number(&count("system = 'erp'")).await, 4);
    assert_eq!(
        fixture
            .number(&count("entitled_to = '2149-06-06' AND unit = '采购部'"))
            .await,
        1
    );
    assert_eq!(fixture.number("SELECT count() FROM roster_versions").await, 2);
    assert_eq!(fixture.number("SELECT count() FROM roster").await, 9);
    let clear = "SELECT count() FROM roster WHERE position(toString(user), 'u-100') > 0";
    assert_eq!(fixture.number(clear).await, 0);
}

#[tokio::test]
async fn a_bad_roster_changes_nothing_and_every_bad_line_is_named() {
    let fixture = Fixture::new().await;
    apply_text(&fixture.config, DEFINITION, "example")
        .await
        .expect("the store answers");
    let bad = format!(
        "{}u-1002,person,Sales,,,,,2026-07-01,\nu-9,person,,,,,nowhere,tomorrow,\n",
        ROSTER
    );
    let (code, text) = told(&run(&fixture, &["roster", "import", "-", "--system", "erp"], &bad));
    assert_eq!(code, Some(2));
    for expected in [
        "standard input: 3 problems; nothing of it was applied",
        "line 4 and line 7: ",
        "line 8, column phase: \"nowhere\": expected a phase of the system's definition (pilot, extension, company)",
        "line 8, column entitled_from: \"tomorrow\"",
    ] {
        assert!(text.contains(expected), "{expected}\nis not in\n{text}");
    }
    let (code, text) = told(&run(&fixture, &["roster", "import", "-", "--system", "ERP"], ROSTER));
    assert!(code == Some(2) && text.contains("--system ERP"), "{text}");
    assert_eq!(fixture.number("SELECT count() FROM roster").await, 0);
    assert_eq!(fixture.number("SELECT count() FROM roster_versions").await, 0);
}
