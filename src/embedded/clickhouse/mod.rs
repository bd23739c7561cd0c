//! `uptake clickhouse`: ClickHouse's HTTP interface over ClickHouse's embedded engine (libchdb).
//!
//! ```text
//! http ─► statement (what is it?) ─► pool (a thread, a fresh connection) ─► engine (libchdb)
//!   └─ auth, input, compression, native, error: ClickHouse's wire forms
//! ```
//!
//! The engine has one user; who may ask, and what the reader may, is decided here.

mod auth;
mod compression;
mod engine;
mod error;
mod http;
mod input;
mod native;
mod pool;
mod reader;
mod statement;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use axum::serve::ListenerExt;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config};

pub use self::engine::check_library;
use self::engine::{Engine, Params};
use self::http::Interface;
use self::pool::Pool;
use self::reader::Reader;

/// `clickhouse.user` and `clickhouse.password` are the user and password it asks for; `clickhouse.reader` may read the numbers.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory of the data [default: clickhouse in data_dir]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Address to listen on; port 0 takes any free one [default: embedded.clickhouse_port on 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

/// Serves until `shutdown`. Prints `clickhouse: http://HOST:PORT` when it is ready.
pub async fn run(mut config: Config, args: Args, shutdown: CancellationToken) -> anyhow::Result<()> {
    config.clickhouse.read_passwords()?;
    let data = args.data.unwrap_or_else(|| config.data_dir.join("clickhouse"));
    let data = std::path::absolute(&data).with_context(|| format!("directory {}", data.display()))?;
    let listen = args
        .listen
        .unwrap_or_else(|| (Ipv4Addr::LOCALHOST, config.embedded.clickhouse_port).into());
    let _lock = super::lock(&data)?;

    let settings = config.embedded.clone();
    let (engine, version) = tokio::task::spawn_blocking(move || open(&data, &settings)).await??;
    let interface = Arc::new(Interface {
        reader: Reader::of(&config)?.map(Arc::new),
        pool: Pool::start(Arc::new(engine), config.embedded.connections)?,
        user: config.clickhouse.user,
        password: config.clickhouse.password,
        version,
    });
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .with_context(|| format!("listening on {listen}"))?;
    let address = listener.local_addr()?;
    let listener = listener.tap_io(|connection| {
        // Answers are small and awaited: they must not wait for the acknowledgement of their heads.
        let _ = connection.set_nodelay(true);
    });
    println!("clickhouse: http://{address}");

    axum::serve(listener, http::router(Arc::clone(&interface)))
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await?;
    // The pool waits for its statements; then the engine closes its tables.
    tokio::task::spawn_blocking(move || drop(interface)).await?;
    Ok(())
}

fn open(data: &Path, settings: &config::Embedded) -> anyhow::Result<(Engine, String)> {
    let config_file = data.join("config.xml");
    std::fs::write(&config_file, engine_config(data, settings))
        .with_context(|| format!("writing {}", config_file.display()))?;
    let engine = Engine::open(&settings.chdb_library, &data.join("store"), &config_file)?;
    let version = engine
        .connect()?
        .query(b"SELECT version()", "TabSeparated", &Params::default())
        .map_err(|e| anyhow!("the embedded engine does not work: {}", e.body("?")))?;
    let version = String::from_utf8_lossy(&version.data).trim().to_owned();
    Ok((engine, version))
}

/// The engine's configuration. Its own defaults suit interactive use; these suit ingest: an INSERT is written when it is
/// answered, and deduplicated in the views as in the table.
fn engine_config(data: &Path, settings: &config::Embedded) -> String {
    let config::Embedded {
        max_memory_bytes,
        statement_timeout_ms,
        ..
    } = settings;
    let escape = |path: PathBuf| {
        path.display()
            .to_string()
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
    };
    format!(
        "<clickhouse>
    <logger><log>{log}</log><size>10M</size><count>3</count></logger>
    <max_server_memory_usage>{max_memory_bytes}</max_server_memory_usage>
    <users_config>{users}</users_config>
    <backups><allowed_path>{backups}/</allowed_path></backups>
    <profiles><default>
        <session_timezone>UTC</session_timezone>
        <async_insert>0</async_insert>
        <deduplicate_blocks_in_dependent_materialized_views>1</deduplicate_blocks_in_dependent_materialized_views>
        <max_memory_usage>{max_memory_bytes}</max_memory_usage>
        <max_execution_time>{timeout}</max_execution_time>
    </default></profiles>
    <users><default>
        <password></password><profile>default</profile><quota>default</quota><networks><ip>::/0</ip></networks>
    </default></users>
    <quotas><default/></quotas>
</clickhouse>
",
        log = escape(data.join("engine.log")),
        users = escape(data.join("config.xml")),
        backups = escape(data.join("backups")),
        timeout = *statement_timeout_ms as f64 / 1000.0,
    )
}
