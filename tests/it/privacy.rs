//! Whether few people can be got at: every number is asked of every part of a small company, and what is told is put together again.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::header::ACCEPT;
use serde_json::{Value, json};
use uptake::store::ordinals::Ordinals;

use crate::access::create_token;
use crate::api::Api;
use crate::numbers::row;

const SMALLEST: u64 = 5;

const DEFINITION: &str = "\
system: erp
name: Corporate ERP
timezone: Asia/Shanghai
calendar: {weekdays: [mon, tue, wed, thu, fri]}
phases: [{id: pilot, name: Pilot, go_live: 2026-09-01}]
features:
  - {key: orders.enter, title: Enter, roles: [clerk, lead, temp]}
  - {key: orders.approve, title: Approve, roles: [lead]}
  - {key: help.search, title: Search}
";

const DIMENSIONS: [&str; 3] = ["unit", "role", "tier"];

/// Unit, role, tier and how many people have them. Wherever the roster is cut, some pieces are small: two managers of Sales, one lead of Ops who
/// is none, the temps of IT, and all of Tiny.
const PLACES: [([&str; 3], u64); 10] = [
    (["Sales", "clerk", "operator"], 12),
    (["Sales", "lead", "operator"], 6),
    (["Sales", "lead", "management"], 2),
    (["Ops", "clerk", "operator"], 10),
    (["Ops", "lead", "operator"], 1),
    (["Ops", "lead", "management"], 5),
    (["IT", "clerk", "operator"], 7),
    (["IT", "lead", "management"], 6),
    (["IT", "temp", "operator"], 3),
    (["Tiny", "clerk", "operator"], 2),
];

const WINDOW: &str = "from=2026-10-01&to=2026-10-29";

/// Every other person of a place clicked and logged in once.
async fn company(authentication: bool) -> Api {
    let api = Api::start(|config| {
        config.privacy.min_group_size = SMALLEST as u32;
        config.api.authentication = authentication;
        // The events of these tests must not grow too old to be asked for; the program, which makes tokens, knows the usual retention only.
        if !authentication {
            (config.retention.user_months, config.retention.aggregate_months) = (1_000, 1_000);
            config.retention.raw_days = 20_000;
        }
    })
    .await;
    let mut roster = "user_id,kind,unit,role,tier,site,phase,entitled_from,entitled_to\n".to_owned();
    let mut active = Vec::new();
    let pseudonymizer = crate::harness::config().privacy.pseudonymizer();
    for ([unit, role, tier], people) in PLACES {
        for n in 0..people {
            let user = format!("{unit}-{role}-{tier}-{n}");
            roster += &format!("{user},person,{unit},{role},{tier},,pilot,2026-01-01,\n");
            if n % 2 == 0 {
                active.push(pseudonymizer.pseudonym(&user));
            }
        }
    }
    put(&api, "/systems/erp", "application/yaml", DEFINITION).await;
    put(&api, "/systems/erp/roster", "text/csv", &roster).await;
    let ordinals = Ordinals::new(&api.fixture.store).resolve(active.clone()).await.unwrap();
    let rows = active.iter().flat_map(|user| {
        let row = |kind, feature, outcome| row(ordinals[user], "2026-10-06T02:00:00Z", kind, feature, outcome);
        [row("feature_click", "orders.enter", ""), row("login", "", "success")]
    });
    let rows: Vec<_> = rows.collect();
    let into = "INSERT INTO raw_events (system, type, time, ordinal, feature, outcome, zone, local_date, local_hour, identity)";
    api.execute(&format!("{into} VALUES {}", rows.join(","))).await;
    api
}

async fn put(api: &Api, path: &str, kind: &str, body: &str) {
    let mut request = api
        .http
        .put(format!("{}/api/v1{path}", api.url))
        .header("Content-Type", kind);
    if api.fixture.config.api.authentication {
        let name = format!("of {path}").replace('/', " ");
        request = request.bearer_auth(create_token(&api.fixture, &name, &["--role", "admin"]));
    }
    assert_eq!(api.send(request.body(body.to_owned())).await.0, 200, "{path}");
}

/// At most one value of each dimension.
type Conditions = BTreeMap<&'static str, &'static str>;

fn values(dimension: usize) -> BTreeSet<&'static str> {
    PLACES.iter().map(|(place, _)| place[dimension]).collect()
}

