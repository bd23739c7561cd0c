//! The API over HTTP: what it answers, and what bad input of every kind gets.

use std::sync::Arc;

use reqwest::Method;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use uptake::api;
use uptake::config::Config;
use uptake::metrics::Metrics;
use uptake::ops::{self, Health};
use uptake::store::migrate;

use crate::harness::Fixture;

/// The API on a port of its own, with an empty database.
pub struct Api {
    pub fixture: Fixture,
    pub url: String,
    ops_url: String,
    pub http: reqwest::Client,
    shutdown: CancellationToken,
    _stop: DropGuard,
}

/// `value` as it comes out of an answer: to read a number may change its last digit.
pub fn as_read(value: Value) -> Value {
    serde_json::from_str(&value.to_string()).expect("what was just written")
}

impl Api {
    pub async fn start(adapt: impl FnOnce(&mut Config)) -> Self {
        let mut fixture = Fixture::bare().await;
        adapt(&mut fixture.config);
        migrate::migrate(&fixture.store, &fixture.config)
            .await
            .expect("migrations");
        Self::serve(fixture).await
    }

    pub async fn serve(fixture: Fixture) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ops_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let ops_url = format!("http://{}", ops_listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let metrics = Arc::new(Metrics::default());
        let health = Health::default()
            .with_clickhouse(&fixture.store)
            .with_kafka(&fixture.config.kafka.brokers);
        tokio::spawn(ops::serve(ops_listener, health, metrics.clone(), shutdown.clone()));
        tokio::spawn(api::serve(fixture.config.clone(), listener, metrics, shutdown.clone()));
        Self {
            fixture,
            url,
            ops_url,
            http: reqwest::Client::new(),
            _stop: shutdown.clone().drop_guard(),
            shutdown,
        }
    }

    pub async fn execute(&self, sql: &str) {
        self.fixture.store.client().query_raw(sql).execute().await.expect(sql);
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let response = request.send().await.expect("an answer");
        let status = response.status();
        let kind = response
            .headers()
            .get(CONTENT_TYPE)
            .map(|kind| kind.to_str().unwrap().to_owned());
        let text = response.text().await.unwrap();
        let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status} without JSON: {text}"));
        if !status.is_success() {
            assert_eq!(kind.as_deref(), Some("application/problem+json"), "{body}");
            assert_eq!(body["status"], status.as_u16());
        }
        (status.as_u16(), body)
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.send(self.http.get(format!("{}/api/v1{path}", self.url))).await
    }

    /// The body of an answer that must be a success.
    pub async fn ok(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub fn post(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.post(format!("{}/api/v1{path}", self.url))
    }

    pub async fn put(&self, path: &str, kind: &str, body: &str) -> (u16, Value) {
        let request = self.http.put(format!("{}/api/v1{path}", self.url));
        self.send(request.header(CONTENT_TYPE, kind).body(body.to_owned()))
            .await
    }

    pub async fn ops(&self, path: &str) -> (u16, String) {
        let response = self.http.get(format!("{}{path}", self.ops_url)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }
}

pub const DEFINITION: &str = "\
system: erp
name: ERP
timezone: Europe/Berlin
calendar: {weekdays: [mon, tue, wed, thu, fri]}
";

async fn defined() -> Api {
    let api = Api::start(|_| {}).await;
    let (status, body) = api.put("/systems/erp", "application/yaml", DEFINITION).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["changed"], true);
    api
}

