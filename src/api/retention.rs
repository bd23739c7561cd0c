//! `GET /api/v1/systems/{system}/retention`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;

use super::App;
use super::error::{Error, ProblemDetails};
use super::params::{Parameters, WindowParams};
use crate::measure::retention::{self, Retention};

/// Retention: cohorts by week of first activity, and who of them is active in the weeks after.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/retention",
    tag = "users",
    params(("system" = String, Path), WindowParams),
    responses(
        (status = 200, body = Retention),
        (status = "default", body = ProblemDetails, content_type = "application/problem+json")
    )
)]
pub async fn get_retention(
    State(app): State<App>,
    Path(system): Path<String>,
    uri: Uri,
) -> Result<Json<Retention>, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let system = app.system(system).await?;
    let window = parameters.window(&system, app.retention.user_months)?;
    parameters.finish()?;
    Ok(Json(retention::ask(&app.reader, system, window).await?))
}
