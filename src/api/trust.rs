//! `GET /api/v1/systems/{system}/completeness` and `…/revisions`

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

use super::App;
use super::error::Error;
use super::params::{Parameters, SystemParam, SystemPath, WindowParams};
use super::reply::Reply;
use super::table::Table;
use crate::measure::completeness::{self, Completeness};
use crate::measure::revisions::{self, Change, Month, Revisions};

/// Completeness: the share of the expected events that arrived, and which sources are stalled.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/completeness",
    tag = "trust",
    params(SystemParam, WindowParams),
    responses((
        status = 200,
        body = Completeness,
        example = json!({
            "system": "erp", "window": {"from": "2026-10-01", "to": "2026-11-01", "timezone": "Asia/Shanghai"},
            "completeness": 0.95, "arrived": 190000, "refused": 2, "waiting": 0, "stalled": 9998.0,
            "stalled_sources": ["/erp/branch"]
        })
    ))
)]
pub async fn get_completeness(
    State(app): State<App>,
    SystemPath(system): SystemPath,
    uri: Uri,
    reply: Reply,
) -> Result<Response, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let system = app.system(system).await?;
    let window = parameters.window(&system, app.retention.aggregate_months)?;
    parameters.finish()?;
    reply.document(&completeness::ask(&app.reader, system, window).await?)
}

/// Revisions of the months that a window touches: what changed them after they were final.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/revisions",
    tag = "trust",
    params(SystemParam, WindowParams),
    responses((
        status = 200,
        body = Revisions,
        example = json!({
            "system": "erp", "window": {"from": "2026-10-01", "to": "2026-11-01", "timezone": "Asia/Shanghai"},
            "months": [{
                "month": "2026-10-01", "provisional": false, "revision": 2,
                "changes": [{"changed_at": "2026-11-12T08:00:00Z", "late_events": 31, "definition": false, "roster": false}]
            }]
        })
    ))
)]
pub async fn get_revisions(
    State(app): State<App>,
    SystemPath(system): SystemPath,
    uri: Uri,
    reply: Reply,
) -> Result<Response, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let system = app.system(system).await?;
    let window = parameters.window(&system, app.retention.aggregate_months)?;
    parameters.finish()?;
    reply.table(&revisions::ask(&app.reader, system, window, Timestamp::now()).await?)
}

/// A change of a month. A month that nothing changed has one row, without a change.
#[derive(Serialize)]
pub struct Row {
    month: Date,
    provisional: bool,
    revision: u64,
    changed_at: Option<Timestamp>,
    late_events: Option<u64>,
    definition: Option<bool>,
    roster: Option<bool>,
}

impl Table for Revisions {
    const COLUMNS: &'static [&'static str] = &[
        "month",
        "provisional",
        "revision",
        "changed_at",
        "late_events",
        "definition",
        "roster",
    ];
    type Row<'t> = Row;

    fn rows(&self) -> impl Iterator<Item = Row> {
        self.months.iter().flat_map(|month| {
            let unchanged = month.changes.is_empty().then(|| row(month, None));
            let changed = month.changes.iter().map(|change| row(month, Some(change)));
            changed.chain(unchanged)
        })
    }
}

fn row(month: &Month, change: Option<&Change>) -> Row {
    Row {
        month: month.month,
        provisional: month.provisional,
        revision: month.revision,
        changed_at: change.map(|change| change.changed_at),
        late_events: change.map(|change| change.late_events),
        definition: change.map(|change| change.definition),
        roster: change.map(|change| change.roster),
    }
}
