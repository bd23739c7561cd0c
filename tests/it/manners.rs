//! How the API behaves over HTTP, whatever is asked: formats, tags, methods, headers, deadlines, and clients that go away.

use std::collections::BTreeMap;

use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_TYPE, ETAG, HOST, IF_NONE_MATCH};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use uptake::api;
use uptake::config::Config;

use crate::api::Api;
use crate::harness::eventually;

const GUIDE: &str = include_str!("../../docs/api.md");
const DEFINITION: &str = include_str!("../../docs/example/crm.yaml");
const ROSTER: &str = include_str!("../../docs/example/crm-roster.csv");

/// An API with the system `crm` of the documentation.
async fn with_crm(adapt: impl FnOnce(&mut Config)) -> Api {
    let api = Api::start(adapt).await;
    for (path, kind, body) in [("", "application/yaml", DEFINITION), ("/roster", "text/csv", ROSTER)] {
        let (status, answer) = api.put(&format!("/systems/crm{path}"), kind, body).await;
        assert_eq!(status, 200, "{answer}");
    }
    api
}

async fn get(api: &Api, path: &str, headers: &[(reqwest::header::HeaderName, &str)]) -> Response {
    let request = api.http.get(format!("{}{path}", api.url));
    let request = headers
        .iter()
        .fold(request, |request, (name, value)| request.header(name, *value));
    request.send().await.unwrap()
}

fn header(response: &Response, name: impl reqwest::header::AsHeaderName) -> String {
    response
        .headers()
        .get(name)
        .map_or(String::new(), |value| value.to_str().unwrap().to_owned())
}

/// The rows of the guide's table whose cells are code, the first two of each.
fn rows_of_the_guide() -> impl Iterator<Item = (&'static str, &'static str)> {
    GUIDE.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        Some((
            cells.next()?.trim_end_matches('`'),
            cells.next()?.trim_end_matches(" |").trim_matches('`'),
        ))
    })
}

#[tokio::test]
async fn every_table_is_told_as_csv_with_the_columns_that_the_guide_lists() {
    let api = with_crm(|_| {}).await;
    let tables: Vec<_> = rows_of_the_guide()
        .filter(|(path, _)| path.starts_with("/api"))
        .collect();
    let description: Value = serde_json::from_str(&api::description().unwrap()).unwrap();
    let described = description["paths"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, item)| item["get"]["responses"]["200"]["content"].get("text/csv").is_some());
    let described: Vec<_> = described.map(|(path, _)| path.as_str()).collect();
    let without_question = |path: &'static str| path.split_once('?').map_or(path, |(path, _)| path);
    let mut listed: Vec<_> = tables.iter().map(|(path, _)| without_question(path)).collect();
    listed.sort_unstable();
    assert_eq!(listed, described);
    for (path, columns) in tables {
        let path = path
            .replace("{system}", "crm")
            .replace("steps=…", "steps=contact.call.log,contact.merge")
            .replace("after=…", "after=contact.merge");
        let answer = get(&api, &path, &[(ACCEPT, "text/csv")]).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert!(header(&answer, CONTENT_TYPE).starts_with("text/csv"), "{path}");
        let text = answer.text().await.unwrap();
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        assert_eq!(
            reader.headers().unwrap().iter().collect::<Vec<_>>().join(","),
            columns,
            "{path}"
        );
        for row in reader.records() {
            row.unwrap();
        }
    }
}

