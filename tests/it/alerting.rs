//! From a unit that falls silent to whoever is told: through real Prometheus and Alertmanager, and through the webhook.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use uptake::config::{Secret, Webhook as WebhookConfig, WebhookFormat};
use uptake::metrics::Metrics;
use uptake::ops::{self, Health};
use uptake::targets::{Evaluator, Gauges, Webhook, waiting_notices};

use crate::api::Api;
use crate::harness::{directory, eventually};
use crate::targets::{BY_UNIT, after, company, definition, fall_and_return, roster, store};

const TOOLS: &str = ".cache/prometheus/usr/bin";
const KEY: &str = "the receiver knows this key as well";

/// A company whose unit Sales falls silent, with one day evaluated before it does.
async fn before_the_fall(webhook: Option<WebhookConfig>) -> (Api, Evaluator) {
    let mut api = company(&definition(BY_UNIT), &roster()).await;
    store(&api, &fall_and_return()).await;
    if let Some(webhook) = webhook {
        api.fixture.config.targets.webhook = webhook;
    }
    let evaluator = Evaluator::new(&api.fixture.config).unwrap();
    evaluator.evaluate_due(after(50)).await.unwrap();
    (api, evaluator)
}

/// What a receiver was told: path, headers, body.
type Told = Arc<Mutex<Vec<(String, HeaderMap, String)>>>;

/// Takes whatever is posted, unless it is told to refuse.
#[derive(Clone, Default)]
struct Receiver {
    told: Told,
    refuses: Arc<Mutex<bool>>,
}

impl Receiver {
    async fn start() -> (Self, SocketAddr) {
        let receiver = Self::default();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(take).with_state(receiver.clone());
        tokio::spawn(async { axum::serve(listener, router).await });
        (receiver, address)
    }

    /// The bodies that came to a path.
    fn at(&self, path: &str) -> Vec<Value> {
        let told = self.told.lock().unwrap();
        let bodies = told.iter().filter(|(at, ..)| at == path);
        bodies.map(|(.., body)| serde_json::from_str(body).unwrap()).collect()
    }
}

async fn take(State(receiver): State<Receiver>, uri: Uri, headers: HeaderMap, body: Bytes) -> StatusCode {
    if *receiver.refuses.lock().unwrap() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let body = String::from_utf8(body.to_vec()).unwrap();
    receiver
        .told
        .lock()
        .unwrap()
        .push((uri.path().to_owned(), headers, body));
    StatusCode::OK
}

/// A tool of `make tools`, which dies with the test.
struct Tool(Child);

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Tool {
    fn start(name: &str, dir: &Path, arguments: &[String]) -> Self {
        let log = std::fs::File::create(dir.join(format!("{name}.log"))).unwrap();
        let mut command = Command::new(Path::new(TOOLS).join(name));
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        Self(
            command
                .spawn()
                .unwrap_or_else(|error| panic!("{TOOLS}/{name}: {error}; `make tools` fetches it")),
        )
    }
}

async fn free_port() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

/// Prometheus and Alertmanager with the rules and the routing of `deploy`, but intervals of a test.
struct Monitoring {
    prometheus: SocketAddr,
    alertmanager: SocketAddr,
    _tools: [Tool; 2],
}

