use super::*;
use jiff::civil::date;
use proptest::prelude::*;

const EXAMPLE: &str = include_str!("../../schemas/roster.example.csv");
const HEADER: &str = "user_id,kind,unit,role,tier,site,phase,entitled_from,entitled_to";

fn parse(text: &str, format: Format, phases: Option<&[String]>) -> Result<Roster, Problems> {
    let pseudonymizer = &Pseudonymizer::new(b"a secret of at least 32 characters");
    Roster::parse(text, format, "r", &Context { pseudonymizer, phases })
}

fn csv(text: &str) -> Result<Roster, Problems> {
    parse(text, Format::Csv, None)
}

fn refused(result: Result<Roster, Problems>) -> String {
    result.expect_err("must be refused").to_string()
}

#[test]
fn the_example_is_read_and_holds_no_clear_id() {
    let roster = csv(EXAMPLE).expect("valid");
    assert_eq!((roster.rows().len(), roster.users()), (5, 4));
    let moved: Vec<_> = roster
        .rows()
        .chunk_by(|a, b| a.user == b.user)
        .find(|rows| rows.len() == 2)
        .expect("u-1001")
        .to_vec();
    assert_eq!((moved[0].unit.as_str(), moved[0].to), ("Sales", date(2026, 6, 1)));
    assert_eq!((moved[1].unit.as_str(), moved[1].to), ("Finance", definition::LAST_DAY));
    assert_eq!(roster.rows().iter().filter(|row| row.kind == Kind::Service).count(), 1);
    assert!(!format!("{roster:?}").contains("u-100"));
}

#[test]
fn byte_order_mark_crlf_column_and_row_order_make_no_difference() {
    let text = "\u{feff}entitled_from,entitled_to,user_id,kind,unit,role,tier,site,phase\r\n\
                2026-03-02,,u-1003,,采购部,clerk,operator,Suzhou,extension\r\n\
                2026-01-05,,u-1002,person,Finance,approver,management,Shanghai,pilot\r\n";
    let lines: Vec<_> = EXAMPLE.lines().collect();
    let same = csv(&[lines[0], lines[3], lines[4]].join("\n")).expect("valid");
    let roster = csv(text).expect("valid");
    assert_eq!(roster, same);
    assert_eq!(roster.sha256(), same.sha256());
    assert_ne!(roster.sha256(), csv(EXAMPLE).expect("valid").sha256());
}

#[test]
fn json_says_the_same_as_csv() {
    let json = r#"[{"user_id":"a","unit":"Sales","entitled_from":"2026-01-01","entitled_to":null},
                   {"user_id":"b","kind":"service","entitled_from":"2026-01-01","entitled_to":"2026-02-01"}]"#;
    let text = format!("{HEADER}\na,,Sales,,,,,2026-01-01,\nb,service,,,,,,2026-01-01,2026-02-01\n");
    assert_eq!(parse(json, Format::Json, None), csv(&text));
}