/// Every set of conditions on at most `most` dimensions.
fn conditions(most: usize) -> Vec<Conditions> {
    let mut all = vec![Conditions::new()];
    for (index, dimension) in DIMENSIONS.iter().enumerate() {
        let with = |before: &Conditions| {
            let before = before.clone();
            values(index).into_iter().map(move |value| {
                let mut conditions = before.clone();
                conditions.insert(dimension, value);
                conditions
            })
        };
        all.extend(all.clone().iter().flat_map(with));
    }
    all.retain(|conditions| conditions.len() <= most);
    all
}

fn query(conditions: &Conditions) -> String {
    conditions
        .iter()
        .map(|(name, value)| format!("&{name}={value}"))
        .collect()
}

/// Which of [`PLACES`] meet the conditions.
fn places(conditions: &Conditions) -> BTreeSet<usize> {
    let meets = |place: &[&str; 3]| {
        let mut pairs = DIMENSIONS.iter().zip(place);
        pairs.all(|(dimension, value)| conditions.get(dimension).is_none_or(|wanted| wanted == value))
    };
    let indexed = PLACES.iter().enumerate();
    indexed
        .filter(|(_, (place, _))| meets(place))
        .map(|(index, _)| index)
        .collect()
}

fn people(places: &BTreeSet<usize>) -> u64 {
    places.iter().map(|place| PLACES[*place].1).sum()
}

fn is_few(people: u64) -> bool {
    0 < people && people < SMALLEST
}

/// Of whom something is told: the conditions of every count that an answer gives, asked for in every way, and whom they leave.
async fn told(api: &Api) -> BTreeMap<Conditions, BTreeSet<usize>> {
    let mut told = BTreeMap::new();
    for conditions in conditions(2) {
        let filter = query(&conditions);
        for by in ["none", "unit", "role", "tier"] {
            let answer = api.ok(&format!("/systems/erp/adoption?{WINDOW}&by={by}{filter}")).await;
            let mut check = |counted: &Value, conditions: Conditions| {
                if counted["suppressed"] == true {
                    let numbers = [&counted["entitled"], &counted["active"], &counted["rate"]];
                    assert_eq!(numbers, [&Value::Null; 3], "{by}{filter}");
                    return;
                }
                let set = places(&conditions);
                let active: u64 = set.iter().map(|place| PLACES[*place].1.div_ceil(2)).sum();
                let counts = (&counted["entitled"], &counted["active"]);
                assert_eq!(counts, (&json!(people(&set)), &json!(active)), "{by}{filter}");
                told.insert(conditions, set);
            };
            check(&answer["total"], conditions.clone());
            for group in answer["groups"].as_array().unwrap() {
                let index = DIMENSIONS.iter().position(|dimension| *dimension == by).unwrap();
                let name = values(index).into_iter().find(|value| group[by] == *value).unwrap();
                let mut of_group = conditions.clone();
                of_group.insert(DIMENSIONS[index], name);
                check(group, of_group);
            }
        }
    }
    told
}

#[tokio::test]
async fn neither_an_answer_nor_what_it_leaves_of_another_is_about_few() {
    let told = told(&company(false).await).await;
    // Something is told of parts of parts, or there would be nothing to take apart.
    assert!(told.keys().any(|conditions| conditions.len() == 2), "{told:?}");
    for (conditions, set) in &told {
        assert!(!is_few(people(set)), "{conditions:?}");
        let fewer = told
            .iter()
            .filter(|(other, _)| other.iter().all(|(name, value)| conditions.get(name) == Some(value)));
        for (other, all) in fewer {
            assert!(!is_few(people(all) - people(set)), "{other:?} less {conditions:?}");
        }
        // All parts of one breakdown that are told, together.
        for dimension in DIMENSIONS
            .iter()
            .filter(|dimension| !conditions.contains_key(*dimension))
        {
            let is_part = |part: &Conditions| {
                let mut rest = part.clone();
                rest.remove(dimension).is_some() && rest == *conditions
            };
            let parts = told
                .iter()
                .filter(|(part, _)| is_part(part))
                .map(|(_, set)| people(set));
            assert!(
                !is_few(people(set) - parts.sum::<u64>()),
                "{conditions:?} less all by {dimension}"
            );
        }
    }
}

