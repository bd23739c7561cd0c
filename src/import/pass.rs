//! The two passes over a log: check, then send.

use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::bail;
use jiff::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

use super::Plan;
use super::action::{Action, Bad, Envelope};
use super::derive::Users;
use super::log::{Log, Next};
use super::progress::Progress;
use super::send::Sender;
use super::state::{Mark, StateFile};
use crate::error::{BadInput, Problems};

/// Bad rows that are listed; more are only counted.
const LISTED: u64 = 20;
/// Rows between two looks at the clock and at the shutdown.
const GLANCE: u64 = 1024;
/// The longest to wait for acknowledgements once stopped.
const DRAIN: Duration = Duration::from_secs(10);

/// What the first pass found.
pub struct Checked {
    name: String,
    rows: u64,
    bad: u64,
    users: usize,
    /// The first and the last moment.
    span: Option<(Timestamp, Timestamp)>,
    bytes: u64,
    /// Where to begin sending: after what was sent before, if the file still begins with it.
    resume: Mark,
    /// The end of what was checked. What is appended meanwhile is left for the next time.
    end: Mark,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} rows of {} users", self.name, self.rows, self.users)?;
        if let Some((first, last)) = self.span {
            write!(f, ", {first:.0} to {last:.0}")?;
        }
        if self.bad > 0 {
            write!(f, ", {} bad rows left out", self.bad)?;
        }
        Ok(())
    }
}

/// A row whose event would be refused for its age.
#[derive(Clone, Copy)]
struct TooOld {
    line: u64,
    time: Timestamp,
    /// Of the whole log.
    oldest: Timestamp,
}

/// Reads the whole log. `known`: how far an earlier import of it came. Fails, naming line, column and value, when there is
/// a row that cannot be sent or would be refused; then nothing has been written either.
pub fn check(plan: &Plan, known: Option<Mark>, stopped: &dyn Fn() -> bool) -> anyhow::Result<Checked> {
    let mut log = plan.open()?;
    let bytes = std::fs::metadata(&plan.file)?.len();
    let start = Mark {
        position: log.position(),
        chain: 0,
    };
    let mut checked = Checked {
        name: plan.file.display().to_string(),
        rows: 0,
        bad: 0,
        users: 0,
        span: None,
        bytes,
        resume: start,
        end: start,
    };
    let mut problems = Problems::new(&checked.name);
    let mut progress = Progress::new("checking", start.position, bytes);
    let mut user_hashes = HashSet::new();
    let mut roster = plan.derive_roster.as_ref().map(|_| Users::default());
    let mut too_old: Option<TooOld> = None;
    let mut mark = start;
    loop {
        let next = log.advance()?;
        if next == Next::End {
            break;
        }
        let id = log.hash(plan.seed());
        mark.after(id, log.position());
        match plan.read(next, &log) {
            Ok(action) => {
                checked.rows += 1;
                user_hashes.insert(xxh3_64(action.user.as_bytes()));
                let (first, last) = checked.span.unwrap_or((action.time, action.time));
                checked.span = Some((first.min(action.time), last.max(action.time)));
                if let Some(roster) = &mut roster {
                    roster.note(action.user, action.unit, action.time);
                }
                if action.time < plan.earliest {
                    let time = action.time;
                    let one = too_old.get_or_insert(TooOld {
                        line: log.line(),
                        time,
                        oldest: time,
                    });
                    one.oldest = one.oldest.min(time);
                }
            }
            Err(bad) => {
                checked.bad += 1;
                if checked.bad <= LISTED {
                    bad.tell(log.line(), &mut problems);
                } else if !plan.skip_bad {
                    break;
                }
            }
        }
        if known == Some(mark) {
            // What ingest has taken already may have grown old since.
            too_old = None;
            checked.resume = mark;
        }
        if mark.position.records.is_multiple_of(GLANCE) {
            progress.at(mark.position);
            if stopped() {
                bail!("{}: stopped while checking; nothing was sent", checked.name);
            }
        }
    }
    drop(progress);
    checked.users = user_hashes.len();
    checked.end = mark;
    report_bad(plan, &checked, problems)?;
    if let Some(too_old) = too_old {
        return Err(plan.refuse_old(&checked, too_old).into());
    }
    if let (Some(roster), Some(path)) = (roster, &plan.derive_roster) {
        let users = roster.write(path, &plan.zone)?;
        println!("{}: roster of {users} users", path.display());
    }
    Ok(checked)
}

/// Without --skip-bad, bad rows end the import; with it, they are listed.
fn report_bad(plan: &Plan, checked: &Checked, problems: Problems) -> Result<(), BadInput> {
    if checked.bad == 0 {
        return Ok(());
    }
    let more = if checked.bad > LISTED { "\n  and more" } else { "" };
    if plan.skip_bad {
        eprintln!("{}{more}", problems.told("these rows are left out"));
        return Ok(());
    }
    let text = problems.told("nothing was sent");
    Err(BadInput::new(format!(
        "{text}{more}\n(--skip-bad leaves such rows out)"
    )))
}

