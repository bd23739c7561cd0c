//! `uptake erase`: removes what leads to a person (docs/privacy.md).

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::access::audit::{self, Action, Actor};
use crate::config::Config;
use crate::definition;
use crate::error::BadInput;
use crate::pseudonym::Pseudonym;
use crate::store::erasure::{Erased, Eraser};
use crate::store::{Store, migrate, secret};

/// Of one run; each is a short text in every statement.
const MOST: usize = 1_000;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ids of the users, as the observed system knows them
    #[arg(value_name = "USER_ID", required_unless_present = "file")]
    users: Vec<String>,
    /// A file with one id on each line; `-` reads standard input
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Erases the users named, once each.
pub async fn run(config: Config, args: Args) -> anyhow::Result<()> {
    let mut ids: BTreeSet<String> = args.users.into_iter().collect();
    if let Some(file) = &args.file {
        let (text, _) = definition::read(file)?;
        ids.extend(
            text.lines()
                .map(str::trim)
                .filter(|id| !id.is_empty())
                .map(str::to_owned),
        );
    }
    if ids.is_empty() || ids.len() > MOST {
        let given = ids.len();
        return Err(BadInput::new(format!("{given} user ids: expected 1 to {MOST} in one run")).into());
    }
    let store = Store::new(&config.clickhouse);
    store
        .wait(Duration::from_millis(config.clickhouse.connect_timeout_ms))
        .await?;
    migrate::check(&store, &config).await?;
    let pseudonymizer = config.privacy.pseudonymizer();
    secret::check(&store, &pseudonymizer).await?;
    let users: Vec<Pseudonym> = ids.iter().map(|id| pseudonymizer.pseudonym(id)).collect();
    let erased = audited(&store, &Eraser::new(&store, &config), Actor::of_command(), &users).await?;
    println!("{erased}");
    Ok(())
}

/// Erases with an entry in the audit log, which tells how many users and not which.
pub async fn audited(store: &Store, eraser: &Eraser, actor: Actor, users: &[Pseudonym]) -> anyhow::Result<Erased> {
    let object = format!("{} users", users.len());
    audit::record(store, actor, (Action::EraseUsers, &object), eraser.erase(users)).await
}

impl fmt::Display for Erased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            found,
            unknown,
            events,
            user_days,
            roster_rows,
            trainings,
        } = self;
        write!(
            f,
            "erased {found} users: {events} raw events removed, {user_days} rows of clicks and {roster_rows} roster rows made nameless, \
             {trainings} training dates removed"
        )?;
        match unknown {
            0 => Ok(()),
            n => write!(f, "\nof {n} ids nothing is known: never seen, or erased before"),
        }
    }
}
