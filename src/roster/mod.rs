//! Rosters: who is entitled to a system, on which days, with which dimensions (architecture.md, "Roster file").
//!
//! User ids become pseudonyms while the text is read; the clear ids go no further than this module.

mod parse;
#[cfg(test)]
mod tests;

pub use crate::columns::Format;
pub use parse::COLUMNS;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::Date;
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::access::audit::{self, Action, Actor};
use crate::config::Config;
use crate::definition;
use crate::error::{BadInput, Problems};
use crate::event::is_system_name;
use crate::pseudonym::{Pseudonym, Pseudonymizer};
use crate::store::erasure::Tombstones;
use crate::store::{Store, secret, systems};

/// Everyone who is, was or will be entitled to one system. Rows of one user never overlap in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    /// Ordered by user and first day.
    rows: Vec<Entitlement>,
}

/// One user, entitled on the days `[from, to)`. An empty dimension is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entitlement {
    pub user: Pseudonym,
    pub kind: Kind,
    pub unit: String,
    pub role: String,
    /// Empty, `management`, `operator` or `administrator`.
    pub tier: String,
    pub site: String,
    pub phase: String,
    pub from: Date,
    /// [`crate::definition::LAST_DAY`]: open end.
    pub to: Date,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Person = 1,
    Service = 2,
}

/// What a roster is checked against besides its own rules.
pub struct Context<'a> {
    pub pseudonymizer: &'a Pseudonymizer,
    /// The phases of the system's definition; `None` while it has none: any phase is allowed then.
    pub phases: Option<&'a [String]>,
}

impl Roster {
    /// Reads the whole text and tells everything that is wrong in it. `origin` names the text in messages.
    pub fn parse(text: &str, format: Format, origin: &str, context: &Context) -> Result<Self, Problems> {
        parse::roster(text, format, origin, context)
    }

    pub fn rows(&self) -> &[Entitlement] {
        &self.rows
    }

    /// The roster without the days of erased users before their erasure: those stay counted without them (`store::erasure`).
    pub fn after_erasures(mut self, erased: &Tombstones, pseudonymizer: &Pseudonymizer) -> Self {
        self.rows
            .retain_mut(|row| match erased.first_day(pseudonymizer, row.user) {
                Some(first_day) => {
                    row.from = row.from.max(first_day);
                    row.from < row.to
                }
                None => true,
            });
        self
    }

    /// The first day of the next row of the same user and kind; [`definition::LAST_DAY`] where there is none.
    pub fn next_from(&self, index: usize) -> Date {
        let row = &self.rows[index];
        self.rows[index + 1..]
            .iter()
            .take_while(|next| next.user == row.user)
            .find(|next| next.kind == row.kind)
            .map_or(definition::LAST_DAY, |next| next.from)
    }

    pub fn users(&self) -> usize {
        self.rows.chunk_by(|a, b| a.user == b.user).count()
    }

    /// SHA-256 over the rows as stored, so that neither the order of rows and columns nor CSV or JSON make a difference,
    /// and another pseudonym key does.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        for row in &self.rows {
            hash.update(row.user.0);
            hash.update([row.kind as u8]);
            for text in [&row.unit, &row.role, &row.tier, &row.site, &row.phase] {
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text);
            }
            hash.update(row.from.to_string());
            hash.update(row.to.to_string());
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What importing a roster did.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Imported {
    pub system: String,
    /// The version now in force.
    pub version: u64,
    /// False: it was in force already, and no new version was made.
    pub changed: bool,
    pub rows: u64,
    pub users: u64,
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            system,
            version,
            rows,
            users,
            ..
        } = self;
        let what = if self.changed {
            "roster imported"
        } else {
            "roster unchanged"
        };
        write!(f, "{system}: {what} (version {version}): {rows} rows, {users} users")
    }
}

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Replace the roster of a system; the file also holds the rows of the past
    Import {
        /// user_id,kind,unit,role,tier,site,phase,entitled_from,entitled_to (CSV, or JSON if it ends in .json); `-` reads standard input
        file: PathBuf,
        /// The system whose roster it is
        #[arg(long)]
        system: String,
    },
}

/// `uptake roster import FILE --system NAME`.
pub async fn run(config: Config, args: Args) -> anyhow::Result<()> {
    let Command::Import { file, system } = args.command;
    let (text, origin) = definition::read(&file)?;
    let json = file.extension().is_some_and(|extension| extension == "json");
    let format = if json { Format::Json } else { Format::Csv };
    let imported = import(&config, &system, &text, format, &origin).await?;
    if imported.changed {
        systems::wait_until_seen().await;
    }
    println!("{imported}");
    Ok(())
}

/// Parses `csv` and makes it the roster in force; nothing happens when anything in it is wrong.
pub async fn import_text(config: &Config, system: &str, csv: &str, origin: &str) -> anyhow::Result<Imported> {
    import(config, system, csv, Format::Csv, origin).await
}

async fn import(config: &Config, system: &str, text: &str, format: Format, origin: &str) -> anyhow::Result<Imported> {
    if !is_system_name(system) {
        return Err(BadInput::new(format!("--system {system}: expected {}", definition::SYSTEM_NAME)).into());
    }
    let store = Store::new(&config.clickhouse);
    store
        .wait(Duration::from_millis(config.clickhouse.connect_timeout_ms))
        .await?;
    let pseudonymizer = &config.privacy.pseudonymizer();
    secret::check(&store, pseudonymizer).await?;
    let phases = store
        .system(system)
        .await?
        .map(|system| system.phase_ids())
        .transpose()?;
    let context = Context {
        pseudonymizer,
        phases: phases.as_deref(),
    };
    let roster = Roster::parse(text, format, origin, &context).map_err(BadInput::from)?;
    let roster = roster.after_erasures(&store.tombstones().await?, context.pseudonymizer);
    let change = store.import_roster(system, &roster);
    audit::record(&store, Actor::of_command(), (Action::ImportRoster, system), change).await
}
