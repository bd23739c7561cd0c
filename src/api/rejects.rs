//! `GET /api/v1/systems/{system}/rejects`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;

use super::App;
use super::error::{Error, ProblemDetails};
use super::params::{Parameters, WindowParams};
use crate::measure::rejects::{self, Rejects};

/// Messages that ingest refused, by reason. `uptake rejected` shows them and sends them again.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/rejects",
    tag = "events",
    params(("system" = String, Path), WindowParams),
    responses(
        (status = 200, body = Rejects),
        (status = "default", body = ProblemDetails, content_type = "application/problem+json")
    )
)]
pub async fn get_rejects(State(app): State<App>, Path(system): Path<String>, uri: Uri) -> Result<Json<Rejects>, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let system = app.system(system).await?;
    let window = parameters.window(&system, app.retention.user_months)?;
    parameters.finish()?;
    Ok(Json(rejects::ask(&app.reader, system, window).await?))
}
