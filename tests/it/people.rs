//! The numbers about people over time: stickiness, lifecycle, retention and champions, computed by hand on a small company;
//! `docs/metrics.md` shows the same figures. Days are those of Asia/Shanghai; 28 October 2026 is a Wednesday.

use serde_json::{Value, json};
use uptake::pseudonym::Pseudonym;
use uptake::store::ordinals::Ordinals;

use crate::api::{Api, as_read};
use crate::numbers::row;

const DEFINITION: &str = "\
system: erp
name: Corporate ERP
timezone: Asia/Shanghai
calendar: {weekdays: [mon, tue, wed, thu, fri]}
features:
  - {key: orders.enter, title: Enter, released: 2026-01-05, roles: [clerk]}
  - {key: orders.change, title: Change, released: 2026-01-05, roles: [clerk, lead]}
  - {key: orders.print, title: Print, released: 2026-10-31, roles: [clerk]}
  - {key: help.search, title: Search}
  - {key: orders.cancel, title: Cancel, released: 2026-11-01, roles: [clerk]}
  - {key: orders.approve, title: Approve, roles: [lead]}
";

const HEADER: &str = "user_id,kind,unit,role,tier,site,phase,entitled_from,entitled_to\n";

/// Entitled people: Sales 6, Ops 6, IT 3, Legal 2.
const PEOPLE: &str = "n1:Sales n2:Sales d1:Sales r1:Sales a1:Sales w1:Sales s1:Ops s2:Ops s3:Ops o1:Ops o2:Ops o3:Ops \
    i1:IT i2:IT i3:IT l1:Legal l2:Legal";

/// User, and the days with a click. `bot` is a service account, `ghost` is on no roster.
const CLICKS: &[(&str, &str)] = &[
    // The last 28 days of 28 October begin with the 1st, its last 7 working days with the 20th.
    ("d1", "2026-09-30"),
    ("r1", "2026-09-30 2026-10-20"),
    ("a1", "2026-10-19"),
    ("w1", "2026-10-01 2026-10-28"),
    // 28, 27 and 28 days without a click; the last ends on a Saturday.
    ("s1", "2026-09-22 2026-10-21"),
    ("s2", "2026-09-23 2026-10-21"),
    ("s3", "2026-09-25 2026-10-24"),
    ("o1", "2026-09-15 2026-10-01 2026-10-28"),
    ("o3", "2026-10-27"),
    ("i1", "2026-10-28"),
    ("l1", "2026-10-26"),
    ("bot", "2026-10-28"),
    ("ghost", "2026-10-27"),
];

fn pseudonym(user: &str) -> Pseudonym {
    crate::harness::config().privacy.pseudonymizer().pseudonym(user)
}

/// One event for each user and day, at 10 in the morning.
async fn store(api: &Api, kind: &str, feature: &str, users: &[(&str, &str)]) {
    let ordinals = Ordinals::new(&api.fixture.store);
    let pseudonyms: Vec<_> = users.iter().map(|(user, _)| pseudonym(user)).collect();
    let ordinals = ordinals.resolve(pseudonyms).await.unwrap();
    let mut rows = Vec::new();
    for (user, days) in users {
        let user = pseudonym(user);
        let time = |day| format!("{day}T02:00:00Z");
        rows.extend(
            days.split(' ')
                .map(|day| row(ordinals[&user], &time(day), kind, feature, "")),
        );
    }
    let into = "INSERT INTO raw_events (system, type, time, ordinal, feature, outcome, zone, local_date, local_hour, identity)";
    api.execute(&format!("{into} VALUES {}", rows.join(","))).await;
}

async fn defined() -> Api {
    let api = Api::start(|config| config.privacy.min_group_size = 3).await;
    assert_eq!(api.put("/systems/erp", "application/yaml", DEFINITION).await.0, 200);
    api
}

async fn company() -> Api {
    let api = defined().await;
    let mut roster = format!("{HEADER}bot,service,Sales,clerk,,,,2026-01-01,\n");
    for person in PEOPLE.split_whitespace() {
        let (user, unit) = person.split_once(':').unwrap();
        roster += &format!("{user},person,{unit},clerk,,,,2026-01-01,\n");
    }
    // Their rights begin and end beside the day.
    roster += "x1,person,Sales,clerk,,,,2026-10-29,\nx2,person,Sales,clerk,,,,2026-01-01,2026-10-28\n";
    assert_eq!(api.put("/systems/erp/roster", "text/csv", &roster).await.0, 200);
    store(&api, "feature_click", "orders.enter", CLICKS).await;
    // An event, but no activity.
    store(&api, "login", "", &[("n2", "2026-10-27"), ("d1", "2026-10-27")]).await;
    // The day after the one that is asked about.
    store(&api, "feature_click", "orders.enter", &[("n1", "2026-10-29")]).await;
    api
}