#[tokio::test]
async fn csv_says_what_json_says() {
    let api = with_crm(|_| {}).await;
    let question = "/api/v1/systems/crm/adoption?by=unit&grain=week&from=2026-10-05&to=2026-10-19";
    let answer: Value = get(&api, question, &[]).await.json().await.unwrap();
    let mut expected = Vec::new();
    for period in answer["periods"].as_array().unwrap() {
        let parts = period["groups"]
            .as_array()
            .unwrap()
            .iter()
            .map(|group| (group, "false"));
        for (part, is_total) in parts.chain([(&period["total"], "true")]) {
            let mut row = BTreeMap::from([("is_total", is_total.to_owned())]);
            let values = [
                ("from", &period["from"]),
                ("to", &period["to"]),
                ("group", &part["unit"]),
            ];
            let numbers =
                ["entitled", "active", "rate", "unentitled_active", "suppressed"].map(|name| (name, &part[name]));
            for (name, value) in values.into_iter().chain(numbers) {
                row.insert(
                    name,
                    value
                        .as_str()
                        .map_or_else(|| value.to_string().replace("null", ""), str::to_owned),
                );
            }
            expected.push(row);
        }
    }
    assert!(expected.len() >= 4, "{answer}");
    let text = get(&api, question, &[(ACCEPT, "text/csv")]).await.text().await.unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names = reader.headers().unwrap().clone();
    let rows = reader.records().map(|row| row.unwrap());
    let rows: Vec<BTreeMap<_, _>> = rows
        .map(|row| names.iter().zip(row.iter().map(str::to_owned)).collect())
        .collect();
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn what_cannot_be_told_is_refused() {
    let api = with_crm(|_| {}).await;
    for (path, accept, status) in [
        ("/systems/crm/adoption", "text/html", 406),
        ("/systems/crm/adoption", "application/json;q=0", 406),
        ("/systems/unknown/adoption", "image/png", 406),
        ("/systems/crm", "text/csv", 406),
        ("/systems/crm", "text/csv, application/json;q=0.1", 200),
        ("/systems/crm/adoption", "text/html, */*;q=0.1", 200),
    ] {
        let request = api.http.get(format!("{}/api/v1{path}", api.url)).header(ACCEPT, accept);
        let (given, body) = api.send(request).await;
        assert_eq!(given, status, "{path} {accept}: {body}");
        assert_eq!(
            status == 406,
            body["code"] == "not_acceptable",
            "{path} {accept}: {body}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_the_client_has_is_not_sent_again() {
    let api = with_crm(|_| {}).await;
    let progress = |time: &str| {
        format!(
            "INSERT INTO ingest_progress (kafka_topic, kafka_partition, complete_through, end_offset, committed_offset, updated_at) \
             VALUES ('t', 0, '{time}', 1, 1, now64(3))"
        )
    };
    api.execute(&progress("2026-11-23 08:00:00")).await;
    let past = "/api/v1/systems/crm/adoption?by=unit&from=2026-10-01&to=2026-11-01";
    let first = get(&api, past, &[]).await;
    assert_eq!(header(&first, CACHE_CONTROL), "private, no-cache");
    let tag = header(&first, ETAG);
    assert!(tag.starts_with('"') && tag.len() > 20, "{tag}");
    // The clock of the workers goes on; what they say about the past stays.
    api.execute(&progress("2026-11-23 09:00:00")).await;
    for known in [
        tag.clone(),
        format!("W/{tag}"),
        format!("\"other\", {tag}"),
        "*".to_owned(),
    ] {
        let again = get(&api, past, &[(IF_NONE_MATCH, &known)]).await;
        assert_eq!(
            (again.status(), header(&again, ETAG)),
            (StatusCode::NOT_MODIFIED, tag.clone()),
            "{known}"
        );
        assert!(again.bytes().await.unwrap().is_empty());
    }
    assert_eq!(get(&api, past, &[(IF_NONE_MATCH, "\"other\"")]).await.status(), 200);
    let csv = get(&api, past, &[(IF_NONE_MATCH, &tag), (ACCEPT, "text/csv")]).await;
    assert_eq!(csv.status(), 200);
    assert_ne!(header(&csv, ETAG), tag);
    // Not the same bytes.
    let compressed = get(&api, past, &[(ACCEPT_ENCODING, "gzip")]).await;
    assert_eq!(header(&compressed, ETAG), format!("W/{tag}"));

    let (status, _) = api
        .put(
            "/systems/crm/roster",
            "text/csv",
            &ROSTER.lines().take(12).collect::<Vec<_>>().join("\n"),
        )
        .await;
    assert_eq!(status, 200);
    let changed = get(&api, past, &[(IF_NONE_MATCH, &tag)]).await;
    assert_eq!(changed.status(), 200);
    assert_ne!(header(&changed, ETAG), tag);
}

#[tokio::test]
async fn every_method_is_answered() {
    let api = with_crm(|_| {}).await;
    for (path, allowed) in [
        ("/api/v1/systems", "GET,HEAD"),
        ("/api/v1/systems/crm", "GET,HEAD,PUT"),
        ("/api/v1/systems/crm/roster", "PUT"),
        ("/api/v1/systems/crm/adoption", "GET,HEAD"),
        ("/api/v1/events", "POST"),
        ("/api/v1/audit", "GET,HEAD"),
    ] {
        let ask = async |method: Method| {
            api.http
                .request(method, format!("{}{path}", api.url))
                .send()
                .await
                .unwrap()
        };
        for (method, status) in [
            (Method::OPTIONS, 204),
            (Method::DELETE, 405),
            (Method::PATCH, 405),
            (Method::TRACE, 405),
        ] {
            let answer = ask(method.clone()).await;
            let mut given: Vec<_> = header(&answer, "allow").split(',').map(str::to_owned).collect();
            given.sort_unstable();
            assert_eq!(
                (answer.status().as_u16(), given.join(",").as_str()),
                (status, allowed),
                "{method} {path}"
            );
        }
        if allowed.contains("HEAD") {
            let (head, get) = (ask(Method::HEAD).await, ask(Method::GET).await);
            assert_eq!((head.status(), header(&head, ETAG)), (get.status(), header(&get, ETAG)));
            assert!(head.bytes().await.unwrap().is_empty());
        }
    }
    for path in [
        "/",
        "/api",
        "/api/v1",
        "/api/v1/systems/",
        "/api/v1/systems/%FF/adoption",
        "/api/v1/systems/%00",
        "/api/v1//systems",
    ] {
        let answer = get(&api, path, &[]).await;
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(header(&answer, CONTENT_TYPE), "application/problem+json", "{path}");
    }
}

#[tokio::test]
async fn every_answer_protects_the_browser_that_shows_it() {
    let api = with_crm(|_| {}).await;
    for path in [
        "/api/v1/systems",
        "/api/v1/systems/unknown",
        "/nothing",
        "/openapi.json",
        "/docs/",
    ] {
        let answer = get(&api, path, &[]).await;
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff", "{path}");
        let policy = header(&answer, "content-security-policy");
        assert!(
            policy.contains("frame-ancestors 'none'") && !policy.contains("script-src") && !policy.contains('*'),
            "{path}"
        );
        assert!(!header(&answer, CACHE_CONTROL).is_empty(), "{path}");
        assert!(header(&answer, "access-control-allow-origin").is_empty(), "{path}");
    }
    assert_eq!(
        header(&get(&api, "/api/v1/systems/unknown", &[]).await, CACHE_CONTROL),
        "no-store"
    );
}

#[tokio::test]
async fn a_site_that_points_its_name_at_this_machine_learns_nothing() {
    let api = with_crm(|_| {}).await;
    let port = api.url.rsplit(':').next().unwrap();
    for (host, status) in [
        ("evil.example.org".to_owned(), 403),
        (format!("evil.example.org:{port}"), 403),
        (format!("localhost.example.org:{port}"), 403),
        (format!("localhost:{port}"), 200),
        (format!("127.0.0.1:{port}"), 200),
        (format!("[::1]:{port}"), 200),
    ] {
        assert_eq!(
            get(&api, "/api/v1/systems", &[(HOST, &host)]).await.status(),
            status,
            "{host}"
        );
    }
}

/// Makes `/systems/crm/rejects` a question that takes hours.
async fn slow(api: &Api) {
    api.execute("DROP TABLE rejects").await;
    api.execute(
        "CREATE VIEW rejects AS SELECT 't' AS kafka_topic, toUInt16(0) AS kafka_partition, number % 2 AS kafka_offset, \
         toDateTime64('2026-10-05 10:00:00', 3, 'UTC') AS kafka_time, 'crm' AS system, toString(sipHash64(number) = 1) AS reason \
         FROM numbers(1000000000000)",
    )
    .await;
}

async fn running(api: &Api) -> u64 {
    let sql = "SELECT count() FROM system.processes WHERE current_database = currentDatabase() \
        AND startsWith(Settings['log_comment'], 'uptake-question')";
    api.fixture.number(sql).await
}

const SLOW: &str = "/api/v1/systems/crm/rejects?from=2026-10-01&to=2026-11-01";

#[tokio::test(flavor = "multi_thread")]
async fn a_question_whose_client_goes_away_is_stopped() {
    let api = with_crm(|_| {}).await;
    slow(&api).await;
    let asking = tokio::spawn(api.http.get(format!("{}{SLOW}", api.url)).send());
    eventually("ClickHouse works on it", async || running(&api).await == 1).await;
    asking.abort();
    eventually("ClickHouse stops", async || running(&api).await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_takes_too_long_is_given_up() {
    let api = with_crm(|config| config.clickhouse.query_timeout_ms = 1_500).await;
    slow(&api).await;
    let (status, body) = api.send(api.http.get(format!("{}{SLOW}", api.url))).await;
    assert_eq!((status, &body["code"]), (503, &json!("deadline_exceeded")));
    eventually("ClickHouse stops", async || running(&api).await == 0).await;
}

/// `UPTAKE_WRITE_OPENAPI=1` writes the description; this holds the guide to it.
#[test]
fn the_guide_lists_every_code_and_no_other() {
    let description: Value = serde_json::from_str(&api::description().unwrap()).unwrap();
    let codes = description["components"]["schemas"]["Code"]["enum"].as_array().unwrap();
    let mut codes: Vec<_> = codes.iter().map(|code| code.as_str().unwrap()).collect();
    codes.sort_unstable();
    let is_status = |text: &str| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut listed: Vec<_> = rows_of_the_guide()
        .filter(|(_, status)| is_status(status))
        .map(|(code, _)| code)
        .collect();
    listed.sort_unstable();
    assert_eq!(listed, codes);
}

#[test]
fn every_answer_is_described_with_an_example_that_has_its_form() {
    let description: Value = serde_json::from_str(&api::description().unwrap()).unwrap();
    let mut examples = 0;
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                for (kind, content) in response["content"].as_object().into_iter().flatten() {
                    let Some(example) = content.get("example") else {
                        assert!(
                            !status.starts_with('2'),
                            "{method} {path}: {status} {kind} has no example"
                        );
                        continue;
                    };
                    let mut schema = content["schema"].clone();
                    schema["components"] = description["components"].clone();
                    let validator = jsonschema::validator_for(&schema).unwrap();
                    let errors: Vec<_> = validator.iter_errors(example).map(|error| error.to_string()).collect();
                    assert!(errors.is_empty(), "{method} {path}: {errors:?}");
                    examples += 1;
                }
            }
        }
    }
    assert!(examples >= 15, "{examples}");
}
