//! `GET /api/v1/systems/{system}/features`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;

use super::App;
use super::error::{Error, ProblemDetails};
use super::params::{Parameters, WindowParams};
use crate::measure::features::{self, Features};

/// Features, ranked: who of those who should use them does, how much, and what is never used.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/features",
    tag = "features",
    params(("system" = String, Path), WindowParams),
    responses(
        (status = 200, body = Features),
        (status = "default", body = ProblemDetails, content_type = "application/problem+json")
    )
)]
pub async fn get_features(
    State(app): State<App>,
    Path(system): Path<String>,
    uri: Uri,
) -> Result<Json<Features>, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let system = app.system(system).await?;
    let window = parameters.window(&system, app.retention.user_months)?;
    parameters.finish()?;
    Ok(Json(features::ask(&app.reader, system, window).await?))
}
