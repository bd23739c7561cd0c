//! The `uptake` program: parse, load, observe, build, run, drain.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use uptake::config::Config;
use uptake::error::BadInput;
use uptake::{
    access, api, definition, doctor, embedded, erase, identify, import, ingest, lifecycle, ops, reconcile, rejected,
    roster, rotate, simulate, store, targets, telemetry,
};

/// Tells a company whether its enterprise software is really used after go-live.
#[derive(Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    /// Configuration file (TOML); `uptake config` prints every setting with its default
    #[arg(long, global = true, env = "UPTAKE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything on this machine: Kafka, ClickHouse's engine, ingest, targets and the API
    Up(embedded::up::Args),
    /// Consume events from Kafka into ClickHouse
    Ingest,
    /// Serve the HTTP API
    Api,
    /// Evaluate targets once a day, and tell who is behind
    Targets,
    /// Create or upgrade the ClickHouse schema and the Kafka topics
    Migrate,
    /// Define a system: its calendar, phases, features and targets
    Apply(definition::Args),
    /// The dated list of who is entitled to a system
    Roster(roster::Args),
    /// Send an existing log (CSV or NDJSON) through Kafka
    Import(import::Args),
    /// What was refused, why, and sending it again
    Rejected(rejected::Args),
    /// Send the events of a simulated company through Kafka, with known truth
    Simulate(simulate::Args),
    /// Start everything in a temporary directory, simulate, and compare every number with the truth
    Smoke(simulate::smoke::Args),
    /// Remove what leads to a person, and keep what was counted
    Erase(erase::Args),
    /// Find the id behind a pseudonym in a file of ids, where that is allowed
    Identify(identify::Args),
    /// Make every stored pseudonym anew under a further line of the secret
    RotateSecret,
    /// Compare the rollups with the raw events and repair what differs
    Reconcile(reconcile::Args),
    /// The bearer tokens of the API: make, list, revoke
    Token(access::command::Args),
    /// Say what is wrong with Kafka, ClickHouse, the settings or the schema, and how to mend it
    Doctor(doctor::Args),
    /// Ask the process that runs here whether it is ready, for health checks
    Ready,
    /// Run ClickHouse's embedded engine alone, behind ClickHouse's HTTP interface
    Clickhouse(embedded::clickhouse::Args),
    /// Print every setting with its default
    Config,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    telemetry::init();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("uptake: {error:#}");
            let users_mistake = error.chain().any(|cause| cause.is::<BadInput>());
            ExitCode::from(if users_mistake { 2 } else { 1 })
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let config = Config::load(cli.config.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let shutdown = lifecycle::shutdown_on_signal()?;
        match cli.command {
            Command::Up(args) => embedded::up::run(config, args, shutdown).await,
            Command::Ingest => ingest::run(config.resolve()?, shutdown).await,
            Command::Api => api::run(config.resolve()?, shutdown).await,
            Command::Targets => targets::run(config.resolve()?, shutdown).await,
            Command::Migrate => store::migrate::run(config.resolve()?).await,
            Command::Apply(args) => definition::apply(config.resolve()?, args).await,
            Command::Roster(args) => roster::run(config.resolve()?, args).await,
            Command::Import(args) => import::run(config, args, shutdown).await,
            Command::Rejected(args) => rejected::run(config.resolve()?, args, shutdown).await,
            Command::Simulate(args) => simulate::run(config, args, shutdown).await,
            Command::Smoke(args) => simulate::smoke::run(config, args, shutdown).await,
            Command::Erase(args) => erase::run(config.resolve()?, args).await,
            Command::Identify(args) => identify::run(config.resolve()?, args).await,
            Command::RotateSecret => rotate::run(config.resolve()?).await,
            Command::Reconcile(args) => reconcile::run(config.resolve()?, args, shutdown).await,
            Command::Token(args) => access::command::run(config.resolve()?, args).await,
            Command::Doctor(args) => doctor::run(config, args).await,
            Command::Ready => ops::ask_readiness(&config).await,
            Command::Clickhouse(args) => embedded::clickhouse::run(config, args, shutdown).await,
            Command::Config => {
                print!("{}", uptake::config::DEFAULTS);
                Ok(())
            }
        }
    })
}
