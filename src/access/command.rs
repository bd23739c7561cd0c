//! `uptake token`: makes, lists and revokes the bearer tokens of this installation.

use std::time::Duration;

use anyhow::Context;
use clap::Subcommand;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::Serialize;

use super::audit::{self, Action, Actor};
use super::secret;
use crate::config::{Config, Role};
use crate::definition::{SYSTEM_NAME, is_label};
use crate::error::BadInput;
use crate::event::is_system_name;
use crate::store::tokens::{NewToken, Token};
use crate::store::{Store, migrate};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a token and print it, once; only its hash is kept
    Create(New),
    /// Every token: what it may do, until when
    List,
    /// Let a token in no longer; running APIs know within seconds
    Revoke {
        /// As in `uptake token list`
        name: String,
    },
}

#[derive(Debug, clap::Args)]
struct New {
    /// Who will use it; shown in logs and in the audit log
    #[arg(long, value_parser = label)]
    name: String,
    /// What it may do; several with commas between them
    #[arg(long, value_enum, required = true, value_delimiter = ',')]
    role: Vec<Role>,
    /// Only about this system; may be given several times
    #[arg(long, value_parser = system)]
    system: Vec<String>,
    /// Only about this unit; may be given several times
    #[arg(long, value_parser = label)]
    unit: Vec<String>,
    /// When it ends: after so long (90d, 12h), at the beginning of a day in UTC (2027-01-01), at a time, or `never`
    #[arg(long, value_parser = expiry, default_value = "365d")]
    expires: Expiry,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expiry {
    Never,
    At(Timestamp),
}

pub async fn run(config: Config, args: Args) -> anyhow::Result<()> {
    let store = Store::new(&config.clickhouse);
    store
        .wait(Duration::from_millis(config.clickhouse.connect_timeout_ms))
        .await?;
    migrate::check(&store, &config).await?;
    match args.command {
        Command::Create(new) => create(&store, new, config.api.authentication).await,
        Command::List => list(&store).await,
        Command::Revoke { name } => revoke(&store, &name).await,
    }
}

/// The token alone goes to standard output, so that a script can take it from there.
async fn create(store: &Store, new: New, is_required: bool) -> anyhow::Result<()> {
    let before = store.token(&new.name).await?;
    if before.as_ref().is_some_and(|before| before.is_live(Timestamp::now())) {
        let why = "expected a name that no token in force has (`uptake token list`)";
        return Err(BadInput::new(format!("--name {}: {why}", new.name)).into());
    }
    let token = secret::make().context("random numbers of the operating system")?;
    let mut roles = new.role;
    roles.sort_unstable();
    roles.dedup();
    let stored = NewToken {
        name: new.name.clone(),
        sha256: secret::hash(&token),
        expires_at: match new.expires {
            Expiry::Never => None,
            Expiry::At(at) => Some(at),
        },
        roles: roles.iter().map(|role| role.word().to_owned()).collect(),
        systems: new.system,
        units: new.unit,
    };
    let granted = Granted::of(&stored);
    let what = (Action::CreateToken, new.name.as_str());
    let change = async { store.add_token(stored, before.as_ref()).await.map(|()| granted) };
    audit::record(store, Actor::of_command(), what, change).await?;
    println!("{token}");
    eprintln!("This is shown only now. It is sent as  Authorization: Bearer <token>");
    if !is_required {
        eprintln!("api.authentication is false here: the API also answers whoever has no token.");
    }
    Ok(())
}

/// What the audit log keeps of a new token.
#[derive(Serialize)]
struct Granted {
    roles: Vec<String>,
    systems: Vec<String>,
    units: Vec<String>,
    expires_at: Option<Timestamp>,
}

impl Granted {
    fn of(token: &NewToken) -> Self {
        Self {
            roles: token.roles.clone(),
            systems: token.systems.clone(),
            units: token.units.clone(),
            expires_at: token.expires_at,
        }
    }
}

async fn list(store: &Store) -> anyhow::Result<()> {
    let tokens = store.tokens().await?;
    let title = ["NAME", "ROLES", "SYSTEMS", "UNITS", "CREATED", "EXPIRES", "STATE"].map(str::to_owned);
    let now = Timestamp::now();
    let lines: Vec<_> = std::iter::once(title)
        .chain(tokens.iter().map(|token| line(token, now)))
        .collect();
    let mut widths = [0; 7];
    for line in &lines {
        for (width, text) in widths.iter_mut().zip(line) {
            *width = text.chars().count().max(*width);
        }
    }
    for line in &lines {
        let cells = line.iter().zip(widths).map(|(text, width)| format!("{text:<width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    Ok(())
}

fn line(token: &Token, now: Timestamp) -> [String; 7] {
    let all_or = |names: &[String]| match names {
        [] => "all".to_owned(),
        names => names.join(","),
    };
    let time = |ms: i64| Timestamp::from_millisecond(ms).map_or_else(|_| String::new(), |at| format!("{at:.0}"));
    let state = match token.revoked {
        true => "revoked",
        false if token.is_live(now) => "in force",
        false => "expired",
    };
    [
        token.name.clone(),
        token.roles.join(","),
        all_or(&token.systems),
        all_or(&token.units),
        time(token.created_at),
        token.expires_at.map_or_else(|| "never".to_owned(), time),
        state.to_owned(),
    ]
}

async fn revoke(store: &Store, name: &str) -> anyhow::Result<()> {
    let token = store.token(name).await?;
    let Some(token) = token.filter(|token| !token.revoked) else {
        let why = "expected the name of a token that is not revoked (`uptake token list`)";
        return Err(BadInput::new(format!("{name}: {why}")).into());
    };
    let change = store.revoke_token(token);
    audit::record(store, Actor::of_command(), (Action::RevokeToken, name), change).await?;
    println!("{name}: revoked");
    Ok(())
}

fn label(text: &str) -> Result<String, String> {
    match is_label(text) {
        true => Ok(text.to_owned()),
        false => Err("expected 1 to 128 characters, no control characters".to_owned()),
    }
}

fn system(text: &str) -> Result<String, String> {
    match is_system_name(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("expected {SYSTEM_NAME}")),
    }
}

fn expiry(text: &str) -> Result<Expiry, String> {
    if text == "never" {
        return Ok(Expiry::Never);
    }
    let now = Timestamp::now();
    let after = |span: Span| {
        now.to_zoned_datetime(TimeZone::UTC)
            .checked_add(span)
            .ok()
            .map(|at| at.timestamp())
    };
    let day = |day: Date| day.to_zoned_datetime(TimeZone::UTC).ok().map(|at| at.timestamp());
    let at = match (text.parse(), text.parse(), text.parse()) {
        (Ok(at), _, _) => Some(at),
        (_, Ok(date), _) => day(date),
        (_, _, Ok(span)) => after(span),
        _ => None,
    };
    at.filter(|at| *at > now).map(Expiry::At).ok_or_else(|| {
        "expected so long (90d, 12h), a day (2027-01-01), a time (2027-01-01T08:00:00Z), all of them to come, or never".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_in_the_future_or_never() {
        assert_eq!(expiry("never"), Ok(Expiry::Never));
        assert_eq!(
            expiry("2149-01-01"),
            Ok(Expiry::At("2149-01-01T00:00:00Z".parse().unwrap()))
        );
        let Ok(Expiry::At(at)) = expiry("90d") else {
            panic!("90d")
        };
        let days = (at - Timestamp::now()).as_secs_f64() / 86_400.0;
        assert!((89.9..=90.0).contains(&days), "{days}");
        for refused in ["", "soon", "2020-01-01", "-1d", "0s", "2020-01-01T00:00:00Z"] {
            assert!(expiry(refused).is_err(), "{refused}");
        }
    }
}
