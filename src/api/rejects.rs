//! `GET /api/v1/systems/{system}/rejects`

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;

use super::App;
use super::error::Error;
use super::params::{Parameters, SystemParam, SystemPath, WindowParams};
use super::reply::Reply;
use super::table::Table;
use crate::measure::rejects::{self, Rejects, RejectsOfReason};

/// Messages that ingest refused, by reason. `uptake rejected` shows them and sends them again.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/rejects",
    tag = "events",
    params(SystemParam, WindowParams),
    responses((
        status = 200,
        body = Rejects,
        example = json!({
            "system": "erp",
            "window": {"from": "2026-10-01", "to": "2026-11-01", "timezone": "Asia/Shanghai"},
            "reasons": [{"reason": "missing_field", "refused": 2, "retried": 1}],
            "total": {"refused": 2, "retried": 1}
        })
    ))
)]
pub async fn get_rejects(
    State(app): State<App>,
    SystemPath(system): SystemPath,
    uri: Uri,
    reply: Reply,
) -> Result<Response, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let system = app.system(system).await?;
    let window = parameters.window(&system, app.retention.user_months)?;
    parameters.finish()?;
    reply.table(&rejects::ask(&app.reader, system, window).await?)
}

impl Table for Rejects {
    const COLUMNS: &'static [&'static str] = &["reason", "refused", "retried"];
    type Row<'t> = &'t RejectsOfReason;

    fn rows(&self) -> impl Iterator<Item = &RejectsOfReason> {
        self.reasons.iter()
    }
}
