//! Apache Kafka as a child process: KRaft, one node, on loopback.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::error::BadInput;

use super::child::{Child, Output};

const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// Where a broker keeps its data and where it is reached. Outlives the broker's process, so that another can take its place.
#[derive(Debug, Clone)]
pub struct Kafka {
    dir: PathBuf,
    libs: PathBuf,
    java: PathBuf,
    heap_mb: u32,
    port: u16,
    controller_port: u16,
}

impl Kafka {
    /// Chooses the ports and writes the broker's configuration into `dir`; formats its storage the first time.
    pub async fn prepare(dir: &Path, config: &config::Embedded) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        let present = std::fs::read_dir(&config.kafka_libs).is_ok_and(|mut files| {
            files.any(|f| f.is_ok_and(|f| f.file_name().to_string_lossy().starts_with("kafka_2.13-")))
        });
        if !present {
            return Err(BadInput::new(format!(
                "embedded.kafka_libs = {}: Apache Kafka is not there; run `make tools` to fetch it",
                config.kafka_libs.display()
            ))
            .into());
        }
        let (port, controller_port) = choose_ports(config.kafka_port)?;
        let kafka = Self {
            dir: std::path::absolute(dir)?,
            libs: std::path::absolute(&config.kafka_libs)?,
            java: config.java.clone(),
            heap_mb: config.kafka_heap_mb,
            port,
            controller_port,
        };
        std::fs::write(kafka.properties(), kafka.server_properties())
            .with_context(|| format!("writing {}", kafka.properties().display()))?;
        if !kafka.dir.join("data/meta.properties").is_file() {
            kafka.format().await?;
        }
        Ok(kafka)
    }

    /// `host:port`, as clients name it.
    pub fn address(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    pub fn log(&self) -> PathBuf {
        self.dir.join("kafka.log")
    }

    /// Starts the broker and waits until it answers clients.
    pub async fn start(&self) -> anyhow::Result<Child> {
        let mut java = self.java();
        java.arg(format!("-Xmx{}m", self.heap_mb))
            .args(["-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:+ExitOnOutOfMemoryError"])
            .arg("kafka.Kafka")
            .arg(self.properties());
        let (mut child, _) = Child::spawn("Kafka", java, &self.log(), Output::Log, STOP_TIMEOUT)
            .await
            .map_err(|e| self.name_java(e))?;
        tokio::select! {
            answers = self.answers() => answers?,
            how = child.ended() => bail!("Kafka ended while starting ({how}); see {}", self.log().display()),
        }
        Ok(child)
    }

    async fn format(&self) -> anyhow::Result<()> {
        // A cluster id is the URL-safe base64 of 16 bytes: 21 free characters and one that carries two bits.
        let id = format!("{}A", &uuid::Uuid::new_v4().simple().to_string()[..21]);
        let mut java = self.java();
        java.args([
            "-XX:TieredStopAtLevel=1",
            "kafka.tools.StorageTool",
            "format",
            "-t",
            &id,
            "-c",
        ])
        .arg(self.properties());
        let (mut child, _) = Child::spawn("Kafka's storage tool", java, &self.log(), Output::Log, STOP_TIMEOUT)
            .await
            .map_err(|e| self.name_java(e))?;
        let how = child.ended().await;
        if !self.dir.join("data/meta.properties").is_file() {
            bail!(
                "Kafka's storage could not be formatted ({how}); see {}",
                self.log().display()
            );
        }
        Ok(())
    }

    /// A program that is not there is a mistake of the configuration.
    fn name_java(&self, error: anyhow::Error) -> anyhow::Error {
        match error.downcast_ref::<std::io::Error>() {
            Some(io) if io.kind() == std::io::ErrorKind::NotFound => BadInput::new(format!(
                "configuration: embedded.java = {}: not found; expected Java 17 or newer",
                self.java.display()
            ))
            .into(),
            _ => error,
        }
    }

    fn java(&self) -> Command {
        let mut java = Command::new(&self.java);
        java.arg("-Djava.awt.headless=true")
            .arg("-Dorg.apache.logging.log4j.level=WARN")
            .arg("-cp")
            .arg(self.libs.join("*"))
            .current_dir(&self.dir);
        java
    }

    fn properties(&self) -> PathBuf {
        self.dir.join("server.properties")
    }

    fn server_properties(&self) -> String {
        let Self {
            port, controller_port, ..
        } = self;
        format!(
            "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
",
            data = self.dir.join("data").display().to_string().replace('\\', "\\\\"),
        )
    }

    /// Returns when the broker gives its metadata: an open port alone says nothing.
    async fn answers(&self) -> anyhow::Result<()> {
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.address())
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "200")
            .create()?;
        let address = self.address();
        // Whoever gives up waiting must not leave a thread that goes on asking.
        let given_up = CancellationToken::new();
        let _give_up = given_up.clone().drop_guard();
        let asked = tokio::task::spawn_blocking(move || {
            let started = Instant::now();
            loop {
                match client.fetch_metadata(None, Duration::from_millis(500)) {
                    Ok(metadata) if !metadata.brokers().is_empty() => return Ok(()),
                    _ if given_up.is_cancelled() => bail!("no longer waited for"),
                    _ if started.elapsed() < START_TIMEOUT => std::thread::sleep(Duration::from_millis(50)),
                    Ok(_) => bail!("Kafka at {address} knew no broker within {} s", START_TIMEOUT.as_secs()),
                    Err(error) => {
                        bail!(
                            "Kafka at {address} did not answer within {} s: {error}",
                            START_TIMEOUT.as_secs()
                        )
                    }
                }
            }
        });
        asked.await?.with_context(|| format!("see {}", self.log().display()))
    }
}

/// The port for clients, any free one for 0, and a free one for the controller.
fn choose_ports(wanted: u16) -> anyhow::Result<(u16, u16)> {
    let clients = super::take_port("embedded.kafka_port", wanted)?;
    let controller = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok((clients.local_addr()?.port(), controller.local_addr()?.port()))
}
