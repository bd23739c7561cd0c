//! `GET /api/v1/systems/{system}/completeness` and `…/revisions`

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use jiff::Timestamp;

use super::App;
use super::error::Error;
use super::params::{Parameters, SystemParam, SystemPath, WindowParams};
use super::reply::Reply;
use crate::measure::completeness::{self, Completeness};
use crate::measure::revisions::{self, Revisions};

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
    reply.document(&revisions::ask(&app.reader, system, window, Timestamp::now()).await?)
}
