//! `uptake identify`: which of the ids in a file stands behind a pseudonym (docs/privacy.md).
//!
//! Uptake stores no ids. Whoever holds the roster file and the secret can find the id of a pseudonym in it; this does so, where it is allowed, and
//! leaves an entry in the audit log with the reason before it answers.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::access::audit::{self, Action, Actor};
use crate::config::Config;
use crate::definition;
use crate::error::BadInput;
use crate::store::{Store, migrate, secret};

const SHORTEST_REASON: usize = 10;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// As it stands in a list of users: 32 hexadecimal digits
    pseudonym: String,
    /// A file that holds the ids: CSV with a column user_id, such as a roster; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    ids: PathBuf,
    /// Why it must be known; kept in the audit log
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Serialize)]
struct Identified {
    found: bool,
}

/// Prints the id. Exit code 2 where it is not allowed or the file does not hold it.
pub async fn run(config: Config, args: Args) -> anyhow::Result<()> {
    if !config.privacy.reidentification {
        let expected =
            "configuration: privacy.reidentification = false: expected true, which lets pseudonyms be turned into ids";
        return Err(BadInput::new(expected).into());
    }
    let Args { pseudonym, ids, reason } = args;
    if pseudonym.len() != 32 || !pseudonym.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(BadInput::new(format!("{pseudonym}: expected a pseudonym, 32 hexadecimal digits")).into());
    }
    let reason = reason.trim();
    if reason.chars().count() < SHORTEST_REASON {
        let expected = format!("--reason {reason:?}: expected at least {SHORTEST_REASON} characters that say why");
        return Err(BadInput::new(expected).into());
    }
    let (text, origin) = definition::read(&ids)?;
    let ids = ids_of(&text, &origin)?;
    let store = Store::new(&config.clickhouse);
    store
        .wait(Duration::from_millis(config.clickhouse.connect_timeout_ms))
        .await?;
    migrate::check(&store, &config).await?;
    let pseudonymizer = config.privacy.pseudonymizer();
    secret::check(&store, &pseudonymizer).await?;
    let stands_behind = |id: &&String| pseudonymizer.pseudonym(id).to_string().eq_ignore_ascii_case(&pseudonym);
    let object = format!("{pseudonym}: {reason}");
    let mut id = None;
    let search = async {
        id = ids.iter().find(stands_behind);
        anyhow::Ok(Identified { found: id.is_some() })
    };
    audit::record(&store, Actor::of_command(), (Action::Identify, &object), search).await?;
    let id = id.ok_or_else(|| BadInput::new(format!("{origin}: none of its {} ids has that pseudonym", ids.len())))?;
    println!("{id}");
    Ok(())
}

fn ids_of(text: &str, origin: &str) -> Result<Vec<String>, BadInput> {
    let unreadable = |e: csv::Error| BadInput::new(format!("{origin}: {e}"));
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let column = reader
        .headers()
        .map_err(unreadable)?
        .iter()
        .position(|name| name.trim() == "user_id");
    let column = column.ok_or_else(|| BadInput::new(format!("{origin}: line 1: expected a column user_id")))?;
    let mut ids = Vec::new();
    for record in reader.records() {
        let record = record.map_err(unreadable)?;
        ids.extend(record.get(column).map(|id| id.trim().to_owned()));
    }
    Ok(ids)
}