#[tokio::test]
async fn stickiness_is_the_mean_of_the_working_days_ratios() {
    let api = company().await;
    let answer = api.ok("/systems/erp/stickiness?from=2026-10-24&to=2026-10-29").await;
    let day = |day: &str, dau: u64, mau: u64| {
        as_read(json!({"day": day, "dau": dau, "mau": mau, "ratio": dau as f64 / mau as f64}))
    };
    assert_eq!(
        answer["days"],
        json!([
            day("2026-10-26", 1, 9),
            day("2026-10-27", 2, 11),
            day("2026-10-28", 4, 12)
        ])
    );
    let mean = (1.0 / 9.0 + 2.0 / 11.0 + 4.0 / 12.0) / 3.0;
    assert!(
        (answer["stickiness"].as_f64().unwrap() - mean).abs() < 1e-12,
        "{answer}"
    );
    assert_eq!((&answer["ceiling"], &answer["averaged_days"]), (&json!(1.0), &json!(3)));
    // A weekend has no working day, a day before everything nobody in its 28 days.
    let weekend = api.ok("/systems/erp/stickiness?from=2026-10-24&to=2026-10-26").await;
    assert_eq!((&weekend["days"], &weekend["stickiness"]), (&json!([]), &Value::Null));
    assert_eq!(weekend["ceiling"], Value::Null);
    let early = api.ok("/systems/erp/stickiness?from=2026-09-14&to=2026-09-16").await;
    assert_eq!(
        early["days"],
        json!([{"day": "2026-09-14", "dau": 0, "mau": 0, "ratio": null}, day("2026-09-15", 1, 1)])
    );
    assert_eq!(
        (&early["stickiness"], &early["averaged_days"]),
        (&json!(1.0), &json!(1))
    );
}

#[tokio::test]
async fn everybody_entitled_is_in_one_state_of_the_lifecycle() {
    let api = company().await;
    let answer = api.ok("/systems/erp/lifecycle?on=2026-10-28&by=unit").await;
    let counts = |entitled: u64, states: [u64; 6]| {
        let [never, new, returning, resurrected, at_risk, dormant] = states;
        assert_eq!(entitled, states.iter().sum::<u64>());
        json!({"entitled": entitled, "never": never, "new": new, "returning": returning, "resurrected": resurrected,
            "at_risk": at_risk, "dormant": dormant, "suppressed": false})
    };
    let group = |unit: &str, mut counts: Value| {
        counts["unit"] = json!(unit);
        counts
    };
    let hidden = |unit: &str| {
        json!({"unit": unit, "entitled": null, "never": null, "new": null, "returning": null, "resurrected": null,
        "at_risk": null, "dormant": null, "suppressed": true})
    };
    assert_eq!(answer["total"], counts(17, [5, 4, 3, 2, 1, 2]));
    assert_eq!(
        answer["groups"],
        json!([
            hidden("IT"),
            hidden("Legal"),
            group("Ops", counts(6, [1, 1, 2, 2, 0, 0])),
            group("Sales", counts(6, [1, 1, 1, 0, 1, 2])),
        ])
    );
    // The day after, n1 has come, x1 is entitled, r1 has not been there on seven working days, and the first of w1 is 28 days ago.
    let next = api.ok("/systems/erp/lifecycle?on=2026-10-29").await;
    assert_eq!(next["total"], counts(18, [5, 4, 3, 2, 2, 2]));
}

