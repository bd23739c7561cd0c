//! `GET /api/v1/systems/{system}/stickiness`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;

use super::App;
use super::error::{Error, ProblemDetails};
use super::params::{Parameters, WindowParams};
use crate::measure::stickiness::{self, Stickiness};

/// Stickiness: of those active in 28 days, the share active on a working day.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/stickiness",
    tag = "users",
    params(("system" = String, Path), WindowParams),
    responses(
        (status = 200, body = Stickiness),
        (status = "default", body = ProblemDetails, content_type = "application/problem+json")
    )
)]
pub async fn get_stickiness(
    State(app): State<App>,
    Path(system): Path<String>,
    uri: Uri,
) -> Result<Json<Stickiness>, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let system = app.system(system).await?;
    let window = parameters.window(&system, app.retention.user_months)?;
    parameters.finish()?;
    Ok(Json(stickiness::ask(&app.reader, system, window).await?))
}