/// Sends what follows `checked.resume`, keeps in `state` how far Kafka has acknowledged it, and waits for all of it.
pub fn send(
    plan: &Plan,
    checked: &Checked,
    mut sender: Sender,
    state: &StateFile,
    stopped: &dyn Fn() -> bool,
) -> anyhow::Result<String> {
    let started = Instant::now();
    state.save(&checked.resume)?;
    let outcome = send_rows(plan, checked, &mut sender, state, stopped);
    if let Some(mark) = sender.acknowledged() {
        state.save(&mark)?;
    }
    match outcome {
        Ok(Some(0)) => Ok("all of them were sent before (--restart sends them again)".to_owned()),
        Ok(Some(sent)) => {
            let seconds = started.elapsed().as_secs_f64();
            let rate = sent as f64 / seconds.max(0.001);
            Ok(format!(
                "{sent} events acknowledged by Kafka in {seconds:.1} s ({rate:.0} a second)"
            ))
        }
        outcome => {
            let reached = state.load().unwrap_or(checked.resume).position.records;
            let all = checked.end.position.records;
            let told = format!("acknowledged up to row {reached} of {all}; the same command goes on from there");
            match outcome {
                Err(error) => Err(error.context(told)),
                _ => bail!("{}: stopped; {told}", checked.name),
            }
        }
    }
}

/// The number of events sent and acknowledged; `None` when stopped before the end.
fn send_rows(
    plan: &Plan,
    checked: &Checked,
    sender: &mut Sender,
    state: &StateFile,
    stopped: &dyn Fn() -> bool,
) -> anyhow::Result<Option<u64>> {
    let mut log = plan.open()?;
    log.skip_to(checked.resume.position)?;
    let envelope = Envelope::new(plan.rules.kind, &plan.source, &plan.system);
    let mut progress = Progress::new("sending", checked.resume.position, checked.bytes);
    let mut event = String::new();
    let mut sent = 0;
    let mut mark = checked.resume;
    while mark.position.records < checked.end.position.records {
        let next = log.advance()?;
        if next == Next::End {
            bail!("{} became shorter while it was sent", checked.name);
        }
        let id = log.hash(plan.seed());
        match plan.read(next, &log) {
            Ok(action) => {
                envelope.write(id, &action, &mut event);
                sender.send(action.user, &event)?;
                sent += 1;
            }
            Err(_) if plan.skip_bad => {}
            Err(_) => bail!("{}: line {}: changed while the log was sent", checked.name, log.line()),
        }
        mark.after(id, log.position());
        sender.passed(mark);
        if mark.position.records.is_multiple_of(GLANCE) {
            progress.at(mark.position);
            if let Some(mark) = sender.acknowledged() {
                state.save(&mark)?;
            }
            if stopped() {
                break;
            }
        }
    }
    sender.close(mark);
    let mut give_up = None;
    while !sender.settled()? {
        if stopped() && *give_up.get_or_insert_with(|| Instant::now() + DRAIN) < Instant::now() {
            break;
        }
    }
    let all = mark == checked.end && sender.settled()?;
    Ok(all.then_some(sent))
}

impl Plan {
    /// Makes the ids of one source and event type.
    fn seed(&self) -> u64 {
        xxh3_64(format!("{}\0{}", self.source, self.rules.kind.event_type()).as_bytes())
    }

    /// The current record of `log`.
    fn read<'l>(&self, next: Next, log: &'l Log) -> Result<Action<'l>, Bad> {
        if let Next::Malformed(expected) = next {
            return Err(Bad {
                column: String::new(),
                value: log.shown(),
                expected,
            });
        }
        let action = self.rules.read(log)?;
        if self.skip_bad && action.time < self.earliest {
            return Err(Bad {
                column: String::new(),
                value: action.time.to_string(),
                expected: format!("a time within retention.raw_days ({} days)", self.raw_days),
            });
        }
        Ok(action)
    }

    fn refuse_old(&self, checked: &Checked, too_old: TooOld) -> BadInput {
        let TooOld { line, time, oldest } = too_old;
        let needed = Timestamp::now().duration_since(oldest).as_hours() / 24 + 2;
        BadInput::new(format!(
            "{}: line {line}: {time} is older than events are kept (retention.raw_days = {}) and would be refused; nothing was \
             sent. Expected for this log: retention.raw_days of at least {needed}, user_months and aggregate_months of at \
             least {months}, here and where ingest runs (or --skip-bad to leave old rows out)",
            checked.name,
            self.raw_days,
            months = needed / 28 + 1,
        ))
    }
}

impl Bad {
    fn tell(&self, line: u64, problems: &mut Problems) {
        let place = match self.column.as_str() {
            "" => format!("line {line}"),
            column => format!("line {line}, column {column}"),
        };
        problems.push(place, &self.value, self.expected.as_str());
    }
}

#[cfg(test)]
mod tests;
