//! The numbers of a company of five, computed by hand.

use std::collections::HashMap;

use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::ledger::{Feature, Ledger, Row};
use super::numbers::{Dimension, Measure, Truth};
use super::window::{Grain, Window};
use crate::simulate::behaviour::{Action, Event};
use crate::simulate::company::Calendar;

const ANNA: u32 = 0;
const BEN: u32 = 1;
const CLEO: u32 = 2;
const ROBOT: u32 = 3;
const STRANGER: u32 = 4;

/// Saturday, the Sunday of 25 hours on which summer time ends, and Monday.
const WINDOW: Window = Window {
    from: date(2026, 10, 24),
    to: date(2026, 10, 27),
};

fn row(user: u32, unit: &'static str, role: &'static str, from: Date, to: Option<Date>) -> Row {
    let is_person = user != ROBOT;
    Row {
        user,
        is_person,
        unit,
        role,
        tier: "operator",
        site: "Berlin",
        phase: "pilot",
        from,
        to,
    }
}

/// Anna moves from Sales to Finance on the Monday, Ben leaves on the Sunday, Cleo never does anything in the window.
fn ledger() -> Ledger {
    let year_begins = date(2026, 1, 1);
    let feature = |key, is_catalogued, roles| Feature {
        key,
        title: "",
        is_catalogued,
        released: year_begins,
        roles,
    };
    let mut ledger = Ledger {
        zone: TimeZone::get("Europe/Berlin").unwrap(),
        calendar: Calendar {
            holidays: vec![],
            extra_working_days: vec![],
        },
        rows: vec![
            row(ANNA, "Sales", "seller", year_begins, Some(date(2026, 10, 26))),
            row(ANNA, "Finance", "clerk", date(2026, 10, 26), None),
            row(BEN, "Sales", "seller", year_begins, Some(date(2026, 10, 25))),
            row(CLEO, "Finance", "clerk", year_begins, None),
            row(ROBOT, "Finance", "clerk", year_begins, None),
        ],
        features: vec![
            feature("发票.审批", true, vec!["clerk"]),
            feature("help.open", true, vec![]),
            feature("old.report", false, vec![]),
        ],
        user_days: HashMap::new(),
        feature_days: HashMap::new(),
        hour_clicks: HashMap::new(),
    };
    let mut happens = |member, time: &str, action| {
        let time_ms = time.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        ledger.record(&Event {
            member,
            day: 0,
            number: 0,
            time_ms,
            action,
        });
    };
    let click = |feature| Action::Click { feature };
    // Twice 02:30 on the Sunday, before and after the clock goes back.
    happens(ANNA, "2026-10-25T00:30:00Z", click(0));
    happens(ANNA, "2026-10-25T01:30:00Z", click(0));
    happens(ANNA, "2026-10-26T07:00:00Z", Action::Login { success: true });
    happens(ANNA, "2026-10-26T07:01:00Z", click(0));
    // Monday 00:30, when he is no longer entitled.
    happens(BEN, "2026-10-25T23:30:00Z", click(2));
    happens(BEN, "2026-10-25T23:30:00Z", Action::Login { success: false });
    // The last second before the window, and the first after it.
    happens(CLEO, "2026-10-23T21:59:59Z", click(0));
    happens(CLEO, "2026-10-26T23:00:00Z", Action::Login { success: true });
    happens(ROBOT, "2026-10-26T12:00:00Z", click(1));
    happens(STRANGER, "2026-10-26T12:00:00Z", click(1));
    ledger
}

fn with_truth<T>(min_group_size: usize, ask: impl FnOnce(&Truth<'_>) -> T) -> T {
    let ledger = ledger();
    ask(&Truth {
        ledger: &ledger,
        min_group_size,
    })
}

#[test]
fn adoption_counts_entitled_persons_in_the_unit_of_their_last_day() {
    let answer = with_truth(1, |truth| {
        truth.adoption(WINDOW, Measure::Active, Some(Dimension::Unit), None)
    });
    let expected = json!({
        "groups": [
            {"unit": "Finance", "entitled": 2, "active": 1, "rate": 0.5, "suppressed": false},
            {"unit": "Sales", "entitled": 1, "active": 1, "rate": 1.0, "suppressed": false},
        ],
        "total": {"entitled": 3, "active": 2, "rate": 2.0 / 3.0, "unentitled_active": 1},
    });
    assert_eq!(answer, expected);
}

#[test]
fn a_single_small_group_hides_the_next_smallest_too() {
    let answer = with_truth(2, |truth| {
        truth.adoption(WINDOW, Measure::Active, Some(Dimension::Unit), None)
    });
    let hidden = |unit| json!({"unit": unit, "entitled": null, "active": null, "rate": null, "suppressed": true});
    assert_eq!(answer["groups"], json!([hidden("Finance"), hidden("Sales")]));
    assert_eq!(answer["total"]["entitled"], 3);
}

#[test]
fn periods_are_clipped_to_the_window_and_have_their_own_roster() {
    let answer = with_truth(1, |truth| {
        truth.adoption(WINDOW, Measure::Login, Some(Dimension::Unit), Some(Grain::Week))
    });
    let group = |unit, entitled, active: usize| {
        let rate = active as f64 / entitled as f64;
        json!({"unit": unit, "entitled": entitled, "active": active, "rate": rate, "suppressed": false})
    };
    let total = |entitled, active: usize, rate: f64| json!({"entitled": entitled, "active": active, "rate": rate, "unentitled_active": 0});
    let expected = json!([
        {"from": "2026-10-24", "to": "2026-10-26", "groups": [group("Finance", 1, 0), group("Sales", 2, 0)], "total": total(3, 0, 0.0)},
        {"from": "2026-10-26", "to": "2026-10-27", "groups": [group("Finance", 2, 1)], "total": total(2, 1, 0.5)},
    ]);
    assert_eq!(answer["periods"], expected);
}

#[test]
fn login_frequency_counts_working_days_and_never_looks_at_all_time() {
    let answer = with_truth(1, |truth| truth.logins(WINDOW, None));
    let expected = json!({
        "entitled": 3, "never": 1, "buckets": {"0": 2, "1-3": 1, "4-10": 0, "11+": 0}, "mean": 1.0 / 3.0, "median": 0.0,
    });
    assert_eq!(answer["total"], expected);
}

fn feature<'a>(answer: &'a Value, key: &str) -> &'a Value {
    answer["features"]
        .as_array()
        .unwrap()
        .iter()
        .find(|feature| feature["feature"] == key)
        .unwrap()
}

