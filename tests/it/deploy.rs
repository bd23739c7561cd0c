//! What stands in `deploy` runs this program: its commands, its settings, its ports, the paths of its probes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use uptake::{config, ops};

use crate::harness::{PROGRAM, directory};

/// The command line of one process of ours, and its environment.
#[derive(Debug)]
struct Process {
    /// Where it stands, for messages.
    place: String,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
}

impl Process {
    /// The program takes its command and every setting of its environment, in the way in which it would there.
    fn check(&self) {
        let mut help = Command::new(PROGRAM);
        let help = help.args(&self.arguments).arg("--help").output().unwrap();
        assert!(
            help.status.success(),
            "{}: {:?} is no command",
            self.place,
            self.arguments
        );
        let mut loads = Command::new(PROGRAM);
        loads.arg("config").env_clear().envs(&self.environment);
        let loads = loads.output().unwrap();
        let told = String::from_utf8_lossy(&loads.stderr);
        assert!(loads.status.success(), "{}: {told}", self.place);
    }

    /// The port of a setting such as `OPS__LISTEN`, its default where it is not given.
    fn port(&self, setting: &str) -> u16 {
        let default = config::Config::load(None).unwrap();
        let default = match setting {
            "OPS__LISTEN" => default.ops.listen,
            _ => default.api.listen,
        };
        let given = self.environment.get(&format!("{}{setting}", config::PREFIX));
        given.map_or(default, |given| given.parse().unwrap()).port()
    }
}

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn documents(path: &Path) -> Vec<Value> {
    serde_saphyr::from_multiple(&text(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|it| it == ending))
        .collect()
}

fn string(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(string).collect()
}

/// `${NAME:?text}` and `${NAME:-default}` as someone might fill them in.
fn filled(text: &str) -> String {
    match text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
        Some(variable) => variable
            .split_once(":-")
            .map_or("x".repeat(64), |(_, default)| default.to_owned()),
        None => text.to_owned(),
    }
}

/// A service of the compose file, with what it merges in.
fn composed() -> Vec<(String, Value)> {
    let file = documents(&deploy().join("compose.yaml")).remove(0);
    file["services"].as_object().unwrap().clone().into_iter().collect()
}

fn is_ours(image: &Value) -> bool {
    image
        .as_str()
        .is_some_and(|image| image == "uptake" || image.starts_with("uptake:"))
}

#[test]
fn the_compose_file_runs_commands_that_are_there_with_settings_that_are_there() {
    let ours: Vec<_> = composed()
        .into_iter()
        .filter(|(_, service)| is_ours(&service["image"]))
        .collect();
    assert!(ours.len() >= 3, "{ours:?}");
    for (name, service) in ours {
        let environment = service["environment"].as_object().unwrap();
        let process = Process {
            place: format!("compose.yaml, {name}"),
            arguments: strings(&service["command"]),
            environment: environment
                .iter()
                .map(|(key, value)| (key.clone(), filled(&string(value))))
                .collect(),
        };
        process.check();
        let published = strings(&service["ports"]);
        for port in published {
            let inside: u16 = port.rsplit(':').next().unwrap().parse().unwrap();
            assert_eq!(inside, process.port("API__LISTEN"), "{}: {port}", process.place);
        }
        assert_eq!(service["read_only"], true, "{}", process.place);
        let probe = strings(&service["healthcheck"]["test"]);
        assert!(
            probe.is_empty() || probe[1..] == ["uptake", "ready"],
            "{}: {probe:?}",
            process.place
        );
    }
}

#[test]
fn nothing_in_the_compose_file_has_a_password_of_its_own_or_a_version_that_moves() {
    for (name, service) in composed() {
        let image = string(&service["image"]);
        let version = image.rsplit_once(':').map(|(_, version)| version);
        assert!(
            version.is_some_and(|version| version.contains('.')),
            "{name}: {image} is not pinned"
        );
        for (key, value) in service["environment"].as_object().into_iter().flatten() {
            let is_secret = key.ends_with("PASSWORD") || key.ends_with("SECRET");
            let value = string(value);
            assert!(!is_secret || value.contains(":?"), "{name}: {key} has a default");
            if let Some((variable, _)) = value.strip_prefix("${").and_then(|rest| rest.split_once(":?")) {
                let example = text(&deploy().join(".env.example"));
                assert!(
                    example.contains(&format!("\n{variable}=\n")),
                    ".env.example: no {variable}"
                );
            }
        }
    }
}

/// Every document of the manifests, the kustomizations left out.
fn manifests() -> Vec<Value> {
    let dir = deploy().join("kubernetes");
    let files = files(&dir, "yaml")
        .into_iter()
        .chain(files(&dir.join("clickhouse"), "yaml"));
    let files = files.filter(|path| !path.ends_with("kustomization.yaml"));
    files.flat_map(|path| documents(&path)).collect()
}

fn containers(manifests: &[Value]) -> Vec<&Value> {
    let specs = manifests
        .iter()
        .filter_map(|it| it.pointer("/spec/template/spec/containers"));
    specs.flat_map(|containers| containers.as_array().unwrap()).collect()
}

