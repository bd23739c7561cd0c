use super::*;
use jiff::civil::date;

const EXAMPLE: &str = include_str!("../../schemas/definition.example.yaml");

fn refused(text: &str) -> String {
    Definition::parse(text, "x.yaml")
        .expect_err("must be refused")
        .to_string()
}

#[test]
fn the_example_is_read() {
    let definition = Definition::parse(EXAMPLE, "example").expect("valid");
    assert_eq!(definition.timezone, "Asia/Shanghai");
    assert_eq!(definition.calendar.weekdays.len(), 5);
    assert_eq!(definition.calendar.extra_working_days, [date(2026, 10, 10)]);
    assert_eq!(definition.phases[0].kpi_met, Some(true));
    assert_eq!(definition.phases[1].kpi_met, None);
    assert_eq!(definition.features[2].key, "采购.订单.查询");
    assert_eq!(definition.features[0].cadence, Some(Cadence::Daily));
    assert_eq!(definition.targets[0].by, Dimension::Phase);
}

#[test]
fn a_working_day_is_a_working_weekday_or_a_make_up_day_and_no_holiday() {
    let calendar = Definition::parse(EXAMPLE, "example").expect("valid").calendar;
    // A Wednesday, the holidays Thursday and Friday, a weekend, and the Saturday made a workday.
    let worked = [30, 31, 32, 33, 34, 35, 40].map(|day| date(2026, 9, 1) + jiff::Span::new().days(day - 1));
    let worked = worked.map(|day| calendar.is_working_day(day));
    assert_eq!(worked, [true, false, false, false, false, true, true]);
}

#[test]
fn json_says_the_same_as_yaml() {
    let definition = Definition::parse(EXAMPLE, "example").expect("valid");
    for json in [
        serde_json::to_string(&definition).expect("serialises"),
        serde_json::to_string_pretty(&definition)
            .expect("serialises")
            .replace("  ", "\t"),
    ] {
        assert_eq!(Definition::parse(&json, "example"), Ok(definition.clone()));
        assert_eq!(
            serde_json::from_str::<Definition>(&json).expect("deserialises"),
            definition
        );
    }
}

