//! Who is let in: tokens made, listed and revoked by the program, roles, restrictions, limits.

use std::process::{Output, Stdio};

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use serde_json::json;
use uptake::config::Config;
use uptake::store::migrate;

use crate::api::{Api, DEFINITION};
use crate::collector::{BATCH, SINGLE, click, start};
use crate::common::proxy::{Inserts, Proxy};
use crate::harness::{Fixture, eventually};

pub fn run(fixture: &Fixture, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut program = fixture.program();
    let output = program.args(arguments).stdin(Stdio::null()).output();
    let Output { status, stdout, stderr } = output.expect("the program");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// A new token, as the program prints it.
pub fn create_token(fixture: &Fixture, name: &str, arguments: &[&str]) -> String {
    let (code, token, told) = run(fixture, &[&["token", "create", "--name", name], arguments].concat());
    assert_eq!(code, Some(0), "{told}");
    assert!(!told.contains(token.trim()), "{told}");
    token.trim().to_owned()
}

/// An API that asks for tokens, with the system `erp` defined.
async fn guarded(adapt: impl FnOnce(&mut Config)) -> (Api, String) {
    let api = Api::start(|config| {
        config.api.authentication = true;
        adapt(config);
    })
    .await;
    let admin = create_token(&api.fixture, "admin", &["--role", "admin"]);
    assert_eq!(define(&api, "erp", &admin).await, 200);
    (api, admin)
}

async fn define(api: &Api, system: &str, token: &str) -> u16 {
    let request = api
        .http
        .put(format!("{}/api/v1/systems/{system}", api.url))
        .bearer_auth(token);
    let definition = DEFINITION.replace("system: erp", &format!("system: {system}"));
    api.send(request.header(CONTENT_TYPE, "application/yaml").body(definition))
        .await
        .0
}

async fn get(api: &Api, path: &str, token: &str) -> (u16, serde_json::Value) {
    api.send(api.http.get(format!("{}/api/v1{path}", api.url)).bearer_auth(token))
        .await
}

#[tokio::test]
async fn without_a_known_token_nothing_is_told() {
    let (api, admin) = guarded(|_| {}).await;
    let systems = format!("{}/api/v1/systems", api.url);
    let refused = api.http.get(&systems).send().await.unwrap();
    assert_eq!(refused.status(), 401);
    assert!(refused.headers().contains_key(WWW_AUTHENTICATE));
    let other = format!(
        "{}{}",
        &admin[..admin.len() - 1],
        if admin.ends_with('0') { '1' } else { '0' }
    );
    for (header, status) in [
        (format!("Bearer {admin}"), 200),
        (format!("bearer  {admin}"), 200),
        (format!("Bearer {other}"), 401),
        ("Bearer ".to_owned(), 401),
        ("Bearer eyJhbGciOiJub25lIn0.e30.".to_owned(), 401),
        (format!("Basic {admin}"), 401),
        (admin.clone(), 401),
    ] {
        for path in [
            "",
            "/erp/adoption",
            "/unknown/adoption",
            "/ERP",
            "/erp/adoption?by=nonsense",
        ] {
            let request = api
                .http
                .get(format!("{systems}{path}"))
                .header("Authorization", &header);
            let given = api.send(request).await.0;
            assert!(
                given == status || (status == 200 && given != 401),
                "{header} {path}: {given}"
            );
        }
    }
}

#[tokio::test]
async fn a_role_may_do_what_it_is_for() {
    let (api, _) = guarded(|_| {}).await;
    for (role, read, change) in [
        ("viewer", 200, 403),
        ("analyst", 200, 403),
        ("privacy", 200, 403),
        ("producer", 403, 403),
        ("producer,viewer", 200, 403),
        ("admin", 200, 200),
    ] {
        let token = create_token(&api.fixture, &format!("of {role}"), &["--role", role]);
        assert_eq!(get(&api, "/systems", &token).await.0, read, "{role}");
        assert_eq!(get(&api, "/systems/erp/adoption", &token).await.0, read, "{role}");
        assert_eq!(define(&api, "crm", &token).await, change, "{role}");
    }
}

#[tokio::test]
async fn a_token_is_stored_as_its_hash_and_named_once() {
    let fixture = Fixture::new().await;
    let token = create_token(&fixture, "grafana", &["--role", "viewer", "--expires", "2149-01-01"]);
    let secret = token.trim_start_matches("uptake_");
    assert!(token.starts_with("uptake_") && secret.len() == 64, "{token}");
    let stored = format!("SELECT count() FROM tokens WHERE sha256 = unhex(lower(hex(SHA256('{token}'))))");
    assert_eq!(fixture.number(&stored).await, 1);
    let clear = format!("SELECT count() FROM tokens WHERE position(toString(tuple(*)), '{secret}') > 0");
    assert_eq!(fixture.number(&clear).await, 0);

    let (code, _, told) = run(&fixture, &["token", "create", "--name", "grafana", "--role", "admin"]);
    assert!(code == Some(2) && told.contains("--name grafana"), "{told}");
    let (code, list, _) = run(&fixture, &["token", "list"]);
    assert!(code == Some(0) && !list.contains(secret), "{list}");
    let line: Vec<_> = list.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(
        (&line[..4], line[5]),
        (&["grafana", "viewer", "all", "all"][..], "2149-01-01T00:00:00Z")
    );
    assert!(list.trim_end().ends_with("in force"), "{list}");

    assert_eq!(run(&fixture, &["token", "revoke", "grafana"]).0, Some(0));
    let (code, _, told) = run(&fixture, &["token", "revoke", "grafana"]);
    assert!(code == Some(2) && told.contains("grafana"), "{told}");
    assert!(run(&fixture, &["token", "list"]).1.trim_end().ends_with("revoked"));
    // The name is free again.
    create_token(&fixture, "grafana", &["--role", "viewer"]);
    for wrong in [
        ["--role", "boss", "--expires", "1d"],
        ["--role", "viewer", "--expires", "yesterday"],
        ["--role", "viewer", "--system", "E RP"],
        ["--role", "viewer", "--unit", "a\nb"],
    ] {
        let (code, _, told) = run(&fixture, &[&["token", "create", "--name", "x"], &wrong[..]].concat());
        assert_eq!(code, Some(2), "{told}");
    }
}

#[tokio::test]
async fn a_token_that_is_revoked_or_over_is_soon_unknown() {
    let (api, admin) = guarded(|_| {}).await;
    let revoked = create_token(&api.fixture, "to revoke", &["--role", "viewer"]);
    let brief = create_token(&api.fixture, "brief", &["--role", "viewer", "--expires", "3s"]);
    // Made after the others were read.
    eventually("a new token is known", async || {
        get(&api, "/systems", &revoked).await.0 == 200
    })
    .await;
    assert_eq!(run(&api.fixture, &["token", "revoke", "to revoke"]).0, Some(0));
    eventually("it is let in no longer", async || {
        get(&api, "/systems", &revoked).await.0 == 401
    })
    .await;
    eventually("it is over", async || get(&api, "/systems", &brief).await.0 == 401).await;
    assert_eq!(get(&api, "/systems", &admin).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_some_systems_learns_nothing_of_others() {
    let api = start(|config| config.api.authentication = true).await;
    let admin = create_token(&api.fixture, "admin", &["--role", "admin"]);
    assert_eq!(
        (define(&api, "erp", &admin).await, define(&api, "crm", &admin).await),
        (200, 200)
    );
    let arguments = ["--role", "admin", "--system", "erp", "--system", "hr"];
    let token = create_token(&api.fixture, "erp", &arguments);
    let listed = get(&api, "/systems", &token).await.1;
    let names: Vec<_> = listed["systems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|system| &system["system"])
        .collect();
    assert_eq!(names, ["erp"]);
    assert_eq!(get(&api, "/systems/erp/adoption", &token).await.0, 200);
    let (_, there) = get(&api, "/systems/crm/adoption", &token).await;
    let (_, not_there) = get(&api, "/systems/xyz/adoption", &token).await;
    assert_eq!(there["code"], "forbidden");
    assert_eq!(there.to_string().replace("crm", "xyz"), not_there.to_string());
    assert_eq!(
        (define(&api, "crm", &token).await, define(&api, "hr", &token).await),
        (403, 200)
    );

    let send = async |kind: &str, body: String| {
        let request = api.post("/events").header(CONTENT_TYPE, kind).bearer_auth(&token);
        api.send(request.body(body)).await.0
    };
    assert_eq!(send(SINGLE, click("1").to_string()).await, 202);
    let of_crm = click("2").to_string().replace("erp", "crm");
    assert_eq!(send(BATCH, format!("[{}, {of_crm}]", click("3"))).await, 403);
}

#[tokio::test]
async fn a_token_of_some_units_asks_about_these_or_nothing() {
    let (api, _) = guarded(|_| {}).await;
    let token = create_token(
        &api.fixture,
        "sales",
        &["--role", "viewer", "--unit", "Sales", "--unit", "采购部"],
    );
    for number in [
        "adoption",
        "logins",
        "features",
        "heatmap/hours",
        "heatmap/features",
        "rejects",
    ] {
        for filter in [
            "",
            "?by=unit",
            "?unit=",
            "?unit=Legal",
            "?unit=sales",
            "?Unit=Sales",
            "?unit=%FF",
        ] {
            let (status, body) = get(&api, &format!("/systems/erp/{number}{filter}"), &token).await;
            assert_eq!((status, &body["code"]), (403, &json!("forbidden")), "{number}{filter}");
        }
        for filter in ["unit=Sales", "unit=%E9%87%87%E8%B4%AD%E9%83%A8"] {
            let (status, body) = get(&api, &format!("/systems/erp/{number}?{filter}"), &token).await;
            assert_ne!(status, 403, "{number}?{filter}: {body}");
        }
    }
    let admin = create_token(&api.fixture, "sales admin", &["--role", "admin", "--unit", "Sales"]);
    assert_eq!(define(&api, "erp", &admin).await, 403);
    // What tells nothing of persons is for everybody.
    assert_eq!(get(&api, "/systems/erp", &token).await.0, 200);
}

#[tokio::test]
async fn a_caller_that_asks_too_much_is_told_when_to_come_again() {
    let (api, _) = guarded(|config| {
        let limits = &mut config.api.limits;
        // Too slow to recover while the test runs.
        (limits.questions_per_second, limits.questions_burst) = (1, 40);
        (limits.refusals_per_second, limits.refusals_burst) = (1, 40);
    })
    .await;
    let (one, two) = (
        create_token(&api.fixture, "one", &["--role", "viewer"]),
        create_token(&api.fixture, "two", &["--role", "viewer"]),
    );
    let systems = format!("{}/api/v1/systems", api.url);
    eventually("one has asked too much", async || {
        let response = api.http.get(&systems).bearer_auth(&one).send().await.unwrap();
        let again = response
            .headers()
            .get(RETRY_AFTER)
            .map(|value| value.to_str().unwrap().parse::<u64>().unwrap());
        response.status() == 429 && again.is_some_and(|seconds| seconds >= 1)
    })
    .await;
    assert_eq!(get(&api, "/systems", &two).await.0, 200);
    eventually("nobody has asked too much", async || {
        let (status, body) = get(&api, "/systems", "nobody").await;
        assert!(status == 401 || body["code"] == "too_many_requests", "{body}");
        status == 429
    })
    .await;
    assert_eq!(get(&api, "/systems", &two).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_taken_while_clickhouse_is_away() {
    let mut fixture = Fixture::bare().await;
    migrate::run(fixture.config.clone()).await.unwrap();
    let token = create_token(&fixture, "erp", &["--role", "producer"]);
    let proxy = Proxy::to(&fixture.config.clickhouse.url, Inserts::Unreachable).await;
    fixture.config.clickhouse.url = proxy.url.clone();
    fixture.config.api.authentication = true;
    let api = Api::serve(fixture).await;
    let send = async |token: &str| {
        let request = api.post("/events").header(CONTENT_TYPE, SINGLE).bearer_auth(token);
        api.send(request.body(click("1").to_string())).await.0
    };
    // Nothing was read yet, so nothing is known of any token.
    assert_eq!(send(&token).await, 503);
    proxy.set(Inserts::Pass);
    eventually("the tokens are read", async || send(&token).await == 202).await;
    proxy.set(Inserts::Unreachable);
    for _ in 0..3 {
        assert_eq!(send(&token).await, 202);
        // It may have been made meanwhile.
        assert_eq!(send("uptake_unknown").await, 503);
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_in_no_log() {
    let (api, admin) = guarded(|_| {}).await;
    let mut program = api.fixture.program();
    program
        .env("UPTAKE__API__AUTHENTICATION", "true")
        .env("UPTAKE_LOG", "trace")
        .arg("api");
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut child = program.stderr(log.reopen().unwrap()).spawn().unwrap();
    let told = || std::fs::read_to_string(log.path()).unwrap();
    let address = |told: &str| Some(told.split_once("listens on http://")?.1.split_once(',')?.0.to_owned());
    eventually("it listens", async || address(&told()).is_some()).await;
    let systems = format!("http://{}/api/v1/systems", address(&told()).unwrap());
    for (token, status) in [(admin.as_str(), 200), ("uptake_0123456789abcdef", 401)] {
        let response = api.http.get(&systems).bearer_auth(token).send().await.unwrap();
        assert_eq!(response.status(), status);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let told = told();
    assert!(
        told.contains("let in") && !told.contains(&admin[7..]) && !told.contains("0123456789abcdef"),
        "{told}"
    );
}
