//! The audit log: what was changed leaves an entry, whoever changed it and however.

use reqwest::header::{ACCEPT, CONTENT_TYPE, LINK};
use serde_json::{Value, json};

use crate::access::{create_token, run};
use crate::api::{Api, DEFINITION};

async fn guarded() -> (Api, String) {
    let api = Api::start(|config| config.api.authentication = true).await;
    let admin = create_token(&api.fixture, "admin", &["--role", "admin"]);
    (api, admin)
}

async fn get(api: &Api, query: &str, token: &str) -> (u16, Value) {
    let request = api.http.get(format!("{}/api/v1/audit{query}", api.url));
    api.send(request.bearer_auth(token)).await
}

async fn define(api: &Api, token: &str, text: String) -> u16 {
    let request = api
        .http
        .put(format!("{}/api/v1/systems/erp", api.url))
        .bearer_auth(token);
    api.send(request.header(CONTENT_TYPE, "application/yaml").body(text))
        .await
        .0
}

#[tokio::test]
async fn every_change_says_who_made_it() {
    let (api, admin) = guarded().await;
    assert_eq!(define(&api, &admin, DEFINITION.to_owned()).await, 200);
    // What is refused changes nothing.
    assert_eq!(define(&api, &admin, "system: erp".to_owned()).await, 422);
    let viewer = create_token(&api.fixture, "viewer", &["--role", "viewer", "--system", "erp"]);
    assert_eq!(define(&api, &viewer, DEFINITION.to_owned()).await, 403);
    assert_eq!(run(&api.fixture, &["token", "revoke", "viewer"]).0, Some(0));
    let roster = "docs/example/crm-roster.csv";
    let (code, _, told) = run(&api.fixture, &["roster", "import", roster, "--system", "crm"]);
    assert_eq!(code, Some(0), "{told}");

    let (status, log) = get(&api, "", &admin).await;
    assert_eq!((status, &log["next"]), (200, &Value::Null));
    let entries = log["entries"].as_array().unwrap();
    let told: Vec<_> = entries
        .iter()
        .map(|entry| [&entry["kind"], &entry["action"], &entry["object"], &entry["outcome"]])
        .collect();
    let expected = json!([
        ["command", "import_roster", "crm", "done"],
        ["command", "revoke_token", "viewer", "done"],
        ["command", "create_token", "viewer", "done"],
        ["token", "define_system", "erp", "done"],
        ["command", "create_token", "admin", "done"],
    ]);
    assert_eq!(json!(told), expected);
    assert_eq!(
        (&entries[3]["who"], &entries[3]["roles"]),
        (&json!("admin"), &json!(["admin"]))
    );
    assert_eq!(entries[3]["detail"]["changed"], true);
    assert_eq!(entries[2]["detail"]["systems"], json!(["erp"]));
    assert!(!log.to_string().contains(&admin[7..]) && !log.to_string().contains(&viewer[7..]));
}

#[tokio::test]
async fn pages_show_each_entry_once_while_others_are_written() {
    let (api, admin) = guarded().await;
    for n in 0..6 {
        assert_eq!(
            define(&api, &admin, DEFINITION.replace("name: ERP", &format!("name: ERP {n}"))).await,
            200
        );
    }
    let (mut query, mut seen) = ("?limit=3".to_owned(), Vec::new());
    loop {
        let url = format!("{}/api/v1/audit{query}", api.url);
        let response = api.http.get(url).bearer_auth(&admin).send().await.unwrap();
        let link = response
            .headers()
            .get(LINK)
            .map(|link| link.to_str().unwrap().to_owned());
        let page: Value = response.json().await.unwrap();
        let entries = page["entries"].as_array().unwrap();
        assert!(entries.len() <= 3);
        seen.extend(entries.iter().map(|entry| entry["id"].as_str().unwrap().to_owned()));
        assert_eq!(
            define(&api, &admin, DEFINITION.replace("name: ERP", &format!("name: {query}"))).await,
            200
        );
        let Some(next) = page["next"].as_str() else {
            assert_eq!(link, None);
            break;
        };
        query = format!("?limit=3&cursor={next}");
        assert_eq!(link, Some(format!("</api/v1/audit{query}>; rel=\"next\"")));
    }
    // Six definitions and the token of the administrator.
    assert_eq!(seen.len(), 7);
    assert!(seen.is_sorted_by(|a, b| a > b), "{seen:?}");
}

#[tokio::test]
async fn only_who_may_reads_it() {
    let (api, _) = guarded().await;
    for (name, arguments, status) in [
        ("privacy", ["--role", "privacy"].as_slice(), 200),
        ("viewer", &["--role", "viewer"], 403),
        ("analyst", &["--role", "analyst"], 403),
        ("producer", &["--role", "producer"], 403),
        ("one system", &["--role", "admin", "--system", "erp"], 403),
        ("one unit", &["--role", "privacy", "--unit", "Sales"], 403),
    ] {
        let token = create_token(&api.fixture, name, arguments);
        assert_eq!(get(&api, "", &token).await.0, status, "{name}");
    }
    let privacy = create_token(&api.fixture, "another", &["--role", "privacy"]);
    for wrong in ["?limit=0", "?limit=1001", "?cursor=x", "?from=2026-10-01"] {
        assert_eq!(get(&api, wrong, &privacy).await.0, 422, "{wrong}");
    }
    let request = api
        .http
        .get(format!("{}/api/v1/audit?limit=2", api.url))
        .bearer_auth(&privacy);
    let text = request
        .header(ACCEPT, "text/csv")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert_eq!(text.lines().count(), 3, "{text}");
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_done() {
    let (api, admin) = guarded().await;
    api.execute("DROP TABLE audit").await;
    assert_eq!(define(&api, &admin, DEFINITION.to_owned()).await, 500);
    let (code, _, told) = run(&api.fixture, &["token", "create", "--name", "x", "--role", "viewer"]);
    assert_eq!(code, Some(1), "{told}");
    assert_eq!(api.fixture.number("SELECT count() FROM systems").await, 0);
    assert_eq!(api.fixture.number("SELECT count() FROM tokens").await, 1);
}
