//! What the tests of every target stand on: the program, its configuration, a place for its data, parts and
//! processes that can be killed, a proxy.

#![allow(dead_code, reason = "each target uses a part of it")]

pub mod differences;
pub mod parts;
pub mod proxy;
pub mod workers;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use uptake::config::{Config, Secret};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_uptake");

/// The longest a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The defaults, with what the environment says about where the components are.
pub fn config() -> Config {
    let mut config = Config::load(None).expect("the default configuration");
    config.privacy.secret = Secret::new("the pseudonyms of the tests need a key");
    config
}

/// An empty directory of this process. Those of earlier runs are removed.
pub fn directory(name: &str) -> PathBuf {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tests");
    for entry in std::fs::read_dir(&all).into_iter().flatten().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if !Path::new("/proc").join(pid).exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let dir = all
        .join(std::process::id().to_string())
        .join(format!("{name}-{}", unique()));
    std::fs::create_dir_all(&dir).expect("a directory for the test");
    dir
}

/// Names topics, a group and a database that nobody else uses.
pub fn isolate(config: &mut Config, kafka: &str, clickhouse: &str) {
    let name = unique();
    config.kafka.brokers = kafka.to_owned();
    config.kafka.topic = format!("events.{name}");
    config.kafka.rejected_topic = format!("rejected.{name}");
    config.kafka.group_id = format!("group.{name}");
    config.clickhouse.url = clickhouse.to_owned();
    config.clickhouse.database = format!("test_{name}");
}

/// The program with what `config` says about places, and about what the schema depends on, in its environment.
pub fn program(config: &Config) -> Command {
    let mut program = Command::new(PROGRAM);
    let retention = &config.retention;
    let settings = [
        ("DATA_DIR", config.data_dir.display().to_string()),
        ("KAFKA__BROKERS", config.kafka.brokers.clone()),
        ("KAFKA__TOPIC", config.kafka.topic.clone()),
        ("KAFKA__REJECTED_TOPIC", config.kafka.rejected_topic.clone()),
        ("KAFKA__GROUP_ID", config.kafka.group_id.clone()),
        ("CLICKHOUSE__URL", config.clickhouse.url.clone()),
        ("CLICKHOUSE__DATABASE", config.clickhouse.database.clone()),
        ("CLICKHOUSE__CLUSTER", config.clickhouse.cluster.clone()),
        (
            "CLICKHOUSE__CLUSTER_SERVERS",
            config.clickhouse.cluster_servers.to_string(),
        ),
        ("PRIVACY__SECRET", config.privacy.secret.expose().to_owned()),
        ("PRIVACY__MIN_GROUP_SIZE", config.privacy.min_group_size.to_string()),
        (
            "PRIVACY__ALLOW_SMALL_GROUPS",
            (config.privacy.min_group_size < 5).to_string(),
        ),
        ("RETENTION__RAW_DAYS", retention.raw_days.to_string()),
        ("RETENTION__USER_MONTHS", retention.user_months.to_string()),
        ("RETENTION__AGGREGATE_MONTHS", retention.aggregate_months.to_string()),
        ("API__LISTEN", "127.0.0.1:0".to_owned()),
        ("OPS__LISTEN", "127.0.0.1:0".to_owned()),
    ];
    program.envs(settings.map(|(key, value)| (format!("UPTAKE__{key}"), value)));
    program
}

pub fn unique() -> String {
    uuid::Uuid::new_v4().simple().to_string()[..12].to_owned()
}