#[tokio::test]
async fn a_list_of_users_is_read_page_by_page() {
    let api = company().await;
    let on = "on=2026-10-28";
    let answer = api
        .ok(&format!("/systems/erp/users?state=dormant&{on}&unit=Sales"))
        .await;
    let mut dormant = [
        json!({"user": pseudonym("d1").to_string(), "last_active": "2026-09-30"}),
        json!({"user": pseudonym("n2").to_string(), "last_active": null}),
    ];
    dormant.sort_by_key(|user| user["user"].to_string());
    assert_eq!(answer["users"], json!(dormant));
    assert_eq!(
        (&answer["count"], &answer["filter"]),
        (&json!(2), &json!({"unit": ["Sales"]}))
    );
    assert_eq!(answer["next"], Value::Null);

    let first = api.ok(&format!("/systems/erp/users?state=new&{on}&limit=2")).await;
    assert_eq!(first["count"], 4);
    let cursor = first["next"].as_str().unwrap();
    // Between the pages all who belong to the list leave the roster, and somebody else becomes new.
    let roster = format!("{HEADER}i2,person,IT,clerk,,,,2026-01-01,\n");
    assert_eq!(api.put("/systems/erp/roster", "text/csv", &roster).await.0, 200);
    store(&api, "feature_click", "orders.enter", &[("i2", "2026-10-28")]).await;
    let second = api.ok(&format!("/systems/erp/users?state=new&cursor={cursor}")).await;
    assert_eq!(second["on"], "2026-10-28");
    let pages = [&first["users"], &second["users"]].map(|page| page.as_array().unwrap().clone());
    let listed: Vec<_> = pages
        .concat()
        .iter()
        .map(|user| user["user"].as_str().unwrap().to_owned())
        .collect();
    assert!(
        listed.is_sorted() && listed.windows(2).all(|pair| pair[0] != pair[1]),
        "{listed:?}"
    );
    for user in ["w1", "o3", "i1", "l1"] {
        assert!(listed.contains(&pseudonym(user).to_string()), "{user}: {listed:?}");
    }

    let (status, body) = api
        .get(&format!("/systems/erp/users?state=new&cursor={cursor}&on=2026-10-27"))
        .await;
    assert_eq!((status, &body["errors"][0]["place"]), (422, &json!("on")));
}

#[tokio::test]
async fn nobody_of_a_small_group_is_listed() {
    let api = company().await;
    for list in ["users?state=never&on=2026-10-28", "champions/users?month=2026-10"] {
        // IT is suppressed because Legal is.
        for unit in ["Legal", "IT"] {
            let (status, body) = api.get(&format!("/systems/erp/{list}&unit={unit}")).await;
            assert_eq!((status, &body["code"]), (403, &json!("suppressed")), "{list} {unit}");
        }
        for (parameter, place) in [
            ("unit=Nowhere", "unit"),
            ("role=nobody&unit=Ops", "role"),
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("cursor=1", "cursor"),
        ] {
            let (status, body) = api.get(&format!("/systems/erp/{list}&{parameter}")).await;
            assert_eq!(
                (status, &body["errors"][0]["place"]),
                (422, &json!(place)),
                "{list} {parameter}"
            );
        }
    }
    for (path, place) in [
        ("users?on=2026-10-28", "state"),
        ("users?state=gone", "state"),
        ("champions?month=2026-13", "month"),
    ] {
        let (status, body) = api.get(&format!("/systems/erp/{path}")).await;
        assert_eq!((status, &body["errors"][0]["place"]), (422, &json!(place)), "{path}");
    }
    let api = defined().await;
    let roster = format!("{HEADER}a,person,,,,,,2026-01-01,\nb,person,,,,,,2026-01-01,\n");
    assert_eq!(api.put("/systems/erp/roster", "text/csv", &roster).await.0, 200);
    let (status, body) = api.get("/systems/erp/users?state=never").await;
    assert_eq!((status, &body["code"]), (403, &json!("suppressed")));
    assert_eq!(api.ok("/systems/erp/stickiness").await["suppressed"], true);
    assert_eq!(api.ok("/systems/erp/stickiness").await["days"][0]["mau"], Value::Null);
    assert_eq!(api.ok("/systems/erp/lifecycle").await["total"]["never"], Value::Null);
    assert_eq!(api.ok("/systems/erp/champions").await["total"]["entitled"], Value::Null);
}

#[tokio::test]
async fn retention_follows_those_who_began_in_a_week() {
    let api = company().await;
    let answer = api.ok("/systems/erp/retention?from=2026-09-15&to=2026-11-02").await;
    let cohort = |week: &str, active: &[u64]| {
        let size = active[0];
        let share = |n: u64| {
            if size == 0 {
                Value::Null
            } else {
                json!(n as f64 / size as f64)
            }
        };
        let weeks = (0..)
            .zip(active)
            .map(|(week, &n): (u64, _)| json!({"week": week, "active": n, "share": share(n)}));
        json!({"week": week, "size": size, "weeks": weeks.collect::<Vec<_>>(), "suppressed": false})
    };
    assert_eq!(
        answer["cohorts"],
        json!([
            // o1 began before.
            cohort("2026-09-21", &[3, 0, 0, 0, 3, 0]),
            cohort("2026-09-28", &[3, 0, 0, 1, 1]),
            cohort("2026-10-05", &[0, 0, 0, 0]),
            cohort("2026-10-12", &[0, 0, 0]),
            json!({"week": "2026-10-19", "size": null, "weeks": [], "suppressed": true}),
            cohort("2026-10-26", &[6]),
        ])
    );
    // Six days hold no whole week.
    let short = api.ok("/systems/erp/retention?from=2026-09-22&to=2026-09-28").await;
    assert_eq!(short["cohorts"], json!([]));
}