/// Questions that take a filter, each with all that it needs.
const QUESTIONS: [&str; 13] = [
    "adoption?from=2026-10-01&to=2026-10-29&grain=week",
    "logins?from=2026-10-01&to=2026-10-29",
    "stickiness?from=2026-10-01&to=2026-10-29",
    "lifecycle?on=2026-10-28",
    "retention?from=2026-09-28&to=2026-11-02",
    "champions?month=2026-10",
    "features?from=2026-10-01&to=2026-10-29",
    "features/help.search/time-to-adopt?from=2026-10-01&to=2026-10-29",
    "funnels?steps=orders.enter,orders.approve&from=2026-10-01&to=2026-10-29",
    "heatmap/hours?from=2026-10-01&to=2026-10-29",
    "heatmap/features?from=2026-10-01&to=2026-10-29",
    "satisfaction?from=2026-10-01&to=2026-10-29",
    "phases?on=2026-10-28&days=30",
];

/// Everything that counts people, wherever it stands in an answer.
const COUNTS: [&str; 22] = [
    "entitled",
    "active",
    "rate",
    "never",
    "mean",
    "median",
    "dau",
    "mau",
    "ratio",
    "stickiness",
    "new",
    "returning",
    "dormant",
    "size",
    "champions",
    "users",
    "clicks",
    "expected",
    "breadth",
    "median_days",
    "scored",
    "not_adopted",
];

