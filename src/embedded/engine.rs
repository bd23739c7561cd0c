//! The embedded ClickHouse as a child process: `uptake clickhouse` of this very program, so that a crash of the engine's
//! C++ code takes nothing else with it.

use std::fs::{File, Permissions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::config::{Config, PREFIX, Secret};

use super::child::{Child, Output};

const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Statements under way may end before the engine closes its tables.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const READY: &str = "clickhouse: http://";

/// Where the engine keeps its data and where it is reached. Outlives the engine's process, so that another can take its place.
#[derive(Debug)]
pub struct Engine {
    program: PathBuf,
    dir: PathBuf,
    listen: SocketAddr,
}

impl Engine {
    /// Writes the child's configuration into `dir`. `program` is the `uptake` to run.
    pub fn prepare(program: PathBuf, dir: &Path, config: &Config) -> anyhow::Result<Self> {
        super::clickhouse::check_library(&config.embedded.chdb_library)?;
        // Let go again at once: told here, a port that is taken is the user's mistake and not the child's failure.
        super::take_port("embedded.clickhouse_port", config.embedded.clickhouse_port)?;
        std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        let engine = Self {
            program,
            dir: std::path::absolute(dir)?,
            listen: (Ipv4Addr::LOCALHOST, config.embedded.clickhouse_port).into(),
        };
        engine.write_config(config)?;
        Ok(engine)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    pub fn log(&self) -> PathBuf {
        self.dir.join("clickhouse.log")
    }

    fn config_file(&self) -> PathBuf {
        self.dir.join("uptake.toml")
    }

    /// What the child must share with us, whether it came from a file or the environment. It gets no other settings.
    fn write_config(&self, config: &Config) -> anyhow::Result<()> {
        let embedded = &config.embedded;
        let mut child = toml::Table::new();
        let mut clickhouse = config.clickhouse.clone();
        clickhouse.read_passwords()?;
        let login = |user: &str, password: &Secret| {
            let mut table = toml::Table::new();
            table.insert("user".to_owned(), user.into());
            table.insert("password".to_owned(), password.expose().into());
            table
        };
        let mut shared = login(&clickhouse.user, &clickhouse.password);
        shared.insert("database".to_owned(), clickhouse.database.into());
        let reader = login(&clickhouse.reader.user, &clickhouse.reader.password);
        shared.insert("reader".to_owned(), reader.into());
        child.insert("clickhouse".to_owned(), shared.into());
        let mut section = toml::Table::new();
        let library = std::path::absolute(&embedded.chdb_library)?;
        for (key, value) in [
            ("chdb_library", library.display().to_string().into()),
            ("connections", toml::Value::from(embedded.connections as i64)),
            (
                "statement_timeout_ms",
                toml::Value::from(embedded.statement_timeout_ms as i64),
            ),
            ("max_memory_bytes", toml::Value::from(embedded.max_memory_bytes as i64)),
        ] {
            section.insert(key.to_owned(), value);
        }
        child.insert("embedded".to_owned(), section.into());
        let path = self.config_file();
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&path)?;
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.write_all(child.to_string().as_bytes())
        };
        write().with_context(|| format!("writing {}", path.display()))
    }

    /// Starts the engine and waits until it serves. The port it took is kept for the next start.
    pub async fn start(&mut self) -> anyhow::Result<Child> {
        let log = self.log();
        let log_end = std::fs::metadata(&log).map_or(0, |m| m.len());
        let mut command = Command::new(&self.program);
        command
            .arg("--config")
            .arg(self.config_file())
            .args(["clickhouse", "--listen", &self.listen.to_string(), "--data"])
            .arg(&self.dir);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with(PREFIX)) {
            command.env_remove(name);
        }
        let (mut child, stdout) =
            Child::spawn("ClickHouse's engine", command, &log, Output::Piped, STOP_TIMEOUT).await?;
        let ready = tokio::time::timeout(START_TIMEOUT, tokio::task::spawn_blocking(|| ready_line(stdout))).await;
        let line = match ready {
            Ok(line) => line?,
            Err(_) => bail!(
                "ClickHouse's engine was not ready within {} s; see {}",
                START_TIMEOUT.as_secs(),
                log.display()
            ),
        };
        let Some(address) = line.as_deref().and_then(|line| line.trim().strip_prefix(READY)) else {
            let how = child.ended().await;
            bail!(
                "ClickHouse's engine ended while starting ({how}): {}",
                last_line(&log, log_end).unwrap_or_else(|| format!("see {}", log.display()))
            );
        };
        self.listen = address
            .parse()
            .with_context(|| format!("the engine's address {address}"))?;
        Ok(child)
    }
}

/// The first line; None when the output ended without.
fn ready_line(stdout: Option<ChildStdout>) -> Option<String> {
    let mut line = String::new();
    BufReader::new(stdout?).read_line(&mut line).ok()?;
    (!line.is_empty()).then_some(line)
}

/// The last line that was written to `path` after `offset`.
fn last_line(path: &Path, offset: u64) -> Option<String> {
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::Start(offset)).ok()?;
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim_end().lines().last().map(str::to_owned)
}