#[tokio::test]
async fn champions_are_there_often_and_use_what_is_expected_of_them() {
    let api = defined().await;
    let mut roster = HEADER.to_owned();
    for user in 1..=12 {
        let unit = if user <= 6 { "Ops" } else { "Sales" };
        roster += &format!("p{user},person,{unit},clerk,,,,2026-01-01,\n");
    }
    assert_eq!(api.put("/systems/erp/roster", "text/csv", &roster).await.0, 200);
    // The first tenth of 12 persons are 2. October: p1 has 3 working days, p2, p3 and p5 have 2; the days of p4 are Saturdays.
    let october = ["2026-10-01 2026-10-02 2026-10-05", "2026-10-01 2026-10-30"];
    let saturdays = "2026-10-03 2026-10-10 2026-10-17";
    let days = [
        ("p1", october[0]),
        ("p2", october[1]),
        ("p3", october[1]),
        ("p5", october[1]),
        ("p4", saturdays),
        ("p6", "2026-10-05"),
    ];
    store(&api, "feature_click", "orders.enter", &days).await;
    // September: p1 has 3, p2, p4 and p5 have 2, p3 has 1.
    let days = [
        ("p1", "2026-09-01 2026-09-02 2026-09-30"),
        ("p2", "2026-09-01 2026-09-02"),
        ("p4", "2026-09-01 2026-09-02"),
        ("p5", "2026-09-01 2026-09-02"),
        ("p3", "2026-09-01"),
    ];
    store(&api, "feature_click", "orders.enter", &days).await;
    // Expected of a clerk are enter, change and search in September, of which all are used, print too from October on.
    for feature in ["orders.change", "help.search"] {
        store(&api, "feature_click", feature, &days).await;
        store(
            &api,
            "feature_click",
            feature,
            &[("p1", "2026-10-01"), ("p5", "2026-10-01"), ("p3", "2026-10-01")],
        )
        .await;
    }
    store(&api, "feature_click", "orders.print", &[("p5", "2026-10-30")]).await;
    // p2 has used half of it: enter and search. What is not expected of the role does not count.
    store(&api, "feature_click", "help.search", &[("p2", "2026-10-01")]).await;
    store(&api, "feature_click", "orders.approve", &[("p2", "2026-10-01")]).await;

    let answer = api.ok("/systems/erp/champions?month=2026-10&by=unit").await;
    let share = |champions: u64, entitled: u64| champions as f64 / entitled as f64;
    assert_eq!(
        answer["total"],
        json!({"entitled": 12, "champions": 2, "share": share(2, 12), "suppressed": false})
    );
    assert_eq!(
        answer["groups"],
        json!([
            {"unit": "Ops", "entitled": 6, "champions": 2, "share": share(2, 6), "suppressed": false},
            {"unit": "Sales", "entitled": 6, "champions": 0, "share": 0.0, "suppressed": false},
        ])
    );
    let mut champions = [
        json!({"user": pseudonym("p1").to_string(), "active_days": 3, "used": 3, "expected": 4, "breadth": 0.75}),
        json!({"user": pseudonym("p5").to_string(), "active_days": 2, "used": 4, "expected": 4, "breadth": 1.0}),
    ];
    champions.sort_by_key(|user| user["user"].to_string());
    let list = api.ok("/systems/erp/champions/users?month=2026-10&limit=1").await;
    assert_eq!((&list["users"], &list["count"]), (&json!([champions[0]]), &json!(2)));
    let cursor = list["next"].as_str().unwrap();
    let list = api.ok(&format!("/systems/erp/champions/users?cursor={cursor}")).await;
    assert_eq!(list["users"], json!([champions[1]]));
    assert_eq!(
        (&list["window"]["from"], &list["next"]),
        (&json!("2026-10-01"), &Value::Null)
    );
    // Of two months running, August is empty.
    assert_eq!(
        api.ok("/systems/erp/champions?month=2026-09").await["total"]["champions"],
        0
    );
}