#[test]
fn every_bad_line_is_named_with_column_value_and_expectation() {
    let text = format!(
        "{HEADER}
,person,,,,,,2026-01-01,
a,robot,,,boss,,,2026-02-30,20260101
b,,,,,,,2026-01-02,2026-01-02
c,,,,,,stage-9,2026-01-01,
d,,,
e,,,,,,,2026-01-01,2026-03-01
e,,,,,,,2026-03-01,2026-04-01
e,,,,,,,2026-02-28,2026-03-02
"
    );
    let phases = ["pilot".to_owned(), "extension".to_owned()];
    insta::assert_snapshot!(refused(parse(&text, Format::Csv, Some(&phases))), @r#"
    r: 10 problems; nothing of it was applied
      line 2, column user_id: "": expected 1 to 256 characters
      line 3, column kind: "robot": expected person, service or nothing (person)
      line 3, column tier: "boss": expected management, operator, administrator or nothing
      line 3, column entitled_from: "2026-02-30": expected a date YYYY-MM-DD from 1970-01-01 to 2149-06-06
      line 3, column entitled_to: "20260101": expected a date YYYY-MM-DD from 1970-01-01 to 2149-06-06, or nothing (open end)
      line 4, column entitled_to: "2026-01-02": expected a day after entitled_from (2026-01-02): it is the first day without
      line 5, column phase: "stage-9": expected a phase of the system's definition (pilot, extension) or nothing
      line 6: "d,,,": expected 9 fields, as in the header
      line 7 and line 9: "e [2026-01-01, 2026-03-01) and e [2026-02-28, 2026-03-02)": expected rows of one user that do not overlap
      line 9 and line 8: "e [2026-02-28, 2026-03-02) and e [2026-03-01, 2026-04-01)": expected rows of one user that do not overlap
    "#);
}

#[test]
fn overlapping_rows_are_both_named() {
    let text = format!(
        "{HEADER}\nu,,A,,,,,2026-01-01,\nv,,A,,,,,2026-01-01,\nu,,B,,,,,2026-05-01,2026-06-01\nu,,C,,,,,2026-07-01,\n"
    );
    insta::assert_snapshot!(refused(csv(&text)), @r#"
    r: 2 problems; nothing of it was applied
      line 2 and line 4: "u [2026-01-01, open) and u [2026-05-01, 2026-06-01)": expected rows of one user that do not overlap
      line 2 and line 5: "u [2026-01-01, open) and u [2026-07-01, open)": expected rows of one user that do not overlap
    "#);
}

#[test]
fn a_wrong_header_is_told_whole() {
    insta::assert_snapshot!(refused(csv("user_id,kind,kind,dept,role,tier,site,phase,entitled_from\n")), @r#"
    r: 3 problems; nothing of it was applied
      line 1 (header): "kind": expected each column once
      line 1 (header): "dept": expected only the columns user_id,kind,unit,role,tier,site,phase,entitled_from,entitled_to
      line 1 (header): "user_id,kind,kind,dept,role,tier,site,phase,entitled_from": expected unit, entitled_to too
    "#);
    insta::assert_snapshot!(refused(csv("")), @r#"
    r: 1 problem; nothing of it was applied
      line 1 (header): "": expected user_id, kind, unit, role, tier, site, phase, entitled_from, entitled_to too
    "#);
}

#[test]
fn bad_json_is_told_by_item_and_key() {
    insta::assert_snapshot!(refused(parse(r#"[{"user_id":"a","entitled_from":"2026-01-01"},{"user_id":7,"dept":"x"},{"user_id":"b"}]"#, Format::Json, None)), @r#"
    r: 3 problems; nothing of it was applied
      item 2: "dept": expected only the keys user_id,kind,unit,role,tier,site,phase,entitled_from,entitled_to
      item 2, user_id: "7": expected text or null
      item 3, entitled_from: "": expected a date YYYY-MM-DD from 1970-01-01 to 2149-06-06
    "#);
    insta::assert_snapshot!(refused(parse("{}", Format::Json, None)), @r#"
    r: 1 problem; nothing of it was applied
      line 1, column 0: "{}": expected a JSON array of objects (invalid type: map, expected a sequence at line 1 column 0)
    "#);
}

#[test]
fn the_line_of_a_row_is_named_whatever_stands_above_it() {
    for above in ["", "\n", "\r\n\r\n", "\na,,\"Sales\nEast\",,,,,2026-01-01,\n\n"] {
        let text = format!("{HEADER}\r\n{above}b,robot,,,,,,2026-01-01,\n");
        let line = 2 + above.matches('\n').count();
        let told = refused(csv(&text));
        assert!(
            told.contains(&format!("\n  line {line}, column kind")),
            "{above:?}: {told}"
        );
    }
}

#[test]
fn what_is_told_repeats_no_more_than_a_piece_of_the_text() {
    let long = "long ".repeat(1_000);
    for text in [
        format!("[\"{long}\"]"),
        format!("[{{\"{long}\\n\":1}}]"),
        format!("[{{\"kind\":\"{long}\"}}]"),
    ] {
        let told = refused(parse(&text, Format::Json, None));
        assert!(told.len() < 1_000 && told.lines().count() <= 5, "{told}");
    }
}

proptest! {
    #[test]
    fn rows_are_accepted_exactly_when_no_day_is_in_two_of_them(
        spans in prop::collection::vec((0i64..40, prop::option::of(1i64..20)), 1..6),
    ) {
        let first = date(2026, 1, 1);
        let day = |n: i64| first.saturating_add(jiff::Span::new().days(n));
        let mut text = HEADER.to_owned();
        for (from, length) in &spans {
            let to = length.map_or(String::new(), |length| day(from + length).to_string());
            text.push_str(&format!("\nu,,,,,,,{},{to}", day(*from)));
        }
        let covering = |n: i64| spans.iter().filter(|(from, length)| n >= *from && length.is_none_or(|l| n < from + l)).count();
        let overlap = (0..80).any(|n| covering(n) > 1);
        prop_assert_eq!(csv(&text).is_err(), overlap);
    }
}
