//! `uptake up`: everything on one machine, in one data directory.
//!
//! Kafka and the engine are children, watched and restarted; ingest, targets and the API run in this process. Stopping goes against
//! the flow of the data: first what reads and writes, then the engine, then the broker.

use std::collections::VecDeque;
use std::fs::File;
use std::future::ready;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rand::TryRngCore;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api;
use crate::config::{Config, Endpoints, Reader};
use crate::error::BadInput;
use crate::ingest;
use crate::metrics::Metrics;
use crate::ops;
use crate::rotate;
use crate::simulate;
use crate::store::{Store, migrate, rotation, secret};
use crate::targets;

use super::Child;
use super::disk;
use super::engine::Engine;
use super::kafka::Kafka;

/// What dies more often than this within the window is not restarted any more.
const ENGINE: &str = "ClickHouse's engine";
const RESTARTS: usize = 3;
const RESTART_WINDOW: Duration = Duration::from_secs(5 * 60);
/// The pause before another worker starts.
const REJOIN: Duration = Duration::from_secs(1);
/// Beyond the drain of a partition: answering what is asked, committing, leaving the group.
const DRAIN_MARGIN: Duration = Duration::from_secs(15);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Load a simulated company (system `demo`) on the first run, and say what to ask about it
    #[arg(long)]
    demo: bool,
}

/// When and how this run began.
struct Begun {
    at: Instant,
    demo: bool,
}

pub async fn run(config: Config, args: Args, shutdown: CancellationToken) -> anyhow::Result<()> {
    let begun = Begun {
        at: Instant::now(),
        demo: args.demo,
    };
    let _lock = super::lock(&config.data_dir)?;
    // Left by one that was killed.
    let _ = std::fs::remove_file(config.data_dir.join(Endpoints::FILE));
    // Before anything is started: a port that is taken must not cost the wait for the rest.
    let api_listener = bind("api.listen", config.api.listen).await?;
    let ops_listener = bind("ops.listen", config.ops.listen).await?;
    let mut children = match Children::start(&config, &shutdown).await? {
        Some(children) => children,
        None => return Ok(()),
    };
    let services = async {
        make_secret(&config)?;
        let config = children.addressed(config).resolve()?;
        migrate::run(config.clone()).await?;
        let (store, key) = (Store::new(&config.clickhouse), config.privacy.pseudonymizer());
        if rotation::is_due(&store, &key).await? {
            rotate::rotate(&store, &config).await?;
        }
        secret::check(&store, &key).await?;
        serve(config, [api_listener, ops_listener], &mut children, begun, &shutdown).await
    };
    let outcome = services.await;
    children.stop().await;
    outcome
}

/// From running children and an up-to-date schema to the end of everything that uses them.
async fn serve(
    config: Config,
    [api_listener, ops_listener]: [TcpListener; 2],
    children: &mut Children,
    begun: Begun,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let endpoints = Endpoints {
        kafka: config.kafka.brokers.clone(),
        clickhouse: config.clickhouse.url.clone(),
        api: format!("http://{}", api_listener.local_addr()?),
        ops: format!("http://{}", ops_listener.local_addr()?),
    };

    let stop = CancellationToken::new();
    let metrics = Arc::new(Metrics::default());
    let trouble = ingest::Trouble::default();
    let data_dir = config.data_dir.clone();
    let health = ops::Health::default().with("disk", move || ready(disk::check(&data_dir).map(drop)));
    let health = trouble
        .told_by(health)
        .with_clickhouse(&Store::new(&config.clickhouse))
        .with_kafka(&config.kafka.brokers);
    let ingest = keep_ingesting(config.clone(), metrics.clone(), trouble, stop.clone());
    let api = api::serve(config.clone(), api_listener, metrics.clone(), stop.clone());
    let targets = targets::watch(config.clone(), metrics.clone(), stop.clone());
    let ops = ops::serve(ops_listener, health, metrics, stop.clone());
    let mut services = JoinSet::new();
    services.spawn(async { ("ingest", ingest.await) });
    services.spawn(async { ("the API", api.await) });
    services.spawn(async { ("targets", targets.await) });
    services.spawn(async { ("the operations port", ops.await) });
    let announced = Announced::write(&config.data_dir, &endpoints)?;
    print_ready(&config, &endpoints, begun.at.elapsed());
    let demo = async {
        if begun.demo {
            let shown = simulate::demo::show(&config, &endpoints, shutdown.clone()).await;
            shown.context("the demo")?;
        }
        std::future::pending().await
    };

    let mut outcome = tokio::select! {
        biased;
        () = shutdown.cancelled() => Ok(()),
        result = children.supervise() => result,
        result = demo => result,
        Some(ended) = services.join_next() => match ended? {
            (name, Ok(())) => Err(anyhow::anyhow!("{name} ended unasked")),
            (name, Err(error)) => Err(error.context(name)),
        },
    };
    drop(announced);
    stop.cancel();
    let patience = Duration::from_millis(config.ingest.drain_timeout_ms) + DRAIN_MARGIN;
    let drained = tokio::time::timeout(patience, async {
        while let Some(ended) = services.join_next().await {
            if let (name, Err(error)) = ended? {
                return Err(error.context(name));
            }
        }
        Ok(())
    });
    match drained.await {
        Ok(result) => outcome = outcome.and(result),
        Err(_) => tracing::error!(seconds = patience.as_secs(), "ingest and the API did not stop in time"),
    }
    outcome
}

