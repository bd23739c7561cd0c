//! From a record of a log to an action, and from an action to its event.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::log::{Columns, Log, Role};
use super::time::Clock;
use crate::event::{self, MAX_FEATURE, MAX_ID, MAX_LABEL};

/// What every record of the log means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    #[value(name = "feature_click")]
    FeatureClick,
    /// A successful login
    Login,
}

impl Kind {
    pub fn event_type(self) -> &'static str {
        match self {
            Self::FeatureClick => "usage.feature_click.v1",
            Self::Login => "usage.login.v1",
        }
    }
}

/// A record that can be sent.
pub struct Action<'l> {
    pub user: &'l str,
    /// Empty for a login.
    pub feature: &'l str,
    /// Empty: unknown.
    pub session: &'l str,
    /// Empty: unknown. Only for deriving a roster; it is no part of the event.
    pub unit: &'l str,
    pub time: Timestamp,
}

/// A record that cannot be sent, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct Bad {
    pub column: String,
    pub value: String,
    pub expected: String,
}

/// What a record must keep to become an action that ingest will not refuse.
pub struct Rules {
    pub kind: Kind,
    pub columns: Columns,
    pub clock: Clock,
    pub latest: Timestamp,
}

impl Rules {
    /// Reads the current record of `log`.
    pub fn read<'l>(&self, log: &'l Log) -> Result<Action<'l>, Bad> {
        let clicked = self.kind == Kind::FeatureClick;
        let action = Action {
            user: self.text(log, Role::User, 1, MAX_ID)?,
            feature: self.text(log, Role::Feature, usize::from(clicked), MAX_FEATURE)?,
            session: self.text(log, Role::Session, 0, MAX_LABEL)?,
            unit: self.text(log, Role::Unit, 0, MAX_LABEL)?,
            time: self.time(log)?,
        };
        if clicked && !event::is_feature(action.feature) {
            return Err(self.bad(Role::Feature, action.feature, "no control characters"));
        }
        Ok(action)
    }

    fn text<'l>(&self, log: &'l Log, role: Role, min: usize, max: usize) -> Result<&'l str, Bad> {
        let text = log
            .value(role)
            .map_err(|value| self.bad(role, &value, "text in UTF-8"))?;
        let fits = text.len() >= min && (text.len() <= max || text.chars().count() <= max);
        if fits {
            Ok(text)
        } else {
            Err(self.bad(role, text, format!("{min} to {max} characters")))
        }
    }

    fn time(&self, log: &Log) -> Result<Timestamp, Bad> {
        let text = log
            .value(Role::Time)
            .map_err(|value| self.bad(Role::Time, &value, "text in UTF-8"))?;
        let time = self
            .clock
            .read(text)
            .map_err(|expected| self.bad(Role::Time, text, expected))?;
        if time > self.latest {
            return Err(self.bad(Role::Time, text, format!("a time before now ({time} is in the future)")));
        }
        Ok(time)
    }

    fn bad(&self, role: Role, value: &str, expected: impl Into<String>) -> Bad {
        Bad {
            column: self.columns[role as usize].clone().unwrap_or_default(),
            value: value.to_owned(),
            expected: expected.into(),
        }
    }
}

/// Writes the events of one import.
pub struct Envelope {
    /// What all of them have in common, up to the id.
    head: String,
    system: String,
    kind: Kind,
}

impl Envelope {
    pub fn new(kind: Kind, source: &str, system: &str) -> Self {
        Self {
            head: format!(
                r#"{{"specversion":"1.0","source":{},"type":"{}","id":""#,
                quoted(source),
                kind.event_type()
            ),
            system: quoted(system),
            kind,
        }
    }

    /// Replaces `out` by the event, as a structured-mode CloudEvent.
    pub fn write(&self, id: u128, action: &Action, out: &mut String) {
        out.clear();
        out.push_str(&self.head);
        // Writing to a String cannot fail.
        let _ = write!(out, r#"{id:032x}","subject":"#);
        push_quoted(out, action.user);
        let _ = write!(out, r#","time":"{}","data":{{"system":{}"#, action.time, self.system);
        match self.kind {
            Kind::FeatureClick => {
                out.push_str(r#","feature":"#);
                push_quoted(out, action.feature);
            }
            Kind::Login => out.push_str(r#","outcome":"success""#),
        }
        if !action.session.is_empty() {
            out.push_str(r#","session":"#);
            push_quoted(out, action.session);
        }
        out.push_str("}}");
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    push_quoted(&mut out, text);
    out
}

fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    let plain = |b: u8| b >= 0x20 && b != b'"' && b != b'\\';
    if text.bytes().all(plain) {
        out.push_str(text);
    } else {
        for c in text.chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                c if (c as u32) < 0x20 => {
                    let _ = write!(out, "\\u{:04x}", c as u32);
                }
                c => out.push(c),
            }
        }
    }
    out.push('"');
}