/// The literals of the ConfigMap that all of our containers take.
fn kubernetes_environment() -> BTreeMap<String, String> {
    let kustomization = documents(&deploy().join("kubernetes/kustomization.yaml")).remove(0);
    let literals = strings(&kustomization["configMapGenerator"][0]["literals"]);
    let pairs = literals.iter().map(|literal| literal.split_once('=').unwrap());
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[test]
fn the_manifests_run_commands_settings_ports_and_probes_that_are_there() {
    let manifests = manifests();
    let ours: Vec<_> = containers(&manifests)
        .into_iter()
        .filter(|it| is_ours(&it["image"]))
        .collect();
    assert!(ours.len() >= 3, "{ours:?}");
    for container in ours {
        let process = Process {
            place: format!("kubernetes, {}", container["name"]),
            arguments: strings(&container["args"]),
            environment: kubernetes_environment(),
        };
        assert_eq!(
            container["envFrom"][0]["configMapRef"]["name"], "uptake",
            "{}",
            process.place
        );
        process.check();
        let mut ports = BTreeMap::new();
        for port in container["ports"].as_array().into_iter().flatten() {
            let setting = if port["name"] == "ops" {
                "OPS__LISTEN"
            } else {
                "API__LISTEN"
            };
            assert_eq!(port["containerPort"], process.port(setting), "{}", process.place);
            ports.insert(string(&port["name"]), port);
        }
        for (probe, path) in [("livenessProbe", ops::LIVENESS), ("readinessProbe", ops::READINESS)] {
            // A job has neither.
            if let Some(get) = container.pointer(&format!("/{probe}/httpGet")) {
                assert_eq!(get["path"], path, "{}", process.place);
                assert_eq!(get["port"], "ops", "{}", process.place);
                assert!(ports.contains_key("ops"), "{}", process.place);
            }
        }
    }
}

#[test]
fn every_container_in_the_manifests_is_confined_and_bounded() {
    for manifest in manifests().iter().filter(|it| it.pointer("/spec/template").is_some()) {
        let name = string(&manifest["metadata"]["name"]);
        let pod = &manifest["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
        assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
        for container in containers(std::slice::from_ref(manifest)) {
            let security = &container["securityContext"];
            assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(strings(&security["capabilities"]["drop"]), ["ALL"], "{name}");
            assert!(container.pointer("/resources/limits/memory").is_some(), "{name}");
        }
    }
}

#[test]
fn workers_are_scaled_by_the_lag_of_the_group_and_topic_that_they_read() {
    let manifests = manifests();
    let scaled = manifests.iter().find(|it| it["kind"] == "ScaledObject").unwrap();
    let environment = kubernetes_environment();
    let defaults = config::Config::load(None).unwrap().kafka;
    let trigger = &scaled["spec"]["triggers"][0]["metadata"];
    assert_eq!(trigger["consumerGroup"], defaults.group_id);
    assert_eq!(trigger["topic"], defaults.topic);
    assert_eq!(trigger["bootstrapServers"], environment["UPTAKE__KAFKA__BROKERS"]);
    let most = string(&scaled["spec"]["maxReplicaCount"]);
    assert_eq!(most, environment["UPTAKE__KAFKA__PARTITIONS"]);
}

#[test]
fn as_many_servers_are_waited_for_as_the_cluster_has() {
    let cluster = text(&deploy().join("kubernetes/clickhouse/config/cluster.xml"));
    let servers = cluster.matches("<replica><host>").count().to_string();
    assert_eq!(kubernetes_environment()["UPTAKE__CLICKHOUSE__CLUSTER_SERVERS"], servers);
}

#[test]
fn the_units_run_commands_that_are_there_with_settings_that_are_there() {
    let dir = deploy().join("systemd");
    let units = files(&dir, "service");
    assert!(units.len() >= 3, "{units:?}");
    for unit in units {
        let text = text(&unit);
        let values = |key: &str| -> Vec<String> {
            let lines = text
                .lines()
                .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            let credentials = directory("credentials").display().to_string();
            lines
                .map(|line| line.replace("%d", &credentials).replace("%i", "1"))
                .collect()
        };
        let start = values("ExecStart").remove(0);
        let environment = values("Environment");
        let environment = environment.iter().map(|line| line.split_once('=').unwrap());
        let mut environment: BTreeMap<_, _> = environment
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let file = environment.get_mut("UPTAKE_CONFIG").unwrap();
        assert_eq!(file, "/etc/uptake/uptake.toml");
        *file = dir.join("uptake.toml").display().to_string();
        let process = Process {
            place: unit.display().to_string(),
            arguments: start.split(' ').skip(1).map(str::to_owned).collect(),
            environment,
        };
        process.check();
    }
}

#[test]
fn every_alert_has_its_entry_in_the_handbook_and_every_entry_its_alert() {
    let handbook = text(&deploy().join("../docs/operations.md"));
    let entries = handbook.lines().filter_map(|line| line.strip_prefix("### Uptake"));
    let entries: BTreeSet<String> = entries.map(|name| format!("Uptake{name}")).collect();
    let mut alerts = BTreeSet::new();
    for path in files(&deploy().join("prometheus/rules"), "yml") {
        let rules = documents(&path).remove(0);
        let groups = rules["groups"].as_array().unwrap().iter();
        let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
        alerts.extend(rules.filter_map(|rule| Some(rule["alert"].as_str()?.to_owned())));
    }
    assert!(!alerts.is_empty());
    assert_eq!(alerts, entries);
}

#[test]
fn prometheus_of_the_compose_file_scrapes_every_process_of_ours() {
    let file = documents(&deploy().join("compose/prometheus.yml")).remove(0);
    let scraped = &file["scrape_configs"][0];
    // The rules ask for it by that name.
    assert_eq!(scraped["job_name"], "uptake");
    let names = strings(&scraped["dns_sd_configs"][0]["names"]);
    let ours = composed()
        .into_iter()
        .filter(|(name, service)| is_ours(&service["image"]) && name != "migrate");
    assert_eq!(BTreeSet::from_iter(names), ours.map(|(name, _)| name).collect());
}