impl Monitoring {
    async fn start(scraped: SocketAddr, receiver: SocketAddr) -> Self {
        let dir = directory("monitoring");
        let (prometheus, alertmanager) = (free_port().await, free_port().await);
        let routing = std::fs::read_to_string("deploy/alertmanager/alertmanager.yml").unwrap();
        let routing = routing
            .replace("127.0.0.1:9095", &receiver.to_string())
            .replace("group_wait: 30s", "group_wait: 100ms")
            .replace("group_interval: 5m", "group_interval: 200ms");
        for name in ["targets.yml", "pipeline.yml"] {
            let rules = std::fs::read_to_string(Path::new("deploy/prometheus/rules").join(name)).unwrap();
            let rules = rules.replace("keep_firing_for: 15m", "keep_firing_for: 3s");
            std::fs::write(dir.join(format!("rules-{name}")), rules).unwrap();
        }
        let scraping = format!(
            "global: {{scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 1s}}\n\
            rule_files: [\"{}/rules-*.yml\"]\n\
            alerting: {{alertmanagers: [{{static_configs: [{{targets: [\"{alertmanager}\"]}}]}}]}}\n\
            scrape_configs: [{{job_name: uptake, static_configs: [{{targets: [\"{scraped}\"]}}]}}]\n",
            dir.display()
        );
        let file = |name: &str, text: String| -> PathBuf {
            std::fs::write(dir.join(name), text).unwrap();
            dir.join(name)
        };
        let arguments = |config: PathBuf, listen: SocketAddr, storage: String| {
            vec![
                format!("--config.file={}", config.display()),
                format!("--web.listen-address={listen}"),
                storage,
            ]
        };
        let storage = format!("--storage.path={}", dir.join("alerts").display());
        let mut routed = arguments(file("alertmanager.yml", routing), alertmanager, storage);
        routed.push("--cluster.listen-address=".to_owned());
        let storage = format!("--storage.tsdb.path={}", dir.join("series").display());
        let scrapes = arguments(file("prometheus.yml", scraping), prometheus, storage);
        let tools = [
            Tool::start("prometheus-alertmanager", &dir, &routed),
            Tool::start("prometheus", &dir, &scrapes),
        ];
        let monitoring = Self {
            prometheus,
            alertmanager,
            _tools: tools,
        };
        for address in [prometheus, alertmanager] {
            eventually("Prometheus and Alertmanager are ready", async || {
                let answer = reqwest::get(format!("http://{address}/-/ready")).await;
                answer.is_ok_and(|answer| answer.status().is_success())
            })
            .await;
        }
        monitoring
    }

    /// How many series a query finds.
    async fn series(&self, query: &str) -> usize {
        let url = format!("http://{}/api/v1/query", self.prometheus);
        let request = reqwest::Client::new()
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded");
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer: Value = request
            .body(format!("query={encoded}"))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        answer["data"]["result"].as_array().map_or(0, Vec::len)
    }
}

