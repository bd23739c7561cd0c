//! `uptake rejected`: what was refused, why, and sending it again after the cause is mended.
//!
//! ```text
//! topic of rejects ─► topic (each refusal once) ─► list | show | retry ─► topic of events
//! ```

mod list;
mod retry;
mod show;
pub mod topic;

use std::fmt;
use std::str::FromStr;

use clap::Subcommand;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::{Serialize, Serializer};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::error::BadInput;
use crate::event::Reason;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the newest rejects, and count all by reason
    List(list::Args),
    /// Show one reject: why it was refused, its headers and its payload
    Show {
        /// Where it came from, as `list` prints it: TOPIC/PARTITION/OFFSET
        origin: Origin,
    },
    /// Send rejects to the topic of events again: the same bytes, key and headers, each once
    Retry(retry::Args),
}

pub async fn run(config: Config, args: Args, shutdown: CancellationToken) -> anyhow::Result<()> {
    match args.command {
        Command::List(args) => list::run(&config, args).await,
        Command::Show { origin } => show::run(&config, origin).await,
        Command::Retry(args) => retry::run(&config, args, &shutdown).await,
    }
}

/// Where a refused message stood.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Origin {
    type Err = BadInput;

    fn from_str(text: &str) -> Result<Self, BadInput> {
        let parse = || {
            let mut parts = text.rsplitn(3, '/');
            let offset = parts.next()?.parse().ok().filter(|offset| *offset >= 0)?;
            let partition = parts.next()?.parse().ok().filter(|partition| *partition >= 0)?;
            let topic = parts.next().filter(|topic| !topic.is_empty())?.to_owned();
            Some(Self {
                topic,
                partition,
                offset,
            })
        };
        parse().ok_or_else(|| {
            BadInput::new(format!(
                "{text:?}: expected TOPIC/PARTITION/OFFSET, as `uptake rejected list` prints it"
            ))
        })
    }
}

/// A reason code as one of those that exist.
fn reason(text: &str) -> Result<&'static str, String> {
    let codes = || Reason::ALL.iter().map(|reason| reason.code());
    codes().find(|code| *code == text).ok_or_else(|| {
        let known: Vec<_> = codes().collect();
        format!("expected one of {}", known.join(", "))
    })
}

/// A time, a day (its beginning in UTC), or so long ago.
fn since(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let midnight = |day: jiff::civil::Date| day.to_zoned_datetime(TimeZone::UTC);
    let ago = |span: Span| {
        Timestamp::now()
            .to_zoned_datetime(TimeZone::UTC)
            .checked_sub(span.abs())
    };
    let time = match text.parse() {
        Ok(day) => midnight(day),
        Err(_) => text.parse().and_then(ago),
    };
    time.map(|time| time.timestamp())
        .map_err(|_| "expected a time (2026-03-02T08:15:00Z), a day (2026-03-02) or so long ago (2h, 7d)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_read_as_it_is_written() {
        for text in ["usage.events/0/156763", "a/b/3/0"] {
            assert_eq!(text.parse::<Origin>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "usage.events",
            "usage.events/0",
            "/0/1",
            "t/-1/1",
            "t/0/-1",
            "t/0/x",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }

    #[test]
    fn since_is_a_time_a_day_or_so_long_ago() {
        assert_eq!(
            since("2026-03-02T09:15:00+01:00").unwrap().to_string(),
            "2026-03-02T08:15:00Z"
        );
        assert_eq!(since("2026-03-02").unwrap().to_string(), "2026-03-02T00:00:00Z");
        let two_days = since("2d").unwrap();
        let hours = (Timestamp::now() - two_days).as_secs_f64() / 3_600.0;
        assert!((47.9..48.1).contains(&hours), "{hours}");
        assert!(since("yesterday").is_err());
    }
}
