//! `uptake doctor`: what keeps this installation from working, and what to do about it.
//!
//! It asks what the commands ask of Kafka, ClickHouse and the configuration when they start, with the same code, but goes on after the first
//! thing that is wrong. It changes nothing.

mod clickhouse;
mod kafka;

use std::fmt;
use std::path::Path;

use anyhow::{anyhow, bail};
use serde::Serialize;

use crate::config::{Config, Secret};
use crate::embedded::disk;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print a JSON array, one object for each check
    #[arg(long)]
    json: bool,
}

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Ok,
    Wrong,
    /// Another check is wrong on which this one rests.
    NotChecked,
}

#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    outcome: Outcome,
    /// What was seen.
    found: String,
    /// What to do. Given where something is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<&'static str>,
}

/// The findings so far, in the order of the checks.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    /// Notes what `seen` says, with `mend` if it is an error; tells whether all is well.
    fn note(&mut self, check: &'static str, mend: &'static str, seen: anyhow::Result<String>) -> bool {
        let is_well = seen.is_ok();
        self.0.push(match seen {
            Ok(found) => Finding {
                check,
                outcome: Outcome::Ok,
                found,
                mend: None,
            },
            Err(error) => Finding {
                check,
                outcome: Outcome::Wrong,
                found: format!("{error:#}"),
                mend: Some(mend),
            },
        });
        is_well
    }

    fn not_checked(&mut self, checks: &[&'static str], why: &str) {
        self.0.extend(checks.iter().map(|check| Finding {
            check,
            outcome: Outcome::NotChecked,
            found: why.to_owned(),
            mend: None,
        }));
    }
}

/// Prints every finding; an error when something is wrong.
pub async fn run(config: Config, args: Args) -> anyhow::Result<()> {
    let findings = examine(config).await;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&findings.0)?);
    } else {
        print!("{findings}");
    }
    let count = |outcome| findings.0.iter().filter(|f| f.outcome == outcome).count();
    match count(Outcome::Wrong) {
        0 => Ok(()),
        wrong => bail!("{wrong} of {} checks found something wrong", findings.0.len()),
    }
}

async fn examine(mut config: Config) -> Findings {
    let mut findings = Findings::default();
    let secret = config.read_secret();
    let told = secret.as_ref().map(|_| "the key of the pseudonyms is there".to_owned());
    findings.note(
        "privacy secret",
        "give every process the same secret, in privacy.secret or in the file that privacy.secret_file names; with another one \
         every user is a new one",
        told.map_err(|error| error.clone().into()),
    );
    // Told already; the rest is looked at all the same.
    config.privacy.secret = secret.unwrap_or_else(|_| Secret::new("-".repeat(32)));
    findings.note(
        "data directory",
        "make room on that disk: Kafka and ClickHouse of `uptake up` write there",
        data_directory(&config.data_dir),
    );
    let config = match config.resolve() {
        Ok(config) => config,
        Err(error) => {
            let mend = "change the setting that is named, in the file or in the environment; `uptake config` tells what each means";
            let told = error.to_string();
            let told = told.strip_prefix("configuration: ").unwrap_or(&told).to_owned();
            findings.note("configuration", mend, Err(anyhow!(told)));
            findings.not_checked(&["kafka", "clickhouse"], "the configuration is not complete");
            return findings;
        }
    };
    let told = "complete, and nothing in it contradicts another".to_owned();
    findings.note("configuration", "", Ok(told));
    kafka::examine(&config, &mut findings).await;
    clickhouse::examine(&config, &mut findings).await;
    findings
}

/// Only `uptake up` keeps anything there that grows.
fn data_directory(dir: &Path) -> anyhow::Result<String> {
    if !dir.exists() {
        return Ok(format!(
            "{} does not exist, no `uptake up` has run in it",
            dir.display()
        ));
    }
    let free = disk::check(dir)?;
    Ok(format!("{}: {free} MB are free", dir.display()))
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|f| f.check.len()).max().unwrap_or_default();
        for finding in &self.0 {
            let word = match finding.outcome {
                Outcome::Ok => "ok",
                Outcome::Wrong => "WRONG",
                Outcome::NotChecked => "-",
            };
            writeln!(f, "{word:5}  {:width$}  {}", finding.check, finding.found)?;
            if let Some(mend) = finding.mend {
                writeln!(f, "{:5}  {:width$}  -> {mend}", "", "")?;
            }
        }
        Ok(())
    }
}