/// The gauges on a port that Prometheus can scrape.
async fn exported() -> (Gauges, SocketAddr, DropGuard) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (metrics, stop) = (Arc::new(Metrics::default()), CancellationToken::new());
    let gauges = Gauges::new(&metrics.targets);
    tokio::spawn(ops::serve(listener, Health::default(), metrics, stop.clone()));
    (gauges, address, stop.drop_guard())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breach_reaches_the_receiver_of_alertmanager_once_and_resolves() {
    let (_api, evaluator) = before_the_fall(None).await;
    let (mut gauges, scraped, _stop) = exported().await;
    gauges.show(&evaluator.standings(after(50)).await.unwrap());
    let (receiver, address) = Receiver::start().await;
    let monitoring = Monitoring::start(scraped, address).await;
    let on_track = r#"uptake_target_decided_state{group="Sales",state="on_track"} == 1"#;
    eventually("the unit is seen on track", async || {
        monitoring.series(on_track).await == 1
    })
    .await;
    assert_eq!(
        monitoring
            .series(r#"{__name__=~"uptake_target_.*",group="Tiny"}"#)
            .await,
        0,
        "a suppressed group is shown"
    );

    evaluator.evaluate_due(after(57)).await.unwrap();
    gauges.show(&evaluator.standings(after(57)).await.unwrap());
    eventually("the breach arrives", async || !receiver.at("/adoption").is_empty()).await;
    evaluator.evaluate_due(after(59)).await.unwrap();
    gauges.show(&evaluator.standings(after(59)).await.unwrap());
    let is = |status: &'static str| move |told: &Value| told["status"] == status;
    let resolved = async || receiver.at("/adoption").iter().any(is("resolved"));
    eventually("its end arrives", resolved).await;
    let told = receiver.at("/adoption");
    let statuses: Vec<_> = told.iter().map(|told| told["status"].clone()).collect();
    assert_eq!(statuses, ["firing", "resolved"]);
    for told in &told {
        assert_eq!(told["alerts"].as_array().unwrap().len(), 1, "{told}");
        let labels = &told["alerts"][0]["labels"];
        let wanted = json!({"alertname": "UptakeTargetBreached", "severity": "critical", "concerns": "adoption",
            "system": "erp", "target": "units", "by": "unit", "group": "Sales"});
        assert_eq!(labels, &wanted);
    }
    assert!(receiver.at("/operations").is_empty(), "nothing else was told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_pipeline_silences_what_is_said_of_adoption() {
    let (receiver, address) = Receiver::start().await;
    let monitoring = Monitoring::start(free_port().await, address).await;
    let http = reqwest::Client::new();
    let alerts = format!("http://{}/api/v2/alerts", monitoring.alertmanager);
    let raise = async |labels: Value| {
        let answer = http
            .post(&alerts)
            .json(&json!([{"labels": labels}]))
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    };
    raise(json!({"alertname": "UptakeDown", "concerns": "pipeline", "severity": "critical"})).await;
    eventually("the pipeline's alert arrives", async || {
        !receiver.at("/operations").is_empty()
    })
    .await;
    raise(json!({"alertname": "UptakeTargetBreached", "concerns": "adoption", "system": "erp", "target": "units"}))
        .await;
    let inhibited = async || {
        let all: Value = http.get(&alerts).send().await.unwrap().json().await.unwrap();
        let breach = all
            .as_array()
            .unwrap()
            .iter()
            .find(|alert| alert["labels"]["concerns"] == "adoption")
            .cloned();
        breach.is_some_and(|alert| alert["status"]["inhibitedBy"] != json!([]))
    };
    eventually("the breach is inhibited", inhibited).await;
    assert!(receiver.at("/adoption").is_empty());
}

#[test]
fn the_rules_pass_their_tests() {
    let run = |tool: &str, arguments: &[&str]| {
        let output = Command::new(Path::new(TOOLS).join(tool)).args(arguments).output();
        let output = output.unwrap_or_else(|error| panic!("{TOOLS}/{tool}: {error}; `make tools` fetches it"));
        let told = [output.stdout, output.stderr].concat();
        assert!(
            output.status.success(),
            "{tool} {arguments:?}: {}",
            String::from_utf8_lossy(&told)
        );
    };
    let all = |folder: &str| {
        let files = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().path().display().to_string());
        let mut files: Vec<_> = files.collect();
        files.sort();
        assert!(files.len() >= 2, "{folder}: {files:?}");
        files
    };
    for rules in all("deploy/prometheus/rules") {
        run("promtool", &["check", "rules", &rules]);
    }
    for tests in all("deploy/prometheus/tests") {
        run("promtool", &["test", "rules", &tests]);
    }
    run("promtool", &["check", "config", "deploy/prometheus/prometheus.yml"]);
    run("amtool", &["check-config", "deploy/alertmanager/alertmanager.yml"]);
}

fn webhook(address: SocketAddr, format: WebhookFormat) -> WebhookConfig {
    WebhookConfig {
        url: format!("http://{address}/hook"),
        format,
        secret: Secret::new(KEY),
        secret_file: PathBuf::new(),
        timeout_ms: 10_000,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_is_told_of_a_breach_and_its_end_once_each_and_signed() {
    let (receiver, address) = Receiver::start().await;
    let (api, evaluator) = before_the_fall(Some(webhook(address, WebhookFormat::CloudEvents))).await;
    let metrics = Metrics::default();
    let sender = Webhook::new(&api.fixture.config.targets.webhook, &evaluator.store, &metrics.targets);
    let sender = sender.unwrap().unwrap();
    evaluator.evaluate_due(after(57)).await.unwrap();
    // Not taken: kept, and told.
    *receiver.refuses.lock().unwrap() = true;
    for attempt in 1..=2 {
        assert!(sender.deliver().await.is_err());
        let why = waiting_notices(&evaluator.store)
            .await
            .unwrap()
            .expect("a notice waits");
        let attempt = format!("503 Service Unavailable (attempt {attempt})");
        assert!(why.starts_with("1 notices wait") && why.ends_with(&attempt), "{why}");
    }
    assert_eq!(metrics.targets.notices_waiting.get(), 1);
    *receiver.refuses.lock().unwrap() = false;
    sender.deliver().await.unwrap();
    sender.deliver().await.unwrap();
    assert_eq!(metrics.targets.notices_waiting.get(), 0);
    assert_eq!(waiting_notices(&evaluator.store).await.unwrap(), None);
    // Evaluated again, and further.
    api.execute("TRUNCATE TABLE target_runs").await;
    evaluator.evaluate_due(after(57)).await.unwrap();
    evaluator.evaluate_due(after(59)).await.unwrap();
    sender.deliver().await.unwrap();
    let told = receiver.at("/hook");
    let kinds: Vec<_> = told.iter().map(|event| event["type"].clone()).collect();
    assert_eq!(kinds, ["uptake.target.breached.v1", "uptake.target.resolved.v1"]);
    let data = &told[0]["data"];
    let shown = [
        &data["system"],
        &data["target"],
        &data["group"],
        &data["state"],
        &data["reason"],
        &data["rate"],
    ];
    let wanted = [
        json!("erp"),
        json!("units"),
        json!("Sales"),
        json!("breached"),
        json!("below_ramp"),
        json!(0.0),
    ];
    assert_eq!(shown.map(Clone::clone), wanted);
    for (_, headers, body) in receiver.told.lock().unwrap().iter() {
        let header = |name: &str| headers[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), "application/cloudevents+json");
        let mut mac = Hmac::<Sha256>::new_from_slice(KEY.as_bytes()).unwrap();
        mac.update(format!("{}.{}.{body}", header("webhook-id"), header("webhook-timestamp")).as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        assert_eq!(header("webhook-signature"), format!("v1,{signature}"));
    }
    let alerts = api.ok("/systems/erp/alerts").await["alerts"].clone();
    let breached = alerts
        .as_array()
        .unwrap()
        .iter()
        .find(|alert| alert["state"] == "breached")
        .unwrap();
    assert_eq!(told[0]["id"], breached["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_can_speak_as_alertmanager_does() {
    let (receiver, address) = Receiver::start().await;
    let (api, evaluator) = before_the_fall(Some(webhook(address, WebhookFormat::Alertmanager))).await;
    let metrics = Metrics::default();
    let sender = Webhook::new(&api.fixture.config.targets.webhook, &evaluator.store, &metrics.targets);
    evaluator.evaluate_due(after(59)).await.unwrap();
    sender.unwrap().unwrap().deliver().await.unwrap();
    let told = receiver.at("/hook");
    let statuses: Vec<_> = told.iter().map(|told| told["status"].clone()).collect();
    assert_eq!(statuses, ["firing", "resolved"]);
    assert_eq!(told[0]["version"], "4");
    assert_eq!(told[0]["alerts"][0]["fingerprint"], told[1]["alerts"][0]["fingerprint"]);
    assert_eq!(
        told[0]["commonAnnotations"]["summary"],
        "units: adoption_rate of unit Sales of erp is 0.0 %, expected 80.0 % (below_ramp)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_evaluates_by_itself() {
    let api = company(&definition(BY_UNIT), &roster()).await;
    let ops = free_port().await;
    let mut program = api.fixture.program();
    program
        .arg("targets")
        .env("UPTAKE__OPS__LISTEN", ops.to_string())
        .env("UPTAKE__PRIVACY__MIN_GROUP_SIZE", "3")
        .env("UPTAKE__PRIVACY__ALLOW_SMALL_GROUPS", "true")
        .stderr(Stdio::null());
    let _program = Tool(program.spawn().unwrap());
    let evaluated = "uptake_target_evaluated_through_timestamp_seconds{system=\"erp\"}";
    eventually("the last day is evaluated", async || {
        match reqwest::get(format!("http://{ops}/metrics")).await {
            Ok(answer) => answer.text().await.unwrap_or_default().contains(evaluated),
            Err(_) => false,
        }
    })
    .await;
    assert_eq!(api.fixture.number("SELECT count() FROM target_runs FINAL").await, 1);
}
