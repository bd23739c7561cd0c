//! An `uptake up` of our own: free ports, a temporary directory, gone afterwards.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Endpoints};

/// How long it may take to be ready, and to end when asked.
const READY_WITHIN: Duration = Duration::from_secs(120);
const ENDED_WITHIN: Duration = Duration::from_secs(60);

/// The child's output, in the temporary directory.
const LOG: &str = "up.log";

pub struct Installation {
    /// Resolved: what the commands beside it would use.
    pub config: Config,
    /// `http://host:port`
    pub api: String,
    child: Child,
    dir: TempDir,
    keep: bool,
}

impl Installation {
    /// Starts this very program as `uptake up` and waits until it is ready. With `keep`, its directory will stay.
    pub async fn start(config: &Config, keep: bool, shutdown: &CancellationToken) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("uptake-smoke-")
            .tempdir()
            .context("temporary directory")?;
        let program = std::env::current_exe().context("the path of this program")?;
        let data_dir = dir.path().join("data");
        let log_path = dir.path().join(LOG);
        let log = std::fs::File::create(&log_path).with_context(|| format!("writing {}", log_path.display()))?;
        println!("starting everything in {}", dir.path().display());
        let embedded = &config.embedded;
        let mut child = Command::new(program)
            .arg("up")
            .env("UPTAKE__DATA_DIR", &data_dir)
            .env("UPTAKE__KAFKA__BROKERS", "")
            .env("UPTAKE__CLICKHOUSE__URL", "")
            .env("UPTAKE__API__LISTEN", "127.0.0.1:0")
            .env("UPTAKE__API__AUTHENTICATION", "false")
            .env("UPTAKE__OPS__LISTEN", "127.0.0.1:0")
            .env("UPTAKE__EMBEDDED__KAFKA_PORT", "0")
            .env("UPTAKE__EMBEDDED__CLICKHOUSE_PORT", "0")
            .env("UPTAKE__EMBEDDED__KAFKA_LIBS", &embedded.kafka_libs)
            .env("UPTAKE__EMBEDDED__CHDB_LIBRARY", &embedded.chdb_library)
            .env("UPTAKE__EMBEDDED__JAVA", &embedded.java)
            .env("UPTAKE_LOG_FORMAT", "text")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("starting `uptake up`")?;
        let ready = tokio::select! {
            ready = wait_until_ready(&data_dir) => ready,
            status = child.wait() => Err(ended(status?)),
            () = shutdown.cancelled() => Err(anyhow::anyhow!("stopped")),
        };
        let endpoints = match ready {
            Ok(endpoints) => endpoints,
            Err(error) => {
                eprintln!("the end of its log:\n{}", tail(&log_path));
                // It may have ended already; the error to report is why it was not ready.
                let _ = terminate(&mut child).await;
                return Err(error);
            }
        };
        let mut config = config.clone();
        config.data_dir = data_dir;
        config.kafka.brokers.clear();
        config.clickhouse.url.clear();
        config.privacy.secret = Default::default();
        config.privacy.secret_file = Default::default();
        Ok(Self {
            config: config.resolve()?,
            api: endpoints.api,
            child,
            dir,
            keep,
        })
    }

    /// Returns when the child ends though nobody asked it to.
    pub async fn died(&mut self) -> anyhow::Error {
        match self.child.wait().await {
            Ok(status) => ended(status),
            Err(error) => error.into(),
        }
    }

    pub fn log_tail(&self) -> String {
        tail(&self.dir.path().join(LOG))
    }

    /// Asks the child to end and waits for it; removes the directory, unless it is to be kept.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let status = terminate(&mut self.child).await?;
        if self.keep {
            println!("everything is kept in {}", self.dir.keep().display());
        } else {
            self.dir.close().context("removing the temporary directory")?;
        }
        ensure!(status.success(), "`uptake up` did not end well: {status}");
        Ok(())
    }
}

/// The last lines of a log.
fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

fn ended(status: ExitStatus) -> anyhow::Error {
    anyhow::anyhow!("`uptake up` ended by itself: {status}")
}

async fn wait_until_ready(data_dir: &Path) -> anyhow::Result<Endpoints> {
    let started = Instant::now();
    while started.elapsed() < READY_WITHIN {
        if let Some(endpoints) = Endpoints::of_running(data_dir) {
            println!("ready after {:.1} s", started.elapsed().as_secs_f64());
            return Ok(endpoints);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("`uptake up` was not ready within {} s", READY_WITHIN.as_secs())
}

/// SIGTERM, then patience, then SIGKILL.
async fn terminate(child: &mut Child) -> anyhow::Result<ExitStatus> {
    if let Some(pid) = child.id() {
        let pid = libc::pid_t::try_from(pid).context("process id")?;
        // SAFETY: no memory is involved; the child has not been waited for, so the id is still its own.
        unsafe { libc::kill(pid, libc::SIGTERM) };
    }
    match tokio::time::timeout(ENDED_WITHIN, child.wait()).await {
        Ok(status) => Ok(status?),
        Err(_) => {
            child.kill().await?;
            bail!(
                "`uptake up` did not end within {} s and was killed",
                ENDED_WITHIN.as_secs()
            )
        }
    }
}