#[test]
fn features_are_ranked_by_the_breadth_among_those_expected_to_use_them() {
    let answer = with_truth(1, |truth| truth.features(WINDOW));
    // Expected of Anna, by now a clerk, and of Cleo. Anna used it on two days: twice on one, once on the other.
    let invoice = feature(&answer, "发票.审批");
    assert_eq!(invoice["rank"], 1);
    assert_eq!(
        [&invoice["users"], &invoice["expected_users"], &invoice["expected"]],
        [1, 1, 2]
    );
    assert_eq!([&invoice["breadth"], &invoice["depth"]], [0.5, 1.5]);
    assert_eq!([&invoice["clicks"], &invoice["adopted_users"]], [3, 1]);
    // In the three days before, Anna was a seller: Cleo's click was one of one.
    assert_eq!([&invoice["previous_breadth"], &invoice["change"]], [1.0, -0.5]);
    assert_eq!(invoice["declining"], true);
    // The robot and the stranger click, but are no entitled persons.
    let help = feature(&answer, "help.open");
    assert_eq!([&help["users"], &help["clicks"], &help["expected"]], [0, 2, 3]);
    assert_eq!([&help["unused"], &help["catalogued"]], [false, true]);
    let old = feature(&answer, "old.report");
    assert_eq!([&old["rank"], &old["expected_users"], &old["expected"]], [2, 1, 3]);
    assert_eq!(old["catalogued"], false);
    assert_eq!(answer["data_quality"]["uncatalogued_click_share"], 1.0 / 6.0);
}

#[test]
fn both_hours_of_a_clock_that_goes_back_are_one_cell() {
    let answer = with_truth(1, |truth| truth.heatmap_hours(WINDOW));
    let cell = |weekday: usize, hour: usize| &answer["cells"][(weekday - 1) * 24 + hour];
    let sunday_2 =
        json!({"weekday": 7, "hour": 2, "clicks": 2, "users": 1, "clicks_per_day": 2.0, "users_per_day": 1.0});
    assert_eq!(*cell(7, 2), sunday_2);
    assert_eq!(cell(1, 0)["clicks"], 1);
    // 12:00 UTC is 13:00 in winter time.
    assert_eq!([&cell(1, 13)["clicks"], &cell(1, 13)["users"]], [2, 2]);
    assert_eq!(cell(2, 0)["clicks_per_day"], Value::Null);
    assert_eq!(answer["weekdays"][0], json!({"weekday": 1, "days": 1}));
    assert_eq!(answer["weekdays"][1], json!({"weekday": 2, "days": 0}));
}

#[test]
fn a_cell_nobody_is_expected_to_use_is_not_expected() {
    let answer = with_truth(1, |truth| truth.heatmap_features(WINDOW, Dimension::Unit));
    let cell = |feature: &str, unit: &str| {
        let cells = answer["cells"].as_array().unwrap();
        cells
            .iter()
            .find(|cell| cell["feature"] == feature && cell["unit"] == unit)
            .unwrap()
    };
    assert_eq!(
        *cell("发票.审批", "Finance"),
        json!({
            "feature": "发票.审批", "unit": "Finance", "users": 1, "entitled": 2, "expected": 2, "breadth": 0.5,
            "expected_breadth": 0.5, "not_expected": false, "suppressed": false,
        })
    );
    let sales = cell("发票.审批", "Sales");
    assert_eq!(
        [&sales["not_expected"], &sales["expected_breadth"]],
        [&json!(true), &Value::Null]
    );
    assert_eq!(cell("old.report", "Sales")["users"], 1);
}
