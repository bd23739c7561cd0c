//! `GET /api/v1/systems/{system}/features` and `…/features/{feature}/time-to-adopt`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;

use super::App;
use super::error::{Error, ProblemDetails};
use super::flows::refuse_unknown;
use super::params::{Parameters, WindowParams};
use crate::measure::features::{self, Features};
use crate::measure::time_to_adopt::{self, TimeToAdopt};

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

/// Time to adopt: days until people first use a feature, with those who have not yet.
#[utoipa::path(
    get,
    path = "/api/v1/systems/{system}/features/{feature}/time-to-adopt",
    tag = "features",
    params(("system" = String, Path), ("feature" = String, Path), WindowParams),
    responses(
        (status = 200, body = TimeToAdopt),
        (status = "default", body = ProblemDetails, content_type = "application/problem+json")
    )
)]
pub async fn get_time_to_adopt(
    State(app): State<App>,
    Path((system, feature)): Path<(String, String)>,
    uri: Uri,
) -> Result<Json<TimeToAdopt>, Error> {
    let mut parameters = Parameters::of(&uri)?;
    let system = app.system(system).await?;
    let window = parameters.window(&system, app.retention.user_months)?;
    parameters.finish()?;
    refuse_unknown(&app, &system, "feature", std::slice::from_ref(&feature)).await?;
    Ok(Json(time_to_adopt::ask(&app.reader, system, window, feature).await?))
}