#[tokio::test]
async fn a_bad_parameter_is_named_with_its_value_and_what_was_expected() {
    let api = defined().await;
    let cases = [
        ("adoption?by=department", 422, "by", "department"),
        ("adoption?measure=clicks", 422, "measure", "clicks"),
        ("adoption?grain=hour", 422, "grain", "hour"),
        ("adoption?window=year", 422, "window", "year"),
        ("adoption?from=2026-02-30&to=2026-03-01", 422, "from", "2026-02-30"),
        ("adoption?from=1.10.2026&to=2026-11-01", 422, "from", "1.10.2026"),
        (
            "adoption?from=2026-10-01T00:00&to=2026-11-01",
            422,
            "from",
            "2026-10-01T00:00",
        ),
        ("adoption?from=0001-01-01&to=2026-11-01", 422, "from", "0001-01-01"),
        ("adoption?from=2026-10-01", 422, "from", "2026-10-01"),
        ("adoption?to=2026-10-01", 422, "to", "2026-10-01"),
        (
            "adoption?from=2026-10-01&to=2026-11-01&window=month",
            422,
            "window",
            "month",
        ),
        (
            "adoption?from=2026-10-01&to=2026-11-01&on=2026-10-05",
            422,
            "on",
            "2026-10-05",
        ),
        ("adoption?unit=Sales", 422, "unit", "Sales"),
        ("adoption?by=unit&by=role", 422, "by", "role"),
        ("heatmap/features?by=tier", 422, "by", "tier"),
        ("features?by=unit", 422, "by", "unit"),
        ("adoption?from=2026-10-01&to=2026-10-01", 422, "to", "2026-10-01"),
        ("logins?from=2026-10-02&to=2026-10-01", 422, "to", "2026-10-01"),
        ("logins?from=2025-09-01&to=2026-10-02", 422, "from", "2025-09-01"),
        ("heatmap/hours?from=2023-09-30&to=2026-10-01", 422, "from", "2023-09-30"),
    ];
    for (question, status, place, value) in cases {
        let (given, body) = api.get(&format!("/systems/erp/{question}")).await;
        assert_eq!(given, status, "{question}: {body}");
        assert_eq!(body["errors"][0]["place"], place, "{question}");
        assert_eq!(body["errors"][0]["value"], value, "{question}");
        assert!(
            body["errors"][0]["expected"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
    }
    // Exactly as long as what is kept.
    api.ok("/systems/erp/logins?from=2025-09-01&to=2026-10-01").await;
    api.ok("/systems/erp/heatmap/hours?from=2023-10-01&to=2026-10-01").await;
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_too() {
    let api = defined().await;
    for (path, code) in [
        ("/systems/crm/adoption", "unknown_system"),
        ("/systems/ERP/adoption", "unknown_system"),
        ("/systems/e'rp/adoption", "unknown_system"),
        ("/systems/crm", "unknown_system"),
        ("/systems/erp/nothing", "unknown_path"),
        ("/nothing", "unknown_path"),
    ] {
        let (status, body) = api.get(path).await;
        assert_eq!((status, &body["code"]), (404, &json!(code)), "{path}");
    }
    let post = api
        .http
        .request(Method::POST, format!("{}/api/v1/systems/erp/adoption", api.url));
    let (status, body) = api.send(post).await;
    assert_eq!((status, &body["code"]), (405, &json!("wrong_method")));
}

#[tokio::test]
async fn a_system_without_definition_is_answered_in_utc() {
    let api = Api::start(|_| {}).await;
    api.execute(
        "INSERT INTO raw_events (system, type, time, ordinal, feature, zone, local_date, local_hour, identity) \
         VALUES ('crm', 'feature_click', '2026-10-05 10:00:00', 1, 'a.b', '', '2026-10-05', 10, 7)",
    )
    .await;
    let answer = api.ok("/systems/crm/adoption?window=week&on=2026-10-07&by=unit").await;
    assert_eq!(
        answer["window"],
        json!({"from": "2026-10-05", "to": "2026-10-12", "timezone": "UTC"})
    );
    assert_eq!(
        answer["total"],
        json!({"entitled": 0, "active": 0, "rate": null, "unentitled_active": 1, "suppressed": false})
    );
    let features = api.ok("/systems/crm/features?window=month&on=2026-10-07").await;
    assert_eq!(features["features"][0]["clicks"], 1);
    assert_eq!(features["features"][0]["breadth"], Value::Null);
}

#[tokio::test]
async fn a_bad_document_is_refused_whole_with_every_error() {
    let api = defined().await;
    let bad = "system: erp\nname: ERP\ntimezone: Mars/Olympus\ncalendar: {weekdays: [someday]}\n";
    let (status, body) = api.put("/systems/erp", "application/yaml", bad).await;
    assert_eq!((status, &body["code"]), (422, &json!("invalid_document")));
    assert_eq!(body["errors"].as_array().unwrap().len(), 2, "{body}");
    let (status, body) = api.put("/systems/crm", "application/yaml", DEFINITION).await;
    assert_eq!((status, &body["errors"][0]["place"]), (422, &json!("system")));
    let roster = "user_id,kind,unit,role,tier,site,phase,entitled_from,entitled_to\na,robot,,,,,,2026-01-01,\nb,person,,,,,,tomorrow,\n";
    let (status, body) = api.put("/systems/erp/roster", "text/csv", roster).await;
    assert_eq!(status, 422);
    assert_eq!(body["errors"].as_array().unwrap().len(), 2, "{body}");
    let (status, _) = api.put("/systems/erp", "image/png", DEFINITION).await;
    assert_eq!(status, 415);
    let (status, _) = api.put("/systems/E RP", "application/yaml", DEFINITION).await;
    assert_eq!(status, 422);
    let request = api.http.put(format!("{}/api/v1/systems/erp", api.url));
    let not_text = request.header(CONTENT_TYPE, "application/json").body(vec![0xff, 0xfe]);
    assert_eq!(api.send(not_text).await.0, 400);
    // Nothing of it was applied.
    let system = api.ok("/systems/erp").await;
    assert_eq!(system["timezone"], "Europe/Berlin");
    assert_eq!(system["definition"]["name"], "ERP");
    let (status, again) = api.put("/systems/erp", "application/yaml", DEFINITION).await;
    assert_eq!((status, &again["changed"]), (200, &json!(false)));
    assert_eq!(api.ok("/systems").await["systems"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let api = Api::start(|config| config.api.max_body_bytes = 1000).await;
    let (status, body) = api.put("/systems/erp", "application/yaml", &"#".repeat(1001)).await;
    assert_eq!((status, &body["code"]), (413, &json!("body_too_large")));
}

#[tokio::test]
async fn without_clickhouse_there_is_no_answer_and_no_readiness() {
    let mut fixture = Fixture::bare().await;
    // Port 9 is nobody's.
    fixture.config.clickhouse.url = "http://127.0.0.1:9".to_owned();
    fixture.store = uptake::store::Store::new(&fixture.config.clickhouse);
    let api = Api::serve(fixture).await;
    let (status, body) = api.get("/systems/erp/adoption").await;
    assert_eq!((status, &body["code"]), (503, &json!("storage_unavailable")));
    assert!(!body.to_string().contains("127.0.0.1"), "internals in {body}");
    let (status, body) = api.get("/systems").await;
    assert_eq!((status, &body["code"]), (503, &json!("storage_unavailable")));
    let (status, reasons) = api.ops("/readyz").await;
    assert_eq!(status, 503);
    assert!(reasons.starts_with("clickhouse: "), "{reasons}");
    assert_eq!(api.ops("/livez").await.0, 200);
}

#[tokio::test]
async fn operations_see_health_and_metrics_by_route() {
    let api = defined().await;
    assert_eq!(api.ops("/readyz").await, (200, "ready\n".to_owned()));
    api.ok("/systems/erp/adoption").await;
    let (_, metrics) = api.ops("/metrics").await;
    let line = r#"uptake_api_requests_total{route="/api/v1/systems/{system}/adoption",status="200"} 1"#;
    assert!(metrics.contains(line), "{metrics}");
    api.shutdown.cancel();
}

#[tokio::test]
async fn answers_are_compressed_for_who_accepts_it() {
    let api = defined().await;
    let url = format!("{}/api/v1/systems/erp/heatmap/hours", api.url);
    let response = api
        .http
        .get(url)
        .header("Accept-Encoding", "gzip")
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
}

#[tokio::test]
async fn the_documentation_needs_no_other_host() {
    let api = Api::start(|_| {}).await;
    let page = api.http.get(format!("{}/docs/", api.url)).send().await.unwrap();
    assert_eq!(page.status(), 200);
    let text = page.text().await.unwrap();
    assert!(!text.contains("https://") && !text.contains("src=\"//"), "{text}");
    let description = api.send(api.http.get(format!("{}/openapi.json", api.url))).await.1;
    assert_eq!(description["openapi"], "3.1.0");
}

/// `UPTAKE_WRITE_OPENAPI=1` writes the file anew.
#[test]
fn the_checked_in_description_is_that_of_the_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/openapi.json");
    let described = api::description().unwrap();
    if std::env::var_os("UPTAKE_WRITE_OPENAPI").is_some() {
        std::fs::write(path, &described).unwrap();
    }
    let checked_in = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        described == checked_in,
        "schemas/openapi.json is out of date: run the tests with UPTAKE_WRITE_OPENAPI=1 and commit it"
    );
}