fn counts(answer: &Value, found: &mut Vec<String>) {
    match answer {
        Value::Object(fields) => {
            for (name, value) in fields.iter().filter(|(name, _)| *name != "data_quality") {
                if COUNTS.contains(&name.as_str()) && value.is_number() {
                    found.push(format!("{name} = {value}"));
                }
                counts(value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| counts(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn no_question_tells_of_few_whatever_the_filter() {
    let api = company(false).await;
    for (filter, is_told) in [
        ("unit=Sales", true),
        ("unit=Sales&unit=Ops", true),
        // Few themselves; the next smallest, which would tell them; few beside others; few left out; few of one of two.
        ("unit=Tiny", false),
        ("unit=IT", false),
        ("unit=Tiny&unit=Sales", false),
        ("unit=Sales&tier=operator", false),
        ("unit=Sales&tier=management&tier=operator", false),
    ] {
        for question in QUESTIONS {
            let answer = api.ok(&format!("/systems/erp/{question}&{filter}")).await;
            let mut found = Vec::new();
            counts(&answer, &mut found);
            assert_eq!(!found.is_empty(), is_told, "{question} {filter}: {answer}");
        }
        for list in ["users?state=never&on=2026-10-28", "champions/users?month=2026-10"] {
            let status = api.get(&format!("/systems/erp/{list}&{filter}")).await.0;
            assert_eq!(status, if is_told { 200 } else { 403 }, "{list} {filter}");
        }
        let csv = api
            .http
            .get(format!("{}/api/v1/systems/erp/adoption?{WINDOW}&{filter}", api.url));
        let csv = csv
            .header(ACCEPT, "text/csv")
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let total = csv.lines().nth(1).unwrap();
        assert_eq!(total.ends_with(",,true,,,,,true"), !is_told, "{filter}: {csv}");
    }
}

/// One answer tells how many people a group has, another one hides it beside a smaller group: from both, the smaller one would follow.
#[tokio::test]
async fn a_group_that_adoption_withholds_is_told_by_no_other_number() {
    let api = company(false).await;
    // Of Sales fewer answered than of IT, which adoption hides beside Tiny.
    let pseudonymizer = crate::harness::config().privacy.pseudonymizer();
    let leads: Vec<_> = (0..6)
        .map(|n| {
            format!(
                "unhex('{}')",
                pseudonymizer.pseudonym(&format!("Sales-lead-operator-{n}"))
            )
        })
        .collect();
    api.execute(&format!(
        "INSERT INTO raw_events (system, type, time, ordinal, score, zone, local_date, local_hour, identity) \
        SELECT system, 'feedback', time, ordinal, 5, zone, local_date, local_hour, identity + 1 \
        FROM raw_events WHERE type = 'login' AND ordinal NOT IN (SELECT ordinal FROM ordinals WHERE user IN ({}))",
        leads.join(", ")
    ))
    .await;
    let withheld = async |question: &str, list: &str| {
        let answer = api.ok(&format!("/systems/erp/{question}&by=unit")).await;
        let of_unit = |group: &Value| group["unit"].as_str().unwrap().to_owned();
        let groups = answer[list]
            .as_array()
            .unwrap_or_else(|| panic!("{question}: {answer}"));
        let hidden = groups.iter().filter(|group| group["suppressed"] == true);
        hidden.map(of_unit).collect::<BTreeSet<_>>()
    };
    let hidden = BTreeSet::from(["IT", "Tiny"].map(str::to_owned));
    for (question, list) in [
        ("adoption?from=2026-10-01&to=2026-10-29", "groups"),
        ("logins?from=2026-10-01&to=2026-10-29", "groups"),
        ("lifecycle?on=2026-10-28", "groups"),
        ("champions?month=2026-10", "groups"),
        ("heatmap/features?from=2026-10-01&to=2026-10-29", "cells"),
    ] {
        assert_eq!(withheld(question, list).await, hidden, "{question}");
    }
    let of_answers = withheld("satisfaction?from=2026-10-01&to=2026-10-29", "groups").await;
    assert!(of_answers.is_superset(&hidden), "{of_answers:?}");
}

#[tokio::test]
async fn what_cannot_be_asked_of_some_is_refused() {
    let api = company(false).await;
    for question in [
        format!("paths?after=orders.enter&{WINDOW}&unit=Sales"),
        format!("issues?{WINDOW}&unit=Sales"),
        format!("training?{WINDOW}&unit=Sales"),
        format!("completeness?{WINDOW}&unit=Sales"),
        format!("revisions?{WINDOW}&unit=Sales"),
        format!("rejects?{WINDOW}&unit=Sales"),
        "phases/pilot/gate?on=2026-10-28&unit=Sales".to_owned(),
        format!("adoption?{WINDOW}&unit=Nowhere"),
    ] {
        let (status, body) = api.get(&format!("/systems/erp/{question}")).await;
        assert_eq!(
            (status, &body["errors"][0]["place"]),
            (422, &json!("unit")),
            "{question}: {body}"
        );
    }
    let (_, body) = api.get(&format!("/systems/erp/adoption?{WINDOW}&unit=Nowhere")).await;
    assert_eq!(
        body["errors"][0]["expected"],
        r#"a unit of the roster: "IT", "Ops", "Sales", "Tiny""#
    );
}

#[tokio::test]
async fn a_token_of_some_units_is_told_of_these_only() {
    let api = company(true).await;
    let token = create_token(
        &api.fixture,
        "sales",
        &["--role", "analyst", "--unit", "Sales", "--unit", "Ops"],
    );
    let viewer = create_token(&api.fixture, "viewer", &["--role", "viewer", "--unit", "Sales"]);
    let get = async |question: &str, filter: &str, token: &str| {
        let request = api
            .http
            .get(format!("{}/api/v1/systems/erp/{question}{filter}", api.url));
        api.send(request.bearer_auth(token)).await
    };
    // Of the days until yesterday, which are never too old.
    let questions = QUESTIONS.map(|question| {
        let (name, parameters) = question.split_once('?').unwrap();
        let steps = parameters.split('&').find(|parameter| parameter.starts_with("steps="));
        format!("{name}?{}", steps.unwrap_or_default())
    });
    let lists = ["users?state=never", "champions/users?"].map(str::to_owned);
    for question in questions.iter().chain(&lists) {
        for (filter, status) in [
            ("&unit=Sales", 200),
            ("&unit=Sales&unit=Ops&role=clerk", 200),
            ("", 403),
            ("&by=unit", 403),
            ("&role=clerk", 403),
            ("&unit=IT", 403),
            ("&unit=Sales&unit=IT", 403),
            ("&unit=", 403),
        ] {
            let (given, body) = get(question, filter, &token).await;
            let is_list_of_few = given == 403 && body["code"] == "suppressed";
            assert!(
                given == status || (status == 200 && is_list_of_few),
                "{question}{filter}: {body}"
            );
        }
        let may = get(question, "&unit=Sales", &viewer).await.0;
        assert_eq!(may, if lists.contains(question) { 403 } else { 200 }, "{question}");
    }
    // Which units there are beside its own it is not told either.
    let stray = create_token(
        &api.fixture,
        "stray",
        &["--role", "viewer", "--unit", "Sales", "--unit", "Moon"],
    );
    let (status, body) = get("adoption?by=unit", "&unit=Moon", &stray).await;
    let expected = "a unit of the roster: \"Sales\"";
    assert_eq!(
        (status, &body["errors"][0]["expected"]),
        (422, &json!(expected)),
        "{body}"
    );
    let (_, answer) = get("adoption?by=unit", "&unit=Sales", &token).await;
    assert_eq!(answer["filter"], json!({"unit": ["Sales"]}));
    assert_eq!(answer["groups"].as_array().unwrap().len(), 1, "{answer}");
}
