//! What is told of targets after their evaluation: by the API, and by the views that dashboards read.

use serde_json::{Value, json};

use crate::api::Api;
use crate::targets::{BY_UNIT, after, company, day, definition, evaluator, fall_and_return, roster, store};

/// Of each group: the day it is about, state, since, rate.
async fn standings(api: &Api, target: &str, query: &str) -> Vec<(String, Value)> {
    let answer = api.ok(&format!("/systems/erp/targets{query}")).await;
    let targets = answer["targets"].as_array().unwrap();
    let of_target = targets.iter().filter(|row| row["target"] == target);
    let told = of_target.map(|row| {
        let shown = json!([row["day"], row["state"], row["since"], row["rate"]]);
        (row["group"].as_str().unwrap_or_default().to_owned(), shown)
    });
    told.collect()
}

#[tokio::test]
async fn targets_are_told_as_of_any_day() {
    let api = company(&definition(BY_UNIT), &roster()).await;
    store(&api, &fall_and_return()).await;
    let evaluator = evaluator(&api);
    evaluator.evaluate_due(after(50)).await.unwrap();
    evaluator.evaluate_due(after(60)).await.unwrap();
    let sales = async |n: i64| {
        let told = standings(&api, "units", &format!("?on={}", day(n))).await;
        told.into_iter()
            .find_map(|(group, shown)| (group == "Sales").then_some(shown))
    };
    let shown = |n: i64, state: &str, since: i64, rate: f64| Some(json!([day(n), state, day(since), rate]));
    assert_eq!(sales(49).await, None, "not evaluated yet");
    assert_eq!(sales(50).await, shown(50, "on_track", 50, 1.0));
    assert_eq!(sales(53).await, shown(53, "behind", 53, 0.0));
    // A weekend and a holiday: as of the Friday before.
    assert_eq!(sales(56).await, shown(53, "behind", 53, 0.0));
    assert_eq!(sales(57).await, shown(57, "breached", 57, 0.0));
    assert_eq!(
        standings(&api, "units", "").await,
        standings(&api, "units", &format!("?on={}", day(60))).await
    );
    let first = &api.ok("/systems/erp/targets").await["targets"][0];
    assert_eq!((&first["target_rate"], &first["expected"]), (&json!(0.8), &json!(0.8)));
    for wrong in ["on=yesterday", "on=2026-13-01", "on=2150-01-01", "day=2026-10-01"] {
        assert_eq!(
            api.get(&format!("/systems/erp/targets?{wrong}")).await.0,
            422,
            "{wrong}"
        );
    }
    // A target that the definition has no more is not told.
    let renamed = definition(&BY_UNIT.replace("units", "others"));
    assert_eq!(api.put("/systems/erp", "application/yaml", &renamed).await.0, 200);
    assert_eq!(api.ok("/systems/erp/targets").await["targets"], json!([]));
}

#[tokio::test]
async fn groups_evaluated_under_a_smaller_minimum_are_withheld() {
    let targets =
        format!("{BY_UNIT}  - {{id: all, metric: adoption_rate, target: 0.5, due_days: 10, breach_days: 2}}\n");
    let api = company(&definition(&targets), &roster()).await;
    store(&api, &fall_and_return()).await;
    evaluator(&api).evaluate_due(after(50)).await.unwrap();
    let told = standings(&api, "units", "").await;
    assert!(
        told.contains(&("Sales".to_owned(), json!([day(50), "on_track", day(50), 1.0]))),
        "{told:?}"
    );
    let mut fixture = api.fixture;
    fixture.config.privacy.min_group_size = 6;
    let api = Api::serve(fixture).await;
    let withheld = json!([day(50), "undecided", day(50), null]);
    let told = standings(&api, "units", "").await;
    assert!(
        told.len() == 4 && told.iter().all(|(_, shown)| *shown == withheld),
        "{told:?}"
    );
    let answer = api.ok("/systems/erp/targets").await;
    let of_units = answer["targets"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["target"] == "units");
    for row in of_units {
        let hidden = ["rate", "expected", "eligible", "day_rate", "usual_rate"];
        assert!(
            hidden.iter().all(|key| row[key].is_null()) && row["reason"] == "suppressed",
            "{row}"
        );
    }
    // Fourteen people are enough.
    assert_eq!(standings(&api, "all", "").await[0].1[1], "on_track");
}

#[tokio::test]
async fn the_ramp_that_dashboards_draw_is_the_one_of_the_phases() {
    let target = |id: &str, metric: &str, by: &str, rate: f64| {
        format!("  - {{id: {id}, metric: {metric}, by: {by}, target: {rate}, due_days: 7, breach_days: 2}}\n")
    };
    let of_all = target("all", "adoption_rate", "none", 0.7);
    let of_phases = target("phases", "adoption_rate", "phase", 0.9);
    let unrelated = target("units", "adoption_rate", "unit", 0.1) + &target("often", "login_frequency", "none", 0.2);
    let api = company(&definition(&unrelated), &roster()).await;
    let drawn = async |measure: &str| {
        let sql =
            format!("SELECT day, expected_rate FROM target_ramp(system = 'erp', measure = '{measure}', days = 60)");
        let client = api.fixture.store.client();
        client.query(&sql).fetch_all::<(u16, f64)>().await.unwrap()
    };
    let answered = async |measure: &str| {
        let answer = api.ok(&format!("/systems/erp/phases?days=60&measure={measure}")).await;
        let days = answer["phases"][0]["days"].as_array().unwrap().clone();
        let point = |day: Value| {
            (
                day["day"].as_u64().unwrap() as u16,
                day["expected_rate"].as_f64().unwrap(),
            )
        };
        days.into_iter().map(point).collect::<Vec<_>>()
    };
    for (targets, of_day_7) in [
        (unrelated.clone(), 0.8 * 7.0 / 90.0),
        (format!("{unrelated}{of_all}"), 0.7),
        (format!("{unrelated}{of_all}{of_phases}"), 0.9),
    ] {
        api.put("/systems/erp", "application/yaml", &definition(&targets)).await;
        for measure in ["active", "login"] {
            let (drawn, answered) = (drawn(measure).await, answered(measure).await);
            assert_eq!((drawn.len(), answered.len()), (60, 60));
            let mut pairs = drawn.iter().zip(&answered);
            assert!(pairs.all(is_same), "{targets}{drawn:?} {answered:?}");
        }
        assert!(is_same((&(7, of_day_7), &drawn("active").await[7])), "{targets}");
        assert!(is_same((&(7, 0.8 * 7.0 / 90.0), &drawn("login").await[7])), "{targets}");
    }
}

/// The same day and rate; to read a rate from JSON may change its last digit.
fn is_same((one, other): (&(u16, f64), &(u16, f64))) -> bool {
    one.0 == other.0 && (one.1 - other.1).abs() < 1e-12
}
