//! `GET /api/v1/audit`

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::error::Error;
use super::page::{self, Page, PageParams};
use super::params::Parameters;
use super::reply::Reply;
use super::table::{Table, Text};
use crate::store::audit::AuditRow;

/// Who changed what.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditLog {
    /// Newest first.
    pub entries: Vec<AuditEntry>,
    /// The `cursor` of the next page; null where there is none.
    pub next: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct AuditEntry {
    pub id: String,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// How `who` is known: `token`, `subject` (of the identity provider), `command` (on a command line), or `anybody`.
    pub kind: String,
    pub who: String,
    pub roles: Vec<String>,
    /// `define_system`, `import_roster`, `import_trainings`, `acknowledge_alert`, `retry_rejects`, `create_token`, `revoke_token`, `erase_users`
    /// or `identify`; there may be others.
    pub action: String,
    /// The system, or the token, or how many users, or the pseudonym and the reason, or the topic.
    pub object: String,
    /// `done` or `failed`; `begun` where it is not known.
    pub outcome: String,
    /// What came of it, where it was done.
    #[schema(value_type = Option<Object>)]
    pub detail: Option<serde_json::Value>,
}

/// The audit log: who changed definitions, rosters and tokens. For the roles `privacy` and `admin`.
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    tag = "access",
    params(PageParams),
    responses((
        status = 200,
        body = AuditLog,
        headers(("Link" = String, description = "The next page, with `rel=\"next\"`")),
        example = json!({
            "entries": [{
                "id": "01951f0e-5c53-7d0a-b2f3-3c2a6f1b7a10", "at": "2026-11-23T14:33:10.272Z", "kind": "token", "who": "erp-team",
                "roles": ["admin"], "action": "import_roster", "object": "erp", "outcome": "done",
                "detail": {"system": "erp", "version": 1795444391624083_u64, "changed": true, "rows": 5, "users": 4}
            }],
            "next": null
        })
    ))
)]
pub async fn get_audit(State(app): State<App>, uri: Uri, reply: Reply) -> Result<Response, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let page: Page<String> = Page::of(&mut parameters)?;
    parameters.finish()?;
    let rows = app.store.audit(page.after.as_deref(), page.needed()).await?;
    let (rows, next) = page.cut(rows, |row| row.id.clone())?;
    let log = AuditLog {
        entries: rows.into_iter().map(AuditEntry::of).collect(),
        next,
    };
    Ok(page::link(reply.table(&log)?, &uri, log.next.as_deref()))
}

impl AuditEntry {
    fn of(row: AuditRow) -> Self {
        Self {
            id: row.id,
            at: Timestamp::from_millisecond(row.at).unwrap_or_default(),
            kind: row.kind,
            who: row.who,
            roles: row.roles,
            action: row.action,
            object: row.object,
            outcome: row.outcome,
            detail: serde_json::from_str(&row.detail).ok(),
        }
    }
}

#[derive(Serialize)]
pub struct Row<'t> {
    id: &'t str,
    at: Timestamp,
    kind: &'t str,
    who: Text<'t>,
    roles: String,
    action: &'t str,
    object: Text<'t>,
    outcome: &'t str,
    /// JSON.
    detail: Option<String>,
}

impl Table for AuditLog {
    const COLUMNS: &'static [&'static str] = &[
        "id", "at", "kind", "who", "roles", "action", "object", "outcome", "detail",
    ];
    type Row<'t> = Row<'t>;

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.entries.iter().map(|entry| Row {
            id: &entry.id,
            at: entry.at,
            kind: &entry.kind,
            who: Text(&entry.who),
            roles: entry.roles.join(" "),
            action: &entry.action,
            object: Text(&entry.object),
            outcome: &entry.outcome,
            detail: entry.detail.as_ref().map(|detail| detail.to_string()),
        })
    }
}