/// Four clerks trained on 5 October 2026 and five not yet trained. Three features are expected of them: those released by 7 September.
#[tokio::test]
async fn a_training_is_compared_with_those_who_had_none() {
    let api = defined().await;
    let mut roster = HEADER.to_owned();
    for user in ["t1", "t2", "t3", "t4", "u1", "u2", "u3", "u4", "u5"] {
        roster += &format!("{user},person,Ops,clerk,,,,2026-01-01,\n");
    }
    // A role in which nobody stands against the trained one, and somebody who came too late to have a breadth before.
    roster += "m1,person,Ops,lead,,,,2026-01-01,\nt5,person,Ops,clerk,,,,2026-09-10,\n";
    assert_eq!(api.put("/systems/erp/roster", "text/csv", &roster).await.0, 200);
    let trained = "user_id,trained_on\nt1,2026-10-05\nt2,2026-10-05\nt3,2026-10-05\nt4,2026-10-05\nt5,2026-10-05\nm1,2026-10-05\n\
        u1,2026-11-03\n";
    let (status, imported) = api.put("/systems/erp/training", "text/csv", trained).await;
    assert_eq!(
        (status, &imported["users"], &imported["changed"]),
        (200, &json!(7), &json!(true))
    );
    let (_, again) = api.put("/systems/erp/training", "text/csv", trained).await;
    assert_eq!(
        (&again["version"], &again["changed"]),
        (&imported["version"], &json!(false))
    );

    // The first and the last day before, the first and the last after.
    let before = ["t1", "t2", "t3", "u1", "u2", "u3"].map(|user| (user, "2026-09-07 2026-10-04"));
    store(&api, "feature_click", "orders.enter", &before).await;
    let after = ["t1", "t2", "t3", "u1", "u2", "u3"].map(|user| (user, "2026-10-06 2026-11-02"));
    store(&api, "feature_click", "orders.enter", &after).await;
    let more = [("t1", "2026-10-06"), ("t2", "2026-11-02"), ("u1", "2026-10-20")];
    store(&api, "feature_click", "orders.change", &more).await;
    // The day of the training, the days outside, and what is not expected.
    let none = [("t3", "2026-10-05 2026-11-03 2026-09-06"), ("u2", "2026-10-05")];
    store(&api, "feature_click", "help.search", &none).await;
    store(&api, "feature_click", "orders.print", &[("t4", "2026-11-02")]).await;
    // u3 stops using one.
    store(
        &api,
        "feature_click",
        "help.search",
        &[("u3", "2026-09-20"), ("u4", "2026-10-20"), ("t4", "2026-10-20")],
    )
    .await;

    let answer = api.ok("/systems/erp/training?from=2026-10-01&to=2026-11-01").await;
    assert_eq!(answer["trainings"], 6);
    let total = &answer["total"];
    let near = |value: &Value, wanted: f64| {
        assert!(
            (value.as_f64().unwrap() - wanted).abs() < 1e-9,
            "{value} {wanted}: {total}"
        )
    };
    // Changes in thirds: 1, 1, 0, 1 of the trained; 1, 0, −1, 1, 0 of the others.
    assert_eq!(total["trained"], 4);
    near(&total["trained_change"], 0.25);
    near(&total["untrained_change"], 0.2 / 3.0);
    near(&total["effect"], 0.25 - 0.2 / 3.0);
    // Welch with variances (1/4 of a third squared)/4 and (7/10 of a third squared)/5: 6.61 degrees of freedom, t = 2.3931.
    let variance: f64 = (0.25 / 4.0 + 0.7 / 5.0) / 9.0;
    let half = (total["interval"]["high"].as_f64().unwrap() - total["interval"]["low"].as_f64().unwrap()) / 2.0;
    assert!(
        (half / variance.sqrt() - 2.3931).abs() < 0.001,
        "{half} {variance}: {total}"
    );
    assert_eq!(answer["roles"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&answer["roles"][0]["role"], &answer["roles"][0]["effect"]),
        (&json!("clerk"), &total["effect"])
    );

    // A newer version counts alone; two are too few to show.
    let two = r#"[{"user_id": "t1", "trained_on": "2026-10-05"}, {"user_id": "t2", "trained_on": "2026-10-05"}]"#;
    assert_eq!(api.put("/systems/erp/training", "application/json", two).await.0, 200);
    let answer = api.ok("/systems/erp/training?from=2026-10-01&to=2026-11-01").await;
    assert_eq!(
        (&answer["total"]["suppressed"], &answer["total"]["effect"]),
        (&json!(true), &Value::Null)
    );
    assert_eq!(answer["roles"][0]["trained"], Value::Null);

    let bad = "user_id,trained_on\nt1,soon\nt2,2026-10-05\nt2,2026-10-06\n";
    let (status, body) = api.put("/systems/erp/training", "text/csv", bad).await;
    assert_eq!((status, body["errors"].as_array().unwrap().len()), (422, 2), "{body}");
    assert_eq!(
        api.ok("/systems/erp/training?from=2026-10-01&to=2026-11-01").await["trainings"],
        2
    );
}