/// A worker, and another when it gives up: its start needs Kafka and the engine, which may just be restarting.
async fn keep_ingesting(
    config: Config,
    metrics: Arc<Metrics>,
    trouble: ingest::Trouble,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut deaths = Deaths::default();
    loop {
        match ingest::work(config.clone(), metrics.clone(), trouble.clone(), stop.clone()).await {
            Err(error) if !stop.is_cancelled() => deaths.note("ingest", &format!("{error:#}"), None)?,
            ended => return ended,
        }
        stop.run_until_cancelled(tokio::time::sleep(REJOIN)).await;
    }
}

async fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, BadInput> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|e| {
        BadInput::new(format!(
            "configuration: {key} = {address}: {e}; give another port, or 0 for any free one"
        ))
    })
}

/// Kafka and the engine, with their running processes.
struct Children {
    kafka: Kafka,
    engine: Engine,
    broker: Child,
    running: Child,
    data_dir: PathBuf,
}

impl Children {
    /// None when `shutdown` came first.
    async fn start(config: &Config, shutdown: &CancellationToken) -> anyhow::Result<Option<Self>> {
        let program = std::env::current_exe().context("the path of this program")?;
        let mut engine = Engine::prepare(program, &config.data_dir.join("clickhouse"), config)?;
        let both = async {
            let kafka = async {
                let kafka = Kafka::prepare(&config.data_dir.join("kafka"), &config.embedded).await?;
                let broker = kafka.start().await?;
                anyhow::Ok((kafka, broker))
            };
            tokio::try_join!(kafka, engine.start())
        };
        let Some(started) = shutdown.run_until_cancelled(both).await else {
            return Ok(None);
        };
        let ((kafka, broker), running) = started?;
        Ok(Some(Self {
            kafka,
            engine,
            broker,
            running,
            data_dir: config.data_dir.clone(),
        }))
    }

    /// `config` with the addresses at which they are reached.
    fn addressed(&self, mut config: Config) -> Config {
        config.use_embedded_kafka(self.kafka.address());
        config.clickhouse.url = self.engine.url();
        // The engine lets it in by itself.
        config.clickhouse.reader = Reader::default();
        config
    }

