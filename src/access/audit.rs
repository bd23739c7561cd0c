//! The audit log: nothing is changed without an entry that says who did it.

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::{Caller, Who};
use crate::config::Role;
use crate::store::Store;
use crate::store::audit::AuditRow;

/// Something that leaves an entry.
#[derive(Debug, Clone, Copy)]
pub enum Action {
    DefineSystem,
    ImportRoster,
    ImportTrainings,
    AcknowledgeAlert,
    RetryRejects,
    CreateToken,
    RevokeToken,
    EraseUsers,
    Identify,
    RotateSecret,
}

impl Action {
    fn word(self) -> &'static str {
        match self {
            Self::DefineSystem => "define_system",
            Self::ImportRoster => "import_roster",
            Self::ImportTrainings => "import_trainings",
            Self::AcknowledgeAlert => "acknowledge_alert",
            Self::RetryRejects => "retry_rejects",
            Self::CreateToken => "create_token",
            Self::RevokeToken => "revoke_token",
            Self::EraseUsers => "erase_users",
            Self::Identify => "identify",
            Self::RotateSecret => "rotate_secret",
        }
    }
}

/// Who makes a change.
pub struct Actor {
    pub who: Who,
    pub roles: Vec<Role>,
}

impl Actor {
    /// Whoever runs a command. They reach ClickHouse themselves, so this is what the operating system says, not what was proved.
    pub fn of_command() -> Self {
        let name = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
        // SAFETY: it has no precondition and cannot fail.
        let id = || format!("uid {}", unsafe { libc::getuid() });
        Self {
            who: Who::Command(name.unwrap_or_else(|_| id())),
            roles: Vec::new(),
        }
    }
}

impl From<Caller> for Actor {
    fn from(caller: Caller) -> Self {
        Self {
            who: caller.who,
            roles: caller.roles,
        }
    }
}

/// Makes a change with an entry before it and what came of it after. Where the first cannot be written, nothing is changed; where the second
/// cannot, the first stands, and says that the outcome is not known.
pub async fn record<T: Serialize>(
    store: &Store,
    actor: Actor,
    (action, object): (Action, &str),
    change: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let (kind, who) = actor.who.parts();
    let mut row = AuditRow {
        id: Uuid::now_v7().to_string(),
        step: 0,
        at: Timestamp::now().as_millisecond(),
        kind: kind.to_owned(),
        who: who.to_owned(),
        roles: actor.roles.iter().map(|role| role.word().to_owned()).collect(),
        action: action.word().to_owned(),
        object: object.to_owned(),
        outcome: "begun".to_owned(),
        detail: String::new(),
    };
    store.write_audit(&row).await?;
    let outcome = change.await;
    row.step = 1;
    match &outcome {
        Ok(done) => {
            row.outcome = "done".to_owned();
            row.detail = serde_json::to_string(done)?;
        }
        Err(_) => row.outcome = "failed".to_owned(),
    }
    if let Err(error) = store.write_audit(&row).await {
        tracing::warn!(
            error = format!("{error:#}"),
            id = row.id,
            "the audit log misses the outcome of a change"
        );
    }
    outcome
}