#[test]
fn everything_wrong_is_told_at_once() {
    insta::assert_snapshot!(refused(
        "system: ERP
name: 12
timezone: Asia/Shangai
calendar:
  weekdays: []
  week_start: monday
  holidays: [2026-10-01, 2026-13-01, 2026-10-01]
  extra_working_days: [2026-10-01]
  shifts: two
phases:
  - {id: pilot, name: Pilot, go_live: 2026-01-05, kpi_met: maybe}
  - {id: pilot, name: Pilot, go_live: 2026-01-05}
  - {name: Nameless, go_live: 1969-12-31}
features:
  - {key: \"a\\tb\", title: A}
  - {key: a, title: A, roles: [x, x], cadence: hourly, released: soon}
  - just text
targets: {id: t}
"
    ), @r#"
    x.yaml: 19 problems; nothing of it was applied
      line 1, column 9 (system): "ERP": expected 1 to 64 characters a-z, 0-9, _ or -, beginning with a letter or digit
      line 2, column 7 (name): "12": expected 1 to 256 characters (quoted if it is a number), no control characters
      line 3, column 11 (timezone): "Asia/Shangai": expected an IANA time zone, e.g. Europe/Berlin
      line 9, column 3 (calendar.shifts): "shifts": expected one of the keys weekdays, week_start, holidays, extra_working_days
      line 5, column 13 (calendar.weekdays): "a list of 0": expected at least one of mon, tue, wed, thu, fri, sat, sun
      line 6, column 15 (calendar.week_start): "monday": expected one of mon, tue, wed, thu, fri, sat, sun
      line 7, column 26 (calendar.holidays[1]): "2026-13-01": expected a date YYYY-MM-DD from 1970-01-01 to 2149-06-06
      line 7, column 38 (calendar.holidays[2]): "2026-10-01": expected a value that no other item of the list has
      line 8, column 24 (calendar.extra_working_days[0]): "2026-10-01": expected a day that is not in holidays too
      line 11, column 60 (phases[0].kpi_met): "maybe": expected true or false
      line 12, column 5 (phases[1]): "pilot": expected a value that no other item of the list has
      line 13, column 5 (phases[2].id): "(missing)": expected 1 to 128 characters (quoted if it is a number), no control characters
      line 13, column 31 (phases[2].go_live): "1969-12-31": expected a date YYYY-MM-DD from 1970-01-01 to 2149-06-06
      line 15, column 11 (features[0].key): "a\tb": expected 1 to 128 characters (quoted if it is a number), no control characters
      line 16, column 66 (features[1].released): "soon": expected a date YYYY-MM-DD from 1970-01-01 to 2149-06-06
      line 16, column 35 (features[1].roles[1]): "x": expected a value that no other item of the list has
      line 16, column 48 (features[1].cadence): "hourly": expected one of daily, weekly, monthly, quarterly, yearly
      line 17, column 5 (features[2]): "just text": expected a mapping with key, title, released, roles, cadence
      line 18, column 10 (targets): "a mapping of 1": expected a list
    "#);
}

#[test]
fn targets_are_checked() {
    insta::assert_snapshot!(refused(
        "system: erp
name: ERP
timezone: UTC
calendar: {weekdays: [mon]}
targets:
  - {id: a, metric: adoption, by: department, target: 1.2, due_days: 0, breach_days: 1.5}
  - {id: b, metric: adoption_rate, target: 0.8}
  - {id: c, metric: satisfaction, target: 0.8, due_days: -1, breach_days: 5, drop: 0.3}
"
    ), @r#"
    x.yaml: 9 problems; nothing of it was applied
      line 6, column 21 (targets[0].metric): "adoption": expected one of adoption_rate, login_rate, login_frequency, feature_breadth, satisfaction
      line 6, column 35 (targets[0].by): "department": expected one of none, unit, role, tier, site, phase
      line 6, column 55 (targets[0].target): "1.2": expected a number above 0 and at most 1
      line 6, column 70 (targets[0].due_days): "0": expected a whole number of days from 1 to 3650
      line 6, column 86 (targets[0].breach_days): "1.5": expected a whole number of days from 1 to 3650
      line 7, column 5 (targets[1].due_days): "(missing)": expected a whole number of days from 1 to 3650
      line 7, column 5 (targets[1].breach_days): "(missing)": expected a whole number of days from 1 to 3650
      line 8, column 58 (targets[2].due_days): "-1": expected a whole number of days from 1 to 3650
      line 8, column 84 (targets[2].drop): "0.3": expected nothing: only activity and logins are compared day by day
    "#);
}

#[test]
fn a_syntax_error_is_told_with_its_line() {
    insta::assert_snapshot!(refused("system: erp\nname: [unclosed\n"), @r#"
    x.yaml: 1 problem; nothing of it was applied
      line 2, column 7: "name: [unclosed": expected YAML or JSON (unclosed bracket '[' at line 2, column 7)
    "#);
    insta::assert_snapshot!(refused("system: erp\nsystem: crm\n"), @r#"
    x.yaml: 1 problem; nothing of it was applied
      line 2, column 1: "system: crm": expected each key once
    "#);
    insta::assert_snapshot!(refused("{\"system\": \"erp\",,}"), @r#"
    x.yaml: 1 problem; nothing of it was applied
      line 1, column 18: "{"system": "erp",,}": expected YAML or JSON (unexpected EOF while parsing an implicit flow mapping at line 1, column 18)
    "#);
    insta::assert_snapshot!(refused("- a list"), @r#"
    x.yaml: 1 problem; nothing of it was applied
      line 1, column 1: "a list of 1": expected a mapping with system, name, timezone, calendar, phases, features, targets
    "#);
    insta::assert_snapshot!(refused(""), @r#"
    x.yaml: 1 problem; nothing of it was applied
      line 1, column 1: "null": expected a mapping with system, name, timezone, calendar, phases, features, targets
    "#);
}

#[test]
fn differences_are_told_in_words() {
    let before = Definition::parse(EXAMPLE, "example").expect("valid");
    let mut after = before.clone();
    after.timezone = "Europe/Berlin".to_owned();
    after.phases[0].kpi_met = None;
    after.features.remove(0);
    after.features.push(Feature {
        key: "new".to_owned(),
        ..before.features[0].clone()
    });
    assert_eq!(
        after.changes_since(&before),
        [
            "time zone Asia/Shanghai -> Europe/Berlin",
            "phases: 1 changed",
            "features: 1 added, 1 removed"
        ]
    );
    assert!(before.changes_since(&before).is_empty());
}