    /// Restarts what dies; returns the error that makes this useless.
    async fn supervise(&mut self) -> anyhow::Result<()> {
        let (mut kafka_deaths, mut engine_deaths) = (Deaths::default(), Deaths::default());
        loop {
            tokio::select! {
                how = self.broker.ended() => {
                    let log = self.kafka.log();
                    kafka_deaths.outlive("Kafka", &how, &log, &self.data_dir).await?;
                    self.broker = loop {
                        match self.kafka.start().await {
                            Ok(broker) => break broker,
                            Err(error) => {
                                let how = format!("{error:#}");
                                kafka_deaths.outlive("Kafka", &how, &log, &self.data_dir).await?;
                            }
                        }
                    };
                    tracing::info!("Kafka runs again");
                }
                how = self.running.ended() => {
                    let log = self.engine.log();
                    engine_deaths.outlive(ENGINE, &how, &log, &self.data_dir).await?;
                    self.running = loop {
                        match self.engine.start().await {
                            Ok(running) => break running,
                            Err(error) => {
                                let how = format!("{error:#}");
                                engine_deaths.outlive(ENGINE, &how, &log, &self.data_dir).await?;
                            }
                        }
                    };
                    tracing::info!("ClickHouse's engine runs again");
                }
            }
        }
    }

    async fn stop(self) {
        self.running.stop().await;
        self.broker.stop().await;
    }
}

/// When something died lately.
#[derive(Default)]
struct Deaths(VecDeque<Instant>);

impl Deaths {
    /// [`Self::note`] for what writes to `dir`. Where that has no room it waits: to die of it says nothing about the next time.
    async fn outlive(&mut self, name: &str, how: &str, log: &Path, dir: &Path) -> anyhow::Result<()> {
        if let Err(full) = disk::check(dir) {
            tracing::error!("{name} ended ({how}); restarting it when there is room: {full:#}");
            disk::await_room(dir).await;
            return Ok(());
        }
        self.note(name, how, Some(log))
    }

    /// Says that `name` died, and where its log is; an error when it did so too often to go on.
    fn note(&mut self, name: &str, how: &str, log: Option<&Path>) -> anyhow::Result<()> {
        let see = log.map(|log| format!("; see {}", log.display())).unwrap_or_default();
        self.0.retain(|at| at.elapsed() < RESTART_WINDOW);
        if self.0.len() >= RESTARTS {
            let minutes = RESTART_WINDOW.as_secs() / 60;
            bail!("{name} ended ({how}) after {RESTARTS} restarts within {minutes} minutes{see}");
        }
        self.0.push_back(Instant::now());
        tracing::error!("{name} ended ({how}); restarting it{see}");
        Ok(())
    }
}

/// The file by which other commands find us, while we run.
struct Announced(PathBuf);

impl Announced {
    fn write(data_dir: &Path, endpoints: &Endpoints) -> anyhow::Result<Self> {
        let path = data_dir.join(Endpoints::FILE);
        // Whoever reads it sees all of it.
        let draft = path.with_extension("json.new");
        std::fs::write(&draft, serde_json::to_vec_pretty(endpoints)?)
            .and_then(|()| std::fs::rename(&draft, &path))
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "could not be removed");
        }
    }
}

/// Makes the key of the pseudonyms on the first run. It is never replaced: with another key every user would be a new one.
fn make_secret(config: &Config) -> anyhow::Result<()> {
    if !config.privacy.secret.is_empty() || !config.privacy.secret_file.as_os_str().is_empty() {
        return Ok(());
    }
    let path = config.data_dir.join("secret");
    let draft = config.data_dir.join("secret.new");
    if path.exists() {
        return Ok(());
    }
    let mut key = [0u8; 32];
    rand::rngs::OsRng
        .try_fill_bytes(&mut key)
        .context("random numbers of the operating system")?;
    let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let write = || -> std::io::Result<()> {
        let mut file = File::options()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&draft)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        std::fs::rename(&draft, &path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

fn print_ready(config: &Config, endpoints: &Endpoints, took: Duration) {
    println!(
        "uptake is ready after {:.1} s; Ctrl-C stops everything, the data stay
  API         {}  (readable at {}/docs)
  Kafka       {}  (topic {})
  ClickHouse  {}  (database {})
  metrics     {}/metrics
  data        {}",
        took.as_secs_f64(),
        endpoints.api,
        endpoints.api,
        endpoints.kafka,
        config.kafka.topic,
        endpoints.clickhouse,
        config.clickhouse.database,
        endpoints.ops,
        config.data_dir.display(),
    );
}
